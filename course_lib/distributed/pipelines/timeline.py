"""When each stage of a pipeline works and when it waits: simulated from a schedule, or measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.distributed.pipelines.schedules import Action, Schedule


@dataclass(frozen=True, slots=True)
class Event:
    """A stage at work on one action, from when to when (in seconds from the first)."""

    stage: int
    action: Action
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """What all stages did in one step: bars for a figure, and the shares of time in it.

    Args:
        events: Of all stages, each stage's in order.
        num_stages: p.
    """

    events: tuple[Event, ...]
    num_stages: int

    @property
    def seconds(self) -> float:
        """From the start of the first action to the end of the last."""
        return max(event.end_seconds for event in self.events) - min(event.start_seconds for event in self.events)

    @property
    def bubble(self) -> float:
        """The share of all stages' time in which they wait: 0 at best."""
        busy = sum(event.end_seconds - event.start_seconds for event in self.events)
        return 1 - busy / (self.num_stages * self.seconds)

    @property
    def peak_held(self) -> list[int]:
        """For each stage, of how many micro-batches it keeps activations at the same time, at most."""
        return [_peak(self.of_stage(stage)) for stage in range(self.num_stages)]

    def of_stage(self, stage: int) -> list[Event]:
        """Return one stage's events in the order of time."""
        return sorted((event for event in self.events if event.stage == stage), key=lambda event: event.start_seconds)


def bubble_share(num_stages: int, num_micro_batches: int) -> float:
    """Return ``(p - 1) / (m + p - 1)``: the share of time that stages wait, under GPipe and 1F1B alike.

    The last stage's first input has gone through ``p - 1`` stages, and its last gradient goes back through as many,
    while each stage has ``m`` of both to compute. (Divided by ``m`` instead, the same waiting is a share of the useful
    time, as in the Megatron-LM papers.)

    Args:
        num_stages: p, all equally slow.
        num_micro_batches: m.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> bubble_share(4, 1), bubble_share(4, 29)
        (0.75, 0.09375)

    Reference: Huang et al. 2019, GPipe, section 2.3, https://arxiv.org/abs/1811.06965
    """
    if num_stages < 1 or num_micro_batches < 1:
        raise ValueError(f"a pipeline needs stages and micro-batches, got {num_stages} and {num_micro_batches}.")
    return (num_stages - 1) / (num_micro_batches + num_stages - 1)


def simulate(
    schedule: Schedule,
    *,
    forward_seconds: float | Sequence[float] = 1.0,
    backward_seconds: float | Sequence[float] = 2.0,
    transfer_seconds: float = 0.0,
) -> Timeline:
    """Return when each action would happen: as soon as its stage is free and what it needs has arrived.

    Args:
        schedule: What each stage does in which order.
        forward_seconds: Of one micro-batch; one number, or one for each stage.
        backward_seconds: Likewise; about twice a forward pass, since it has two matrix products for each one.
        transfer_seconds: From one stage to the next; sending does not keep a stage from working.

    Raises:
        ValueError: If there is no stage, lengths do not fit, a time is negative, or the schedule would wait for ever.

    Example:
        >>> from course_lib.distributed.pipelines.schedules import one_forward_one_backward
        >>> timeline = simulate(one_forward_one_backward(4, 8))
        >>> timeline.seconds, timeline.peak_held  # (8 + 3) * (1 + 2)
        (33.0, [4, 3, 2, 1])
        >>> round(timeline.bubble, 4) == round(bubble_share(4, 8), 4)
        True
    """
    seconds = {
        "forward": _for_each_stage("forward_seconds", forward_seconds, schedule),
        "backward": _for_each_stage("backward_seconds", backward_seconds, schedule),
    }
    if transfer_seconds < 0:
        raise ValueError(f"transfer_seconds must be 0 or more, got {transfer_seconds}.")
    ended: dict[tuple[int, Action], float] = {}
    done, free = [0] * len(schedule), [0.0] * len(schedule)
    events = []
    while any(count < len(actions) for count, actions in zip(done, schedule, strict=True)):
        moved = False
        for stage, actions in enumerate(schedule):
            while done[stage] < len(actions):
                action = actions[done[stage]]
                needed = _needed(stage, action, len(schedule))
                if any(need not in ended for need in needed):
                    break
                arrived = [ended[need] + (transfer_seconds if need[0] != stage else 0.0) for need in needed]
                start = max([free[stage], *arrived])
                free[stage] = ended[stage, action] = start + seconds[action.kind][stage]
                events.append(Event(stage, action, start, free[stage]))
                done[stage] += 1
                moved = True
        if not moved:
            stuck = {n: str(actions[done[n]]) for n, actions in enumerate(schedule) if done[n] < len(actions)}
            raise ValueError(f"this schedule waits for ever: stages stand before {stuck}, whose inputs never come.")
    return Timeline(tuple(events), len(schedule))


def _needed(stage: int, action: Action, num_stages: int) -> list[tuple[int, Action]]:
    """What must have ended before: the pass on the stage before, or on the one behind for a gradient."""
    if action.kind == "forward":
        return [(stage - 1, action)] if stage > 0 else []
    own = (stage, Action("forward", action.micro_batch))
    return [own, (stage + 1, action)] if stage < num_stages - 1 else [own]


def _for_each_stage(name: str, seconds: float | Sequence[float], schedule: Schedule) -> list[float]:
    if not schedule:
        raise ValueError("this schedule has no stages.")
    times = [float(seconds)] * len(schedule) if isinstance(seconds, int | float) else [float(one) for one in seconds]
    if len(times) != len(schedule) or min(times) < 0:
        raise ValueError(
            f"{name} must be 0 or more, one number or one for each of {len(schedule)} stages; got {times}."
        )
    return times


def _peak(events: Sequence[Event]) -> int:
    held = peak = 0
    for event in events:
        held += 1 if event.action.kind == "forward" else -1
        peak = max(peak, held)
    return peak

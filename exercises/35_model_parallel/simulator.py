"""Exercise 35.3: how long a pipeline's step takes under a given schedule."""

from __future__ import annotations

from course_lib.study.exercises import Case, Exercise


def step_seconds(schedule, forward, backward):
    """Return the time at which the last action of any stage ends."""
    ended, last = {}, len(schedule) - 1
    while len(ended) < sum(len(actions) for actions in schedule):
        for stage, actions in enumerate(schedule):
            clock = 0.0
            for kind, n in actions:
                there = stage == (0 if kind == "F" else last)
                ready = 0.0 if there else ended.get((kind, n, stage - 1 if kind == "F" else stage + 1))
                if ready is None:
                    break  # go on with the other stages, and come back
                clock = max(clock, ready) + (forward if kind == "F" else backward)[stage]
                ended[kind, n, stage] = clock
    return max(ended.values())


def _oracle(schedule, forward, backward):
    """Push starts later until all rules hold: after the action before on its stage, and after what it needs."""
    places = {(*action, stage): place for stage, actions in enumerate(schedule) for place, action in enumerate(actions)}
    long = {(kind, n, s): float((forward if kind == "F" else backward)[s]) for kind, n, s in places}
    start, changed = dict.fromkeys(places, 0.0), True
    while changed:
        changed = False
        for (kind, n, stage), place in places.items():
            before = [("F", n, stage)] if kind == "B" else []
            before += [(kind, n, stage - 1 if kind == "F" else stage + 1)]
            before += [(*action, stage) for action in schedule[stage][:place]]
            begin = max([start[other] + long[other] for other in before if other in places], default=0.0)
            if begin > start[kind, n, stage]:
                start[kind, n, stage], changed = begin, True
    return max(start[action] + long[action] for action in places)


def _gpipe(stages, batches):
    return [[("F", n) for n in range(batches)] + [("B", n) for n in range(batches)] for _ in range(stages)]


def _alternating(stages, batches):
    schedule = []
    for stage in range(stages):
        ahead = min(stages - 1 - stage, batches)
        actions = [("F", n) for n in range(ahead)]
        for n in range(batches):
            actions += [("F", n + ahead), ("B", n)] if n + ahead < batches else [("B", n)]
        schedule.append(actions)
    return schedule


def _any_order(stages, batches, rng):
    """Carry out passes at random among those that are possible, and note what each stage did."""
    schedule, done = [[] for _ in range(stages)], set()
    while len(done) < 2 * stages * batches:
        kind, n, stage = "FB"[int(rng.integers(2))], int(rng.integers(batches)), int(rng.integers(stages))
        there = (kind, stage) == ("F", 0) or ((kind, stage) == ("B", stages - 1) and ("F", n, stage) in done)
        needed = (kind, n, stage - 1 if kind == "F" else stage + 1)
        if (kind, n, stage) not in done and (there or needed in done):
            schedule[stage].append((kind, n))
            done.add((kind, n, stage))
    return schedule


def _draw(rng):
    stages, batches, way = int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(3))
    schedule = _any_order(stages, batches, rng) if way == 2 else (_gpipe, _alternating)[way](stages, batches)
    forward, backward = ([int(rng.integers(1, 9)) / 2 for _ in range(stages)] for _ in range(2))
    return schedule, forward, backward


def _explain(case, expected, got):
    return (
        "draw a line of time for each stage: an action begins when the action before it on its own line has ended "
        "*and* what it needs from the neighbour has"
    )


def _pairs(schedule):
    return len(schedule), len(schedule[0]) // 2


def _by_the_first_stage(schedule, forward, backward):
    stages, batches = _pairs(schedule)
    return (batches + stages - 1) * (forward[0] + backward[0])


def _by_the_slowest_stage(schedule, forward, backward):
    stages, batches = _pairs(schedule)
    return (batches + stages - 1) * max(f + b for f, b in zip(forward, backward, strict=True))


def _busiest_stage(schedule, forward, backward):
    return _pairs(schedule)[1] * max(f + b for f, b in zip(forward, backward, strict=True))


def _one_after_the_other(schedule, forward, backward):
    return _pairs(schedule)[1] * (sum(forward) + sum(backward))


def _one_micro_batch(schedule, forward, backward):
    return sum(forward) + sum(backward)


def _forward_times_only(schedule, forward, backward):
    return step_seconds(schedule, forward, forward)


def _everything_forward_first(schedule, forward, backward):
    return step_seconds(_gpipe(*_pairs(schedule)), forward, backward)


def _always_1f1b(schedule, forward, backward):
    return step_seconds(_alternating(*_pairs(schedule)), forward, backward)


def _gradients_from_before(schedule, forward, backward):
    """Going back, waits for the same neighbour as going forward."""
    ended = {}
    for stage, actions in enumerate(schedule):
        clock = 0.0
        for kind, n in actions:
            ready = ended.get((kind, n, stage - 1), 0.0)
            clock = max(clock, ready) + (forward if kind == "F" else backward)[stage]
            ended[kind, n, stage] = clock
    return max(ended.values())


def _one_sweep(schedule, forward, backward):
    """Goes through the stages once, in order: what is not known yet counts as ready."""
    ended = {}
    for stage, actions in enumerate(schedule):
        clock = 0.0
        for kind, n in actions:
            ready = ended.get((kind, n, stage - 1 if kind == "F" else stage + 1), 0.0)
            clock = max(clock, ready) + (forward if kind == "F" else backward)[stage]
            ended[kind, n, stage] = clock
    return max(ended.values())


_UNEVEN = [1.0, 2.0, 0.5, 1.0]

EXERCISES = (
    Exercise(
        id="35.3",
        title="A simulator",
        difficulty=3,
        minutes=25,
        solution=step_seconds,
        cases=_draw,
        oracle=_oracle,
        edge_cases=(
            Case((_gpipe(1, 2), [1.0], [2.0]), note="one stage: 2 (1 + 2) = 6"),
            Case((_gpipe(2, 1), [1.0, 1.0], [2.0, 2.0]), note="one micro-batch, down and back: 6"),
            Case((_gpipe(2, 3), [1.0, 1.0], [2.0, 2.0]), note="GPipe: (3 + 2 - 1)(1 + 2) = 12"),
            Case((_alternating(4, 6), [1.0] * 4, [2.0] * 4), note="1F1B: (6 + 4 - 1)(1 + 2) = 27"),
            Case((_alternating(4, 3), _UNEVEN, _UNEVEN), note="1F1B, unequal stages"),
            Case(([[("F", 0), ("B", 0), ("F", 1), ("B", 1)]] * 2, [1.0, 1.0], [2.0, 2.0]), note="no overlap: 12"),
        ),
        explain=_explain,
        hints=(
            "Keep the end of every action in a dictionary, by kind, micro-batch and stage. An action's end is the "
            "later of two times, plus its own seconds. Which two?",
            "The two are the end of the action before it on its stage, and the end of what it needs: the same kind and "
            "micro-batch on the stage before (forward) or behind (backward). Two places need nobody.",
            "Stages wait for each other in both directions, so one sweep is not enough. Sweep over all stages, stop a "
            "stage at the first action whose need has no end yet, and repeat until all actions have one.",
        ),
        wrong={
            "the formula, with the first stage's times": _by_the_first_stage,
            "the formula, with the slowest stage's times": _by_the_slowest_stage,
            "the work of the busiest stage": _busiest_stage,
            "all passes one after the other": _one_after_the_other,
            "the path of one micro-batch": _one_micro_batch,
            "uses forward seconds going back": _forward_times_only,
            "takes any schedule for GPipe": _everything_forward_first,
            "takes any schedule for 1F1B": _always_1f1b,
            "waits for the stage before in both directions": _gradients_from_before,
            "one sweep over the stages": _one_sweep,
        },
    ),
)

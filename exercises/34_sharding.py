"""Exercises 34.1 to 34.3: what a rank holds, what it sends, and which rows of a tensor are its own."""

from __future__ import annotations

from numbers import Integral

import torch

from course_lib.study.exercises import Case, Exercise, Property


def bytes_held(num_parameters, num_ranks, stage, weight, gradient, optimizer):
    """Return the bytes of weights, gradients and optimiser state that each rank holds."""
    held = 0.0
    for size, first_stage in ((optimizer, 1), (gradient, 2), (weight, 3)):
        held += size * num_parameters / (num_ranks if stage >= first_stage else 1)
    return held


def _held_oracle(num_parameters, num_ranks, stage, weight, gradient, optimizer):
    whole = {0: weight + gradient + optimizer, 1: weight + gradient, 2: weight, 3: 0}[stage]
    cut = {0: 0, 1: optimizer, 2: gradient + optimizer, 3: weight + gradient + optimizer}[stage]
    return float(num_parameters) * (whole + cut / float(num_ranks))


def _draw_numbers(rng):
    return [(2, 2, 12), (2, 4, 12), (4, 4, 8), (4, 4, 0), (8, 8, 16), (2, 2, 6)][int(rng.integers(6))]


def _draw_held(rng):
    parameters, ranks = (int(rng.integers(1, 10**6)) * 10 ** int(rng.integers(0, 6)), int(rng.integers(2, 1025)))
    return parameters, ranks, int(rng.integers(0, 4)), *_draw_numbers(rng)


def _explain_held(case, expected, got):
    num_parameters, _, stage, *_ = case.args
    return f"at stage {stage}, with {expected / num_parameters:.4g} bytes a parameter: which kinds are cut up by then?"


def _divides_everything(num_parameters, num_ranks, stage, weight, gradient, optimizer):
    return (weight + gradient + optimizer) * num_parameters / (num_ranks if stage else 1)


def _stage_off_by_one(num_parameters, num_ranks, stage, weight, gradient, optimizer):
    return bytes_held(num_parameters, num_ranks, max(0, stage - 1), weight, gradient, optimizer)


def _weights_first(num_parameters, num_ranks, stage, weight, gradient, optimizer):
    return bytes_held(num_parameters, num_ranks, stage, optimizer, gradient, weight)


def _always_sixteen(num_parameters, num_ranks, stage, weight, gradient, optimizer):
    return bytes_held(num_parameters, num_ranks, stage, 2, 2, 12)


def _only_the_newest(num_parameters, num_ranks, stage, weight, gradient, optimizer):
    sizes = {1: optimizer, 2: gradient, 3: weight}
    newest = sizes.get(stage, 0)
    return num_parameters * (weight + gradient + optimizer - newest + newest / num_ranks)


def _gradients_with_state(num_parameters, num_ranks, stage, weight, gradient, optimizer):
    return bytes_held(num_parameters, num_ranks, 2 if stage == 1 else stage, weight, gradient, optimizer)


def bytes_sent(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches):
    """Return the bytes that each rank sends in a step."""
    scatters = num_micro_batches if stage >= 2 else 1
    after = {0: gradient, 1: weight, 2: weight, 3: 2 * weight * num_micro_batches}[stage]
    return (num_ranks - 1) / num_ranks * num_parameters * (gradient * scatters + after)


def _sent_oracle(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches):
    """Go through a step, and note each half of a ring as it happens."""
    whole = 0.0
    for _ in range(num_micro_batches):
        if stage == 3:
            whole += 2 * weight
        if stage >= 2:
            whole += gradient
    if stage <= 1:
        whole += gradient
    if stage == 0:
        whole += gradient
    if stage in (1, 2):
        whole += weight
    return whole * num_parameters * (1 - 1 / num_ranks)


def _draw_sent(rng):
    weight, gradient, _ = _draw_numbers(rng)
    parameters, ranks = (int(rng.integers(1, 10**6)) * 10 ** int(rng.integers(0, 6)), int(rng.integers(1, 1025)))
    return (parameters, ranks, int(rng.integers(0, 4)), weight, gradient, int(rng.integers(1, 9)))


def _explain_sent(case, expected, got):
    _, num_ranks, stage, _, _, num_micro_batches = case.args
    return (
        f"stage {stage}, {num_micro_batches} micro-batches, {num_ranks} ranks: list each reduce-scatter and each "
        "all-gather of the step; a rank sends (p - 1)/p of what each is about"
    )


def _forgets_ring(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches):
    return bytes_sent(num_parameters, 10**12, stage, weight, gradient, num_micro_batches)


def _accumulates_in_all(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches):
    return bytes_sent(num_parameters, num_ranks, stage, weight, gradient, 1)


def _gathers_once(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches):
    less = weight * num_micro_batches * num_parameters * (num_ranks - 1) / num_ranks if stage == 3 else 0
    return bytes_sent(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches) - less


def _gathers_after_each(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches):
    more = weight * (num_micro_batches - 1) * num_parameters * (num_ranks - 1) / num_ranks if stage == 2 else 0
    return bytes_sent(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches) + more


def _also_steps_in_three(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches):
    more = weight * num_parameters * (num_ranks - 1) / num_ranks if stage == 3 else 0
    return bytes_sent(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches) + more


def _all_reduces(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches):
    more = gradient * num_parameters * (num_ranks - 1) / num_ranks if stage else 0
    return bytes_sent(num_parameters, num_ranks, stage, weight, gradient, num_micro_batches) + more


def my_rows(num_rows, num_ranks, rank):
    """Return (begin, end) of this rank's rows."""
    part = -(-num_rows // num_ranks)
    return min(rank * part, num_rows), min((rank + 1) * part, num_rows)


def _rows_oracle(num_rows, num_ranks, rank):
    parts = [part.tolist() for part in torch.arange(num_rows).chunk(num_ranks)] if num_rows else []
    if rank >= len(parts):
        return num_rows, num_rows
    return parts[rank][0], parts[rank][-1] + 1


def _draw_rows(rng):
    num_ranks = int(rng.integers(1, 10))
    return int(rng.integers(0, 30)), num_ranks, int(rng.integers(0, num_ranks))


def _explain_rows(case, expected, got):
    num_rows, num_ranks, _ = case.args
    return f"{num_rows} rows in parts of {-(-num_rows // num_ranks)}: write down where each of {num_ranks} parts begins"


def _whole_numbers(function, case, result):
    return None if all(isinstance(place, Integral) for place in result) else f"{result} cannot cut a tensor: use //"


def _rounds_down(num_rows, num_ranks, rank):
    part = num_rows // num_ranks
    return rank * part, num_rows if rank == num_ranks - 1 else (rank + 1) * part


def _spreads_the_rest(num_rows, num_ranks, rank):
    part, more = divmod(num_rows, num_ranks)
    begin = rank * part + min(rank, more)
    return begin, begin + part + (rank < more)


def _runs_over(num_rows, num_ranks, rank):
    part = -(-num_rows // num_ranks)
    return rank * part, (rank + 1) * part


def _only_end_held(num_rows, num_ranks, rank):
    part = -(-num_rows // num_ranks)
    return rank * part, min((rank + 1) * part, num_rows)


def _proportional(num_rows, num_ranks, rank):
    return rank * num_rows // num_ranks, (rank + 1) * num_rows // num_ranks


def _last_row_included(num_rows, num_ranks, rank):
    begin, end = my_rows(num_rows, num_ranks, rank)
    return begin, max(begin, end - 1)


EXERCISES = (
    Exercise(
        id="34.1",
        title="What a rank holds",
        difficulty=1,
        minutes=10,
        solution=bytes_held,
        cases=_draw_held,
        oracle=_held_oracle,
        edge_cases=(
            *(Case((7_500_000_000, 64, stage, 2, 2, 12), note=f"the ZeRO paper, stage {stage}") for stage in range(4)),
            Case((1000, 1, 3, 2, 2, 12), note="one rank: nothing to share"),
        ),
        explain=_explain_held,
        hints=(
            "Each stage cuts up one kind more: first the optimiser's state, then gradients, then weights.",
            "A kind that is cut up counts `1 / num_ranks` of itself.",
            "`size * num_parameters / (num_ranks if stage >= first else 1)` with first = 1, 2, 3, added up.",
        ),
        wrong={
            "divides everything from stage 1 on": _divides_everything,
            "is a stage behind": _stage_off_by_one,
            "cuts up weights first": _weights_first,
            "takes 16 bytes for granted": _always_sixteen,
            "cuts up only the newest kind": _only_the_newest,
            "cuts up gradients at stage 1": _gradients_with_state,
        },
    ),
    Exercise(
        id="34.2",
        title="What a rank sends",
        difficulty=2,
        minutes=15,
        solution=bytes_sent,
        cases=_draw_sent,
        oracle=_sent_oracle,
        edge_cases=(
            *(Case((10**9, 4, stage, 2, 4, 1), note=f"one micro-batch, stage {stage}") for stage in range(4)),
            *(Case((10**9, 4, stage, 4, 2, 8), note=f"eight micro-batches, stage {stage}") for stage in range(4)),
            Case((10**9, 1, 3, 2, 2, 4), note="one rank sends nothing"),
        ),
        explain=_explain_sent,
        hints=(
            "A reduce-scatter or an all-gather of n bytes has each rank send (p - 1)/p of n; an all-reduce is both.",
            "Stage 0: gradients twice. Stage 1: gradients once, weights once. Stage 2: gradients once a micro-batch.",
            "Stage 3, for each micro-batch: weights forward, weights backward, gradients. Its optimiser steps "
            "the shard that stays, so nothing is gathered after the step.",
        ),
        wrong={
            "forgets (p - 1)/p": _forgets_ring,
            "lets every stage accumulate": _accumulates_in_all,
            "gathers once in stage 3": _gathers_once,
            "gathers after each micro-batch in stage 2": _gathers_after_each,
            "gathers after the step in stage 3": _also_steps_in_three,
            "all-reduces gradients in every stage": _all_reduces,
        },
    ),
    Exercise(
        id="34.3",
        title="My rows",
        difficulty=2,
        minutes=10,
        solution=my_rows,
        cases=_draw_rows,
        oracle=_rows_oracle,
        properties=(Property("returns two ints", _whole_numbers),),
        edge_cases=(
            *(Case((10, 4, rank), note="3, 3, 3 and 1") for rank in (0, 2, 3)),
            *(Case((5, 4, rank), note="2, 2, 1 and none") for rank in (2, 3)),
            Case((2, 8, 7), note="more ranks than rows"),
            Case((0, 3, 1), note="no rows at all"),
            Case((6, 1, 0), note="one rank has all"),
        ),
        explain=_explain_rows,
        hints=(
            "How many rows has a full part? Round up.",
            "`-(-n // p)` rounds up. Rank r begins after r full parts.",
            "Neither beginning nor end may lie beyond `num_rows`.",
        ),
        wrong={
            "rounds down, the last takes the rest": _rounds_down,
            "spreads the rest over the first ranks": _spreads_the_rest,
            "runs over the end": _runs_over,
            "lets only the end stop at the last row": _only_end_held,
            "cuts in proportion": _proportional,
            "leaves the last row out": _last_row_included,
        },
    ),
)

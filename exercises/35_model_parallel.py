"""Exercises 35.1 and 35.2: what tensor parallelism sends, and the groups that a rank belongs to."""

from __future__ import annotations

import torch

from course_lib.study.exercises import Case, Exercise, Property


def bytes_sent(num_tokens, width, num_layers, num_ranks, number):
    """Return what each rank sends in a step: under tensor parallelism, and under data parallelism."""
    ring = 2 * (num_ranks - 1) / num_ranks * number * num_layers
    return ring * 4 * num_tokens * width, ring * 12 * width**2


def _sent_oracle(num_tokens, width, num_layers, num_ranks, number):
    """Go through the blocks, and note each ring as it happens: p - 1 parts to add up, p - 1 parts to hand round."""
    tensor, data = 0.0, 0.0
    for _ in range(num_layers):
        for _ in ("out of attention", "out of the MLP", "back into attention", "back into the MLP"):
            tensor += 2 * (num_ranks - 1) * (num_tokens * width * number / num_ranks)
        for rows, columns in ((1, 1), (1, 1), (1, 1), (1, 1), (1, 4), (4, 1)):  # q, k, v, out, up, down
            data += 2 * (num_ranks - 1) * (rows * width * columns * width * number / num_ranks)
    return tensor, data


def _draw_sent(rng):
    tokens, width = int(rng.integers(1, 10**5)), 64 * int(rng.integers(1, 300))
    return tokens, width, int(rng.integers(1, 130)), int(rng.integers(2, 65)), (2, 4, 8)[int(rng.integers(3))]


def _explain_sent(case, expected, got):
    tokens, width, layers, ranks, number = case.args
    return (
        f"a block's all-reduces are about {tokens} x {width} numbers under tensor parallelism, and about "
        f"{12 * width**2} numbers, all of its parameters, under data parallelism; how often, in {layers} blocks, and "
        f"what do {ranks} ranks in a ring make of it, at {number} bytes a number?"
    )


def _forward_only(num_tokens, width, num_layers, num_ranks, number):
    tensor, data = bytes_sent(num_tokens, width, num_layers, num_ranks, number)
    return tensor / 2, data


def _once_round(num_tokens, width, num_layers, num_ranks, number):
    tensor, data = bytes_sent(num_tokens, width, num_layers, num_ranks, number)
    return tensor / 2, data / 2


def _forgets_ring(num_tokens, width, num_layers, num_ranks, number):
    return bytes_sent(num_tokens, width, num_layers, 10**12, number)


def _hidden_width(num_tokens, width, num_layers, num_ranks, number):
    tensor, data = bytes_sent(num_tokens, width, num_layers, num_ranks, number)
    return tensor * 5 / 2, data  # the MLP's two are thought to be of its hidden units


def _own_weights(num_tokens, width, num_layers, num_ranks, number):
    tensor, data = bytes_sent(num_tokens, width, num_layers, num_ranks, number)
    return tensor, data / num_ranks


def _part_of_tokens(num_tokens, width, num_layers, num_ranks, number):
    tensor, data = bytes_sent(num_tokens, width, num_layers, num_ranks, number)
    return tensor / num_ranks, data


def _mlp_alone(num_tokens, width, num_layers, num_ranks, number):
    tensor, data = bytes_sent(num_tokens, width, num_layers, num_ranks, number)
    return tensor / 2, data * 8 / 12


def _one_block(num_tokens, width, num_layers, num_ranks, number):
    return bytes_sent(num_tokens, width, 1, num_ranks, number)


def my_groups(rank, dp, pp, tp):
    """Return the ranks of this rank's tensor, pipeline and data groups, by name."""
    strides = {"tp": (1, tp), "pp": (tp, pp), "dp": (tp * pp, dp)}
    groups = {}
    for name, (stride, size) in strides.items():
        first = rank - rank // stride % size * stride
        groups[name] = [first + place * stride for place in range(size)]
    return groups


def _groups_oracle(rank, dp, pp, tp):
    """Number a grid, find the rank in it, and read off the line through it along each dimension."""
    grid = torch.arange(dp * pp * tp).view(dp, pp, tp)
    copy, stage, part = (int(place[0]) for place in torch.where(grid == rank))
    return {"tp": grid[copy, stage].tolist(), "pp": grid[copy, :, part].tolist(), "dp": grid[:, stage, part].tolist()}


def _draw_groups(rng):
    dp, pp, tp = (int(rng.integers(1, 5)) for _ in range(3))
    return int(rng.integers(dp * pp * tp)), dp, pp, tp


def _explain_groups(case, expected, got):
    _, dp, pp, tp = case.args
    return f"write the ranks down as {dp} tables of {pp} lines with {tp} ranks each, and look for this one"


def _whole(function, case, result):
    numbers = [number for group in result.values() for number in group]
    fractions = any(torch.as_tensor(number).is_floating_point() for number in numbers)
    return "some are floating-point numbers, which cannot number a rank: use //" if fractions else None


def _data_innermost(rank, dp, pp, tp):
    groups = my_groups(rank, tp, pp, dp)
    return {"tp": groups["dp"], "pp": groups["pp"], "dp": groups["tp"]}


def _pipeline_outermost(rank, dp, pp, tp):
    groups = my_groups(rank, pp, dp, tp)
    return {"tp": groups["tp"], "pp": groups["dp"], "dp": groups["pp"]}


def _neighbours_always(rank, dp, pp, tp):
    sizes = {"tp": tp, "pp": pp, "dp": dp}
    return {name: [rank // size * size + place for place in range(size)] for name, size in sizes.items()}


def _those_of_rank_0(rank, dp, pp, tp):
    return my_groups(0, dp, pp, tp)


def _starts_from_itself(rank, dp, pp, tp):
    strides = {"tp": (1, tp), "pp": (tp, pp), "dp": (tp * pp, dp)}
    return {name: [rank + place * stride for place in range(size)] for name, (stride, size) in strides.items()}


def _first_copy_alone(rank, dp, pp, tp):
    return my_groups(rank, dp, pp, tp) | {"pp": [rank % tp + stage * tp for stage in range(pp)]}


def _skips_by_its_size(rank, dp, pp, tp):
    groups = my_groups(rank, dp, pp, tp)
    return groups | {"pp": [groups["pp"][0] + place * pp for place in range(pp)]}


def _without_itself(rank, dp, pp, tp):
    return {name: [other for other in group if other != rank] for name, group in my_groups(rank, dp, pp, tp).items()}


EXERCISES = (
    Exercise(
        id="35.1",
        title="What travels",
        difficulty=1,
        minutes=10,
        solution=bytes_sent,
        cases=_draw_sent,
        oracle=_sent_oracle,
        edge_cases=(
            Case((2048, 12288, 96, 8, 2), note="GPT-3's size, one sequence: tensor parallelism sends less"),
            Case((1000, 12, 1, 2, 1), note="a narrow model: tensor parallelism sends more"),
            Case((6, 2, 1, 2, 2), note="six tokens for each number of its width over two: both send the same"),
            Case((100, 64, 2, 1, 4), note="one rank sends nothing"),
        ),
        explain=_explain_sent,
        hints=(
            "Tensor parallelism has one all-reduce for each way out (forward) and for each way in (backward), of which "
            "a block has two each.",
            "In a ring, an all-reduce of n bytes has each rank send 2 (p - 1)/p of n, whatever is summed.",
            "Both are `2 * (p - 1) / p * number * num_layers` times numbers: `4 * num_tokens * width`, and "
            "`12 * width**2`.",
        ),
        wrong={
            "counts the forward pass alone": _forward_only,
            "sends once round the ring": _once_round,
            "forgets (p - 1)/p": _forgets_ring,
            "sums the hidden units of the MLP": _hidden_width,
            "sends a part of the gradient, as if weights were cut": _own_weights,
            "sends a part of the tokens": _part_of_tokens,
            "leaves attention out": _mlp_alone,
            "counts one block": _one_block,
        },
    ),
    Exercise(
        id="35.2",
        title="My groups",
        difficulty=2,
        minutes=15,
        solution=my_groups,
        cases=_draw_groups,
        oracle=_groups_oracle,
        properties=(Property("returns whole numbers", _whole),),
        edge_cases=(
            Case((5, 2, 2, 2), note="a cube of eight ranks"),
            Case((13, 2, 3, 4), note="24 ranks, three sizes"),
            Case((2, 4, 1, 1), note="data parallelism alone"),
            Case((0, 1, 1, 1), note="one rank"),
        ),
        explain=_explain_groups,
        hints=(
            "Along the innermost dimension neighbours differ by 1. By how much do they differ along the next?",
            "The strides are 1, tp and tp * pp. A rank's place along a dimension is `rank // stride % size`.",
            "A group starts at `rank - place * stride` and goes on in steps of the stride.",
        ),
        wrong={
            "data innermost, tensor outermost": _data_innermost,
            "pipeline outermost": _pipeline_outermost,
            "neighbours in every dimension": _neighbours_always,
            "the groups of rank 0": _those_of_rank_0,
            "starts from itself": _starts_from_itself,
            "the pipeline of the first copy": _first_copy_alone,
            "steps of pp along the pipeline": _skips_by_its_size,
            "leaves itself out": _without_itself,
        },
    ),
)

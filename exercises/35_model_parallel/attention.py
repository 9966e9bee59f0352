"""Exercise 35.4: attention to the whole sequence out of its parts for blocks of keys."""

from __future__ import annotations

import math

import torch

from course_lib.study.exercises import Case, Exercise


def combine(numerators, denominators, maxima):
    """Return attention's result over the keys of all blocks."""
    scale = (maxima - maxima.amax(0)).exp()
    numerator = (scale.unsqueeze(-1) * numerators).sum(0)
    return numerator / (scale * denominators).sum(0).unsqueeze(-1)


def _oracle(numerators, denominators, maxima):
    """Each block's own softmax gives its mean of values; blocks count by the logarithm of their sum of exponentials."""
    blocks, queries, width = numerators.shape
    result = torch.zeros(queries, width, dtype=numerators.dtype)
    for query in range(queries):
        some = [block for block in range(blocks) if denominators[block, query] > 0]
        weights = torch.stack([maxima[block, query] + denominators[block, query].log() for block in some]).softmax(0)
        for weight, block in zip(weights, some, strict=True):
            result[query] += weight * numerators[block, query] / denominators[block, query]
    return result


def _parts(queries, keys, values, num_blocks, *, masked=False):
    """What a rank has computed for its queries with each block of keys; ``masked``: query i sees i + 1 keys at most."""
    scores = queries @ keys.T / math.sqrt(queries.shape[-1])
    if masked:
        scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf)
    numerators, denominators, maxima = [], [], []
    for block, value in zip(scores.chunk(num_blocks, 1), values.chunk(num_blocks), strict=True):
        most = block.amax(1)
        weights = (block - most.clamp(min=-1e30).unsqueeze(1)).exp()
        numerators.append(weights @ value)
        denominators.append(weights.sum(1))
        maxima.append(most)
    return torch.stack(numerators), torch.stack(denominators), torch.stack(maxima)


def _draw(rng):
    g = torch.Generator().manual_seed(int(rng.integers(2**31)))
    dtype = (torch.float32, torch.float64)[int(rng.integers(2))]
    blocks, length, width = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    rows, masked = blocks * length, bool(rng.integers(2))
    queries, keys, values = (torch.randn(rows, width, generator=g).to(dtype) for _ in range(3))
    return _parts(3 * queries, keys, values, blocks, masked=masked)


def _explain(case, expected, got):
    return (
        "a numerator and a denominator of block k are sums of exp(score - maxima[k]): bring all blocks to one common "
        "maximum for each query, add numerators and denominators up, and divide once"
    )


def _adds_results(numerators, denominators, maxima):
    return (numerators / denominators.unsqueeze(-1)).nan_to_num().sum(0)


def _means_of_results(numerators, denominators, maxima):
    return (numerators / denominators.unsqueeze(-1)).nan_to_num().mean(0)


def _no_rescaling(numerators, denominators, maxima):
    return numerators.sum(0) / denominators.sum(0).unsqueeze(-1)


def _weighted_by_keys(numerators, denominators, maxima):
    weights = (denominators / denominators.sum(0)).unsqueeze(-1)
    return ((numerators / denominators.unsqueeze(-1)).nan_to_num() * weights).sum(0)


def _weighted_by_maxima(numerators, denominators, maxima):
    weights = maxima.softmax(0).unsqueeze(-1)
    return (weights * (numerators / denominators.unsqueeze(-1)).nan_to_num()).sum(0)


def _no_common_maximum(numerators, denominators, maxima):
    scale = maxima.exp()
    return (scale.unsqueeze(-1) * numerators).sum(0) / (scale * denominators).sum(0).unsqueeze(-1)


def _scales_numerators_alone(numerators, denominators, maxima):
    scale = (maxima - maxima.amax(0)).exp()
    return (scale.unsqueeze(-1) * numerators).sum(0) / denominators.sum(0).unsqueeze(-1)


def _one_maximum_for_all(numerators, denominators, maxima):
    scale = (maxima - maxima.amax()).exp()
    return (scale.unsqueeze(-1) * numerators).sum(0) / (scale * denominators).sum(0).unsqueeze(-1)


def _wrong_way_round(numerators, denominators, maxima):
    scale = (maxima.amax(0) - maxima).exp()
    return (scale.unsqueeze(-1) * numerators).sum(0) / (scale * denominators).sum(0).unsqueeze(-1)


def _forgets_the_running_sums(numerators, denominators, maxima):
    """A running maximum, but what was summed before is not brought to it."""
    numerator, denominator, most = numerators[0], denominators[0], maxima[0]
    for n, d, m in zip(numerators[1:], denominators[1:], maxima[1:], strict=True):
        most = torch.maximum(most, m)
        scale = (m - most).exp()
        numerator, denominator = numerator + scale.unsqueeze(-1) * n, denominator + scale * d
    return numerator / denominator.unsqueeze(-1)


def _forgets_division(numerators, denominators, maxima):
    scale = (maxima - maxima.amax(0)).exp()
    return (scale.unsqueeze(-1) * numerators).sum(0)


_ONE = torch.ones(2, 1, 1, dtype=torch.float64)
_TINY = (_ONE * torch.tensor([[[2.0]], [[3.0]]]), _ONE[..., 0], torch.tensor([[0.0], [math.log(3)]]).double())
_LARGE = (torch.tensor([[[2.0]], [[3.0]], [[0.5]]]), torch.tensor([[1.0], [1.5], [1.0]]))
_MASKED = (torch.tensor([[[2.0], [1.0]], [[0.0], [3.0]]]), torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
_FAR = (torch.tensor([[[1.0], [2.0]], [[4.0], [8.0]]]).double(), torch.ones(2, 2).double())

EXERCISES = (
    Exercise(
        id="35.4",
        title="Attention out of parts",
        difficulty=3,
        minutes=20,
        solution=combine,
        cases=_draw,
        oracle=_oracle,
        edge_cases=(
            Case(_TINY, note="a key with value 2, and one with value 3 and three times the weight: 2.75"),
            Case((*_LARGE, torch.tensor([[120.0], [119.0], [0.0]])), note="scores whose exponentials are infinite"),
            Case((*_LARGE, torch.tensor([[-120.0], [-121.0], [-119.0]])), note="scores whose exponentials are zero"),
            Case((*_MASKED, torch.tensor([[0.5, 0.0], [-torch.inf, 1.0]])), note="a query may see no key of a block"),
            Case((*_FAR, torch.tensor([[0.0, 900.0], [1.0, 901.0]]).double()), note="queries of very unequal scores"),
        ),
        explain=_explain,
        hints=(
            "If all blocks had the same maximum, numerators could be added, and denominators too. How does a "
            "numerator change when another number is taken off the scores?",
            "`exp(score - M) = exp(score - maxima[k]) * exp(maxima[k] - M)`: bring each block to the largest maximum "
            "M of its query.",
            "With `scale = (maxima - maxima.amax(0)).exp()`, add `scale * numerators` and `scale * denominators` over "
            "blocks, and divide; mind the last dimension of the numerators.",
        ),
        wrong={
            "adds the blocks' results": _adds_results,
            "takes their mean": _means_of_results,
            "adds without bringing to one maximum": _no_rescaling,
            "weights blocks by their denominators": _weighted_by_keys,
            "weights blocks by their maxima": _weighted_by_maxima,
            "takes exponentials of the maxima themselves": _no_common_maximum,
            "scales numerators alone": _scales_numerators_alone,
            "one maximum for all queries": _one_maximum_for_all,
            "scales the wrong way round": _wrong_way_round,
            "does not rescale what was summed before": _forgets_the_running_sums,
            "forgets to divide": _forgets_division,
        },
    ),
)

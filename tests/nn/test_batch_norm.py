"""Batch norm: the formula by loops, torch's layer in every respect, and running statistics that mean what they say."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn import BatchNorm

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}
SHAPES = [(6, 3), (6, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2)]
TORCHS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def slow_batch_norm(x, weight, bias, eps):
    """The formula read aloud, channel by channel; also the mean and the unbiased variance that are remembered."""
    out, means, variances = x.clone(), [], []
    for channel in range(x.shape[1]):
        values = [float(value) for value in x[:, channel].flatten()]
        mean = sum(values) / len(values)
        biased = sum((value - mean) ** 2 for value in values) / len(values)
        out[:, channel] = (x[:, channel] - mean) / (biased + eps) ** 0.5 * weight[channel] + bias[channel]
        means.append(mean)
        variances.append(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return out, torch.tensor(means, dtype=x.dtype), torch.tensor(variances, dtype=x.dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_matches_the_formula(randn, shaken, shape):
    norm, x = shaken(BatchNorm(3, eps=0.1, momentum=0.25)), 2 + 3 * randn(*shape)
    out, mean, variance = slow_batch_norm(x, norm.weight.detach(), norm.bias.detach(), 0.1)
    assert_close(norm(x).detach(), out, **ROUNDING)
    assert_close(norm.running_mean, 0.25 * mean, **ROUNDING)
    assert_close(norm.running_var, 0.75 + 0.25 * variance, **ROUNDING)


@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_is_torchs_through_training_and_evaluation(randn, shaken, assert_same, shape, affine, momentum):
    ours = shaken(BatchNorm(3, momentum=momentum, affine=affine, eps=1e-3))
    theirs = TORCHS[len(shape)](3, momentum=momentum, affine=affine, eps=1e-3).double()
    theirs.load_state_dict(ours.state_dict())
    for scale in (1, 5, 0.2):
        assert_same(ours, theirs, scale + scale * randn(*shape))
        assert ours.num_batches_tracked == theirs.num_batches_tracked
        assert_close(ours.running_mean, theirs.running_mean, **ROUNDING)
        assert_close(ours.running_var, theirs.running_var, **ROUNDING)
    assert_same(ours.eval(), theirs.eval(), randn(*shape))


@pytest.mark.parametrize("training", [True, False])
def test_is_torchs_without_running_statistics(randn, shaken, assert_same, training):
    ours = shaken(BatchNorm(3, track_running_stats=False)).train(training)
    theirs = nn.BatchNorm1d(3, track_running_stats=False).double().train(training)
    theirs.load_state_dict(ours.state_dict())
    assert_same(ours, theirs, randn(6, 3))


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
def test_state_dicts_load_both_ways(randn, options):
    ours, theirs = BatchNorm(3, **options), nn.BatchNorm2d(3, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs(randn(2, 3, 4, 4).float())
    ours.load_state_dict(theirs.state_dict())
    back = nn.BatchNorm2d(3, **options)
    back.load_state_dict(ours.state_dict())
    for name, value in theirs.state_dict().items():
        assert back.state_dict()[name].dtype == value.dtype
        assert_close(back.state_dict()[name], value, **EXACT)


def test_two_values_become_minus_one_and_one():  # whatever they are
    out = BatchNorm(1, eps=0.0)(torch.tensor([[3.0], [11.0]]))
    assert_close(out.detach(), torch.tensor([[-1.0], [1.0]]), **EXACT)


def test_evaluation_looks_at_one_row_alone_and_remembers_nothing(randn, shaken):
    norm = shaken(BatchNorm(3))
    norm(1 + 2 * randn(8, 3, 4))
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    x = randn(5, 3, 4)
    together = norm(x)
    assert_close(torch.cat([norm(row[None]) for row in x]), together, **EXACT)
    for name, value in before.items():
        assert_close(norm.state_dict()[name], value, **EXACT)


def test_scale_and_shift_of_a_channel_do_not_matter_in_training(randn):
    norm, x = BatchNorm(3, eps=0.0).double(), randn(8, 3, 4)
    moved = x * torch.tensor([2.0, 0.5, 8.0]).view(3, 1) + torch.tensor([1.0, -7.0, 100.0]).view(3, 1)
    assert_close(norm(moved), norm(x), **ROUNDING)


def test_permuting_rows_permutes_the_output(randn):
    norm, x, order = BatchNorm(3).double(), randn(6, 3), [3, 1, 5, 0, 2, 4]
    assert_close(norm(x[order]), norm(x)[order], **ROUNDING)


def test_momentum_none_is_the_average_over_all_batches(randn):
    norm = BatchNorm(3, momentum=None).double()
    batches = [scale * randn(6, 3) for scale in (1, 2, 3, 4, 5, 6, 7)]  # 1/7 is not exact in float32
    for batch in batches:
        norm(batch)
    assert_close(norm.running_mean, torch.stack([batch.mean(0) for batch in batches]).mean(0), **ROUNDING)
    assert_close(norm.running_var, torch.stack([batch.var(0) for batch in batches]).mean(0), **ROUNDING)


@pytest.mark.parametrize("training", [True, False])
def test_gradients(randn, shaken, gradients_are_right, training):
    norm = shaken(BatchNorm(2))
    norm(randn(5, 2, 3))
    assert gradients_are_right(norm.train(training), randn(4, 2, 3))


def test_a_large_offset_does_not_swallow_the_variance(randn):
    x = randn(64, 3)
    out = BatchNorm(3)((x + 1e4).float())  # in float32 E[x^2] - E[x]^2 has an error of about 10 here
    expected = BatchNorm(3).double()((x + 1e4).float().double()).float()
    assert_close(out, expected, rtol=0, atol=3e-3)  # numbers near 10,000 are 1e-3 apart, so the mean is off


def test_a_constant_channel_becomes_the_bias():
    norm = BatchNorm(2)
    out = norm(torch.full((4, 2), 7.0, requires_grad=True))
    assert_close(out.detach(), torch.zeros(4, 2), **EXACT)
    gradient = torch.autograd.grad(out[0, 0], norm.weight)[0]
    assert_close(gradient, torch.zeros(2), **EXACT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_summed_in_float32(randn, dtype):
    x = (300 * randn(32, 3)).to(dtype)  # squares beyond float16's 65,504
    half, full = BatchNorm(3), BatchNorm(3)
    out = half(x)
    assert out.dtype == dtype
    assert_close(out, full(x.float()).to(dtype), **EXACT)
    assert_close(half.running_var, full.running_var, **EXACT)
    assert half.running_var.dtype == torch.float32


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_batch_of_no_rows_changes_no_statistic_and_has_zero_gradients(momentum):
    norm = BatchNorm(3, momentum=momentum)
    norm(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    before = copy.deepcopy(norm.state_dict())
    norm(torch.zeros(0, 3)).sum().backward()
    assert_close(norm.weight.grad, torch.zeros(3), **EXACT)
    for name, value in before.items():
        assert_close(norm.state_dict()[name], value, **EXACT)


def test_reset_brings_the_start_back(randn, shaken):
    norm = shaken(BatchNorm(3))
    norm(randn(4, 3))
    norm.reset_parameters()
    for name, value in BatchNorm(3).double().state_dict().items():
        assert_close(norm.state_dict()[name], value, **EXACT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BatchNorm(3)(torch.ones(4, 2)), r"needs \(N, 3, \.\.\.\), got \(4, 2\)"),
        (lambda: BatchNorm(3)(torch.ones(3)), r"got \(3,\)"),
        (lambda: BatchNorm(3)(torch.ones(1, 3)), r"at least 2 values per channel .* got \(1, 3\)"),
        (lambda: BatchNorm(3, track_running_stats=False).eval()(torch.ones(1, 3, 1)), "at least 2 values"),
        (lambda: BatchNorm(3, momentum=1.5), "in .0, 1. or None, got 1.5"),
        (lambda: BatchNorm(0), "num_features must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_single_row_is_fine_in_evaluation_and_with_several_positions():
    assert_close(BatchNorm(1).eval()(torch.tensor([[5.0]])), torch.tensor([[5.0]]), rtol=1e-5, atol=0)
    assert_close(BatchNorm(1, eps=0.0)(torch.tensor([[[1.0, 5.0]]])).detach(), torch.tensor([[[-1.0, 1.0]]]), **EXACT)

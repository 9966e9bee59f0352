"""Layer, group and RMS norm: the formulas by loops, torch's layers, and what each does not react to."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn import GroupNorm, LayerNorm, RMSNorm

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}

CASES = {  # ours, torch's, their arguments, a shape of input
    "layer": (LayerNorm, nn.LayerNorm, (6,), {}, (3, 4, 6)),
    "layer-one-row": (LayerNorm, nn.LayerNorm, (6,), {}, (6,)),
    "layer-two-axes": (LayerNorm, nn.LayerNorm, ((4, 6),), {"eps": 0.01}, (3, 4, 6)),
    "layer-no-bias": (LayerNorm, nn.LayerNorm, (6,), {"bias": False}, (3, 6)),
    "layer-plain": (LayerNorm, nn.LayerNorm, (6,), {"elementwise_affine": False}, (3, 6)),
    "rms": (RMSNorm, nn.RMSNorm, (6,), {}, (3, 4, 6)),
    "rms-two-axes": (RMSNorm, nn.RMSNorm, ([4, 6],), {"eps": 0.01}, (3, 4, 6)),
    "rms-plain": (RMSNorm, nn.RMSNorm, (6,), {"elementwise_affine": False}, (3, 6)),
    "group": (GroupNorm, nn.GroupNorm, (3, 6), {}, (2, 6, 4, 5)),
    "group-rows": (GroupNorm, nn.GroupNorm, (2, 6), {"eps": 0.01}, (4, 6)),
    "group-one": (GroupNorm, nn.GroupNorm, (1, 6), {}, (2, 6, 7)),
    "group-instance": (GroupNorm, nn.GroupNorm, (6, 6), {"affine": False}, (2, 6, 7)),
}


@pytest.fixture(params=CASES)
def pair(request, shaken):
    """Ours and torch's with the same parameters, and a shape of input."""
    our_class, their_class, arguments, options, shape = CASES[request.param]
    ours, theirs = shaken(our_class(*arguments, **options)), their_class(*arguments, **options).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs, shape


def moments(values):
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


def slow_layer_norm(row, weight, bias, eps):
    """The formula read aloud, for one row of numbers."""
    mean, variance = moments([float(value) for value in row])
    return torch.stack([(row[i] - mean) / (variance + eps) ** 0.5 * weight[i] + bias[i] for i in range(len(row))])


def slow_rms_norm(row, weight, eps):
    mean_square = sum(float(value) ** 2 for value in row) / len(row)
    return torch.stack([row[i] / (mean_square + eps) ** 0.5 * weight[i] for i in range(len(row))])


def slow_group_norm(row, num_groups, weight, bias, eps):
    """One row of channels by positions: each channel by the moments of all channels of its group."""
    per_group = len(row) // num_groups
    out = []
    for channel in range(len(row)):
        first = channel // per_group * per_group
        mean, variance = moments([float(value) for value in row[first : first + per_group].flatten()])
        out.append((row[channel] - mean) / (variance + eps) ** 0.5 * weight[channel] + bias[channel])
    return torch.stack(out)


@torch.no_grad()
def test_match_the_formulas(randn, shaken):
    layer, rms = shaken(LayerNorm(6, eps=0.1)), shaken(RMSNorm(6, eps=0.1))
    group = shaken(GroupNorm(3, 6, eps=0.1))
    for row in 2 + 3 * randn(4, 6):
        assert_close(layer(row), slow_layer_norm(row, layer.weight, layer.bias, 0.1), **ROUNDING)
        assert_close(rms(row), slow_rms_norm(row, rms.weight, 0.1), **ROUNDING)
    for row in 2 + 3 * randn(4, 6, 5):
        assert_close(group(row[None])[0], slow_group_norm(row, 3, group.weight, group.bias, 0.1), **ROUNDING)


def test_are_torchs_in_value_and_gradient(pair, randn, assert_same):
    ours, theirs, shape = pair
    assert_same(ours, theirs, 1 + 2 * randn(*shape))


def test_are_torchs_in_float32(pair, randn, assert_same):
    ours, theirs, shape = pair
    assert_same(ours.float(), theirs.float(), (1 + 2 * randn(*shape)).float(), rtol=1e-5, atol=1e-5)


def test_state_dicts_load_both_ways(pair):
    ours, theirs, _ = pair
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.reset_parameters()
    for name, value in ours.state_dict().items():
        assert_close(value, torch.full_like(value, float(name == "weight")), **EXACT)
    ours.load_state_dict(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert_close(ours.state_dict()[name], value, **EXACT)


def test_gradients(pair, randn, gradients_are_right):
    ours, _, shape = pair
    assert gradients_are_right(ours, randn(*shape))


def test_training_and_evaluation_are_the_same(pair, randn):
    ours, _, shape = pair
    x = randn(*shape)
    assert_close(ours.eval()(x), ours.train()(x), **EXACT)


def test_values_known_by_thought():
    row = torch.tensor([[1.0, 1.0, 9.0, 9.0]])
    assert LayerNorm(4, eps=0.0)(row).tolist() == [[-1.0, -1.0, 1.0, 1.0]]
    assert GroupNorm(2, 4, eps=1.0)(row).tolist() == [[0.0, 0.0, 0.0, 0.0]]
    assert RMSNorm(2, eps=0.0)(torch.tensor([[2.0, -2.0]])).tolist() == [[1.0, -1.0]]


def test_the_scale_of_a_row_does_not_matter(randn):
    x, scale = randn(5, 6), torch.tensor([[1.0], [0.01], [3.0], [100.0], [7.0]])
    for norm in (LayerNorm(6, eps=0.0), RMSNorm(6, eps=0.0), GroupNorm(2, 6, eps=0.0)):
        norm.double()
        assert_close(norm(scale * x), norm(x), **ROUNDING)


def test_a_shift_matters_to_rms_norm_alone(randn):
    x = randn(5, 6)
    for norm in (LayerNorm(6).double(), GroupNorm(2, 6).double()):
        assert_close(norm(x + 3), norm(x), **ROUNDING)
    assert_close(RMSNorm(6, eps=0.0).double()(x + 1e6), torch.ones(5, 6).double(), rtol=0, atol=1e-5)


def test_rows_do_not_see_each_other(randn):
    x = randn(5, 6, 3)
    group, layer, rms = GroupNorm(2, 6).double(), LayerNorm((6, 3)).double(), RMSNorm((6, 3)).double()
    for norm in (group, layer, rms):
        assert_close(torch.cat([norm(row[None]) for row in x]), norm(x), **EXACT)


def test_layer_norm_without_its_mean_is_rms_norm(randn):
    x = randn(5, 6)
    centred = x - x.mean(dim=-1, keepdim=True)
    assert_close(RMSNorm(6, eps=1e-5).double()(centred), LayerNorm(6).double()(x), **ROUNDING)


def test_a_large_offset_does_not_swallow_the_variance(randn):
    x = (randn(8, 64) + 1e4).float()
    for norm in (LayerNorm(64), GroupNorm(2, 64)):
        exact = norm.double()(x.double()).float()
        assert_close(
            norm.float()(x), exact, rtol=0, atol=3e-3
        )  # numbers near 10,000 are 1e-3 apart, so the mean is off


def test_rows_of_zeros_stay_zeros_with_finite_gradients():
    for norm in (LayerNorm(6), GroupNorm(2, 6), RMSNorm(6)):
        x = torch.zeros(2, 6, requires_grad=True)
        out = norm(x)
        out[0, 0].backward()
        assert_close(out.detach(), torch.zeros(2, 6), **EXACT)
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_summed_in_float32(randn, dtype):
    x = (300 * randn(4, 64)).to(dtype)  # squares beyond float16's 65,504
    for norm in (LayerNorm(64), GroupNorm(2, 64), RMSNorm(64)):
        assert norm(x).dtype == dtype
        assert_close(norm(x), norm(x.float()).to(dtype), **EXACT)


def test_no_rows_give_no_rows():
    for norm in (LayerNorm(6), GroupNorm(2, 6), RMSNorm(6)):
        norm(torch.zeros(0, 6)).sum().backward()
        assert_close(norm.weight.grad, torch.zeros(6), **EXACT)
    assert GroupNorm(2, 6)(torch.zeros(0, 6, 4, 4)).shape == (0, 6, 4, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LayerNorm((4, 6))(torch.ones(3, 6, 4)), r"needs last axes \(4, 6\), got \(3, 6, 4\)"),
        (lambda: LayerNorm((4, 6))(torch.ones(6)), r"got \(6,\)"),
        (lambda: LayerNorm(()), "at least one axis"),
        (lambda: RMSNorm(6)(torch.ones(3, 4)), r"needs last axes \(6,\), got \(3, 4\)"),
        (lambda: RMSNorm([]), "at least one axis"),
        (lambda: GroupNorm(2, 6)(torch.ones(3, 4)), r"needs \(N, 6, \.\.\.\), got \(3, 4\)"),
        (lambda: GroupNorm(2, 6)(torch.ones(6)), r"got \(6,\)"),
        (lambda: GroupNorm(4, 6), "must divide num_channels, got 4 for 6 channels"),
        (lambda: GroupNorm(0, 6), "got 0 for 6 channels"),
        (lambda: GroupNorm(2, 0), "got 2 for 0 channels"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

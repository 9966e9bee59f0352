"""What all losses share: reductions, half precision, no look at values, no gradient lost; and the shared checks."""

import inspect
import math

import pytest
import torch
from torch.testing import assert_close

from course_lib import losses
from course_lib.losses.conventions import check_positive, check_same_shape, reduced, widened


def simsiam(first, second, third, fourth, **settings):
    """The one loss that takes its tensors in pairs."""
    return losses.simsiam((first, second), (third, fourth), **settings)


def batch(dtype=torch.float32, device="cpu"):
    """Arguments for every loss: 6 rows of 4 numbers or classes, and one setting away from the defaults each."""
    generator = torch.Generator().manual_seed(0)
    first, second, third = (2 * torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    label = torch.tensor([0, 3, 1, -100, 2, 2])
    whole = label.clamp(min=0)
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    cases = {
        losses.mse: ((first, second), {}),
        losses.mae: ((first, second), {}),
        losses.huber: ((first, second), {"delta": 0.7}),
        losses.gaussian_nll: ((first, second, third[:, :1]), {}),
        losses.cross_entropy: ((first, label), {"label_smoothing": 0.1, "class_weights": weights}),
        losses.focal: ((first, label), {"gamma": 0.5, "class_weights": weights}),
        losses.binary_cross_entropy: ((first, second.sigmoid()), {"positive_weight": 3.0}),
        losses.hinge: ((first, second.sign()), {"margin": 0.5}),
        losses.multiclass_hinge: ((first, whole), {"margin": 2.0}),
        losses.entropy: ((first,), {}),
        losses.kl_divergence: ((first, second), {}),
        losses.distillation: ((first, second, label), {"temperature": 3.0, "hard_weight": 0.3}),
        losses.triplet: ((first, second, third), {"margin": 2.0}),
        simsiam: ((first, second, third, first + third), {"stop_gradient": False}),
    }

    def ready(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)

    return {
        loss: (tuple(map(ready, tensors)), {name: ready(value) for name, value in settings.items()})
        for loss, (tensors, settings) in cases.items()
    }


LOSSES = list(batch())
named = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def test_every_exported_loss_is_covered_here():
    with_reduction = {
        name
        for name in losses.__all__
        if inspect.isfunction(value := getattr(losses, name)) and "reduction" in inspect.signature(value).parameters
    }
    assert with_reduction == {loss.__name__ for loss in LOSSES}


@named
def test_sum_adds_up_what_none_leaves_apart(loss):
    tensors, settings = batch(torch.float64)[loss]
    rows = loss(*tensors, **settings, reduction="none")
    assert rows.ndim > 0
    assert_close(loss(*tensors, **settings, reduction="sum"), rows.sum(), rtol=1e-14, atol=0)
    if "class_weights" not in settings:  # their mean has a divisor of its own, tested with them
        assert_close(loss(*tensors, **settings), rows.mean(), rtol=1e-14, atol=0)


@named
def test_sums_over_any_split_of_the_rows_agree(loss):
    tensors, settings = batch(torch.float64)[loss]
    parts = [loss(*(t[rows] for t in tensors), **settings, reduction="sum") for rows in (slice(0, 1), slice(1, 6))]
    assert_close(sum(parts), loss(*tensors, **settings, reduction="sum"), rtol=1e-13, atol=0)


@named
def test_permuting_the_rows_permutes_the_losses(loss):
    tensors, settings = batch(torch.float64)[loss]
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = loss(*(t[order] for t in tensors), **settings, reduction="none")
    assert_close(shuffled, loss(*tensors, **settings, reduction="none")[order], rtol=1e-14, atol=0)


@named
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(loss, half):
    tensors, settings = batch(half)[loss]
    exact = {key: value.float() if isinstance(value, torch.Tensor) else value for key, value in settings.items()}
    expected = loss(*(t.float() if t.is_floating_point() else t for t in tensors), **exact)
    assert_close(loss(*tensors, **settings), expected, rtol=0, atol=0)  # includes: the dtype is float32


@named
def test_float64_stays_float64(loss):
    tensors, settings = batch(torch.float64)[loss]
    assert loss(*tensors, **settings).dtype == torch.float64


@named
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_value_is_read(loss, reduction):
    """Tensors on the meta device have no values, so a loss that asks for one (a wait, on a GPU) raises."""
    tensors, settings = batch(device="meta")[loss]
    here, here_settings = batch()[loss]
    got = loss(*tensors, **settings, reduction=reduction)
    assert got.device.type == "meta"
    assert got.shape == loss(*here, **here_settings, reduction=reduction).shape


@named
def test_gradients_are_those_of_float64(loss):
    """Every tensor that may learn gets in float32 the gradient that it gets in float64."""
    found = []
    for dtype in (torch.float64, torch.float32):
        tensors, settings = batch(dtype)[loss]
        learning = [t.requires_grad_() for t in tensors if t.is_floating_point()]
        loss(*tensors, **settings).backward()
        found.append([t.grad for t in learning])
    for exact, single in zip(*found, strict=True):
        assert (exact is None) == (single is None)
        if exact is not None:
            assert_close(single.double(), exact, rtol=1e-5, atol=1e-6)  # float32 rounding of sums of a few terms


@named
def test_an_unknown_reduction_is_refused(loss):
    tensors, settings = batch()[loss]
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'batchmean'"):
        loss(*tensors, **settings, reduction="batchmean")


def test_a_divisor_replaces_the_number_of_targets():
    assert reduced(torch.tensor([2.0, 4.0]), "mean", divisor=torch.tensor(8.0)).item() == 0.75


def test_widened_leaves_wide_tensors_alone():
    for dtype in (torch.float32, torch.float64):
        values = torch.ones(2, dtype=dtype)
        assert widened("values", values) is values


def test_integers_are_refused_by_name():
    with pytest.raises(ValueError, match=r"logits must be floating point, got torch.int64: convert it with .float\(\)"):
        widened("logits", torch.ones(2, dtype=torch.int64))


def test_shapes_that_would_broadcast_are_refused_by_name():
    with pytest.raises(ValueError, match=r"got prediction \(3, 1\), target \(3,\). Use squeeze"):
        check_same_shape(prediction=torch.ones(3, 1), target=torch.ones(3))


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan])
def test_settings_that_are_not_positive_and_finite_are_refused(value):
    with pytest.raises(ValueError, match=f"delta must be positive and finite, got {value!r}"):
        check_positive("delta", value)

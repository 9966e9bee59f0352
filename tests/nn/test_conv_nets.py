"""Convolutional nets: torch's functions read aloud, sizes of the paper, and what a shift of the image does."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib.nn import BasicBlock, BatchNorm, ConvNet, GroupNorm, LayerNorm, ResNet, RMSNorm

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def batch_norm(x, state, prefix, *, training=True):
    statistics = [None, None] if training else [state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]]
    return F.batch_norm(x, *statistics, state[f"{prefix}.weight"], state[f"{prefix}.bias"], training=training)


def reference_block(x, state, prefix, stride, **mode):
    """He et al.'s block in torch's functions, from a state dict."""
    branch = F.conv2d(x, state[f"{prefix}conv1.weight"], stride=stride, padding=1)
    branch = F.relu(batch_norm(branch, state, f"{prefix}norm1", **mode))
    branch = batch_norm(F.conv2d(branch, state[f"{prefix}conv2.weight"], padding=1), state, f"{prefix}norm2", **mode)
    if f"{prefix}shortcut.0.weight" in state:
        x = F.conv2d(x, state[f"{prefix}shortcut.0.weight"], stride=stride)
        x = batch_norm(x, state, f"{prefix}shortcut.1", **mode)
    return F.relu(x + branch)


@pytest.mark.parametrize(("num_in", "num_out", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2), (4, 8, 2)])
def test_the_block_is_the_papers(randn, shaken, num_in, num_out, stride):
    block, x = shaken(BasicBlock(num_in, num_out, stride=stride)), randn(3, num_in, 7, 6)
    state = dict(block.named_parameters())
    assert ("shortcut.0.weight" in state) == (stride > 1 or num_in != num_out)
    ours, theirs = block(x), reference_block(x, state, "", stride)
    assert ours.shape == (3, num_out, -(-7 // stride), 6 // stride)
    assert_close(ours, theirs, **ROUNDING)
    weights = randn(*ours.shape)
    for one, other in zip(
        *(torch.autograd.grad((out * weights).sum(), list(state.values())) for out in (ours, theirs)), strict=True
    ):
        assert_close(one, other, **ROUNDING)


@pytest.mark.parametrize("training", [True, False])
def test_the_resnet_is_the_papers(randn, shaken, training):
    model = shaken(ResNet(14, num_classes=5, num_channels=3, width=4))
    model(randn(4, 3, 8, 8))  # running statistics to evaluate with
    model.train(training)
    x, state = randn(3, 3, 8, 8), dict(model.state_dict())
    h = F.conv2d(x, state["stem.weight"], padding=1)
    h = F.relu(batch_norm(h, state, "stem_norm", training=training))
    for block, stride in enumerate([1, 1, 2, 1, 2, 1]):
        h = reference_block(h, state, f"blocks.{block}.", stride, training=training)
    assert h.shape == (3, 16, 2, 2)
    logits = F.linear(F.adaptive_avg_pool2d(h, 1).flatten(1), state["head.weight"], state["head.bias"])
    assert_close(model(x).detach(), logits, **ROUNDING)


def convolutions_on_the_main_path(model):
    return sum(isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) for module in model.modules())


@pytest.mark.parametrize("depth", [8, 20, 32])
@pytest.mark.parametrize("residual", [True, False])
def test_depth_counts_the_layers_with_weights_on_the_main_path(depth, residual):
    assert convolutions_on_the_main_path(ResNet(depth, width=2, residual=residual)) + 1 == depth


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_plain_nets_have_as_many_parameters_as_the_paper_says(depth, millions):
    """Table 6 of He et al. 2016; their shortcuts have none, so it is the plain net that counts the same."""
    model = ResNet(depth, num_channels=3, residual=False)
    assert round(num_parameters(model) / 1e6, 2) == millions


def test_the_residual_net_has_two_projections_more():
    plain, residual = (ResNet(20, num_channels=3, residual=flag) for flag in (False, True))
    assert num_parameters(residual) - num_parameters(plain) == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


def test_a_plain_block_is_the_branch_alone(randn):
    block = BasicBlock(4, 4, residual=False, generator=seeded()).double()
    x = randn(3, 4, 6, 6)
    whole = BasicBlock(4, 4, generator=seeded()).double()
    nn.init.zeros_(whole.norm2.weight), nn.init.zeros_(block.norm2.weight)
    assert_close(whole(x), x.relu(), **EXACT)
    assert_close(block(x), torch.zeros_like(x), **EXACT)


@pytest.mark.parametrize(("image_size", "pooled"), [(8, 2), (28, 7), (9, 2)])
def test_the_convnet_is_torchs_functions_in_a_row(randn, shaken, image_size, pooled):
    model = shaken(ConvNet(image_size, widths=(3, 5), norm=BatchNorm, num_classes=4))
    x, state = randn(2, 1, image_size, image_size), dict(model.named_parameters())
    h = F.max_pool2d(F.relu(batch_norm(F.conv2d(x, state["convs.0.weight"], padding=1), state, "norms.0")), 2)
    h = F.max_pool2d(F.relu(batch_norm(F.conv2d(h, state["convs.1.weight"], padding=1), state, "norms.1")), 2)
    assert h.shape == (2, 5, pooled, pooled)
    assert_close(model(x), F.linear(h.flatten(1), state["head.weight"], state["head.bias"]), **ROUNDING)


def test_a_norm_takes_the_place_of_the_biases():
    assert ConvNet(8).convs[0].bias.tolist() == [0.0] * 16
    assert ConvNet(8, norm=BatchNorm).convs[0].bias is None
    assert BasicBlock(2, 4, norm=None).shortcut[0].bias.tolist() == [0.0] * 4
    assert BasicBlock(2, 4).shortcut[0].bias is None


def test_a_convnet_of_zeros_says_its_bias():
    model = ConvNet(8)
    with torch.no_grad():
        model.head.bias.copy_(torch.arange(10.0))
    assert_close(model(torch.zeros(2, 1, 8, 8)).detach(), torch.arange(10.0).expand(2, 10), **EXACT)


def test_shifting_an_image_by_the_stride_shifts_its_features(randn):
    """What a convolution assumes of images. Stride 2: a shift by two pixels is one by one; the border is empty."""
    block = BasicBlock(2, 3, stride=2, norm=None).double()
    x = torch.zeros(1, 2, 16, 16).double()
    x[..., 6:10, 6:10] = randn(1, 2, 4, 4)
    assert_close(block(x.roll((2, -2), (2, 3))), block(x).roll((1, -1), (2, 3)), **ROUNDING)


def test_mirroring_image_and_kernels_mirrors_nothing_else(randn):
    model = ResNet(8, width=4).double()
    x = randn(2, 1, 9, 9)  # odd sizes: stride 2 starts and ends at a border
    logits = model(x)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(module.weight.flip(3))
    assert_close(model(x.flip(3)), logits, **ROUNDING)


@pytest.mark.parametrize("norm", [None, BatchNorm, partial(GroupNorm, 2)])
def test_gradients(randn, shaken, gradients_are_right, norm):
    options = {"norm": norm, "activation": torch.tanh}
    assert gradients_are_right(shaken(BasicBlock(2, 4, stride=2, **options)), randn(2, 2, 3, 3))
    assert gradients_are_right(shaken(ConvNet(4, widths=(2,), num_classes=2, **options)), randn(2, 1, 4, 4))


def test_features_of_an_extreme_image_stay_in_scale(randn):
    model, x = ResNet(20, width=4, generator=seeded()), randn(4, 1, 8, 8).float()
    assert_close(model(1e12 * x), model(x), rtol=1e-2, atol=1e-2)  # batch norm divides the scale out; eps stays


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm, nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("build", [partial(BasicBlock, 4, 4), partial(ConvNet, 8), partial(ResNet, 8)])
def test_norms_of_the_last_axis_are_refused(build, norm):
    with pytest.raises(ValueError, match=f"{norm.__name__} normalises the last axis.*partial\\(GroupNorm, 1\\)"):
        build(norm=norm)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResNet(18), "depth must be 6n . 2 .* got 18"),
        (lambda: ResNet(2), "got 2"),
        (lambda: ResNet(8)(torch.ones(2, 3, 8, 8)), r"images \(N, 1, H, W\), got \(2, 3, 8, 8\)"),
        (lambda: ResNet(8)(torch.ones(1, 8, 8)), r"got \(1, 8, 8\)"),
        (lambda: ConvNet(8)(torch.ones(2, 1, 28, 28)), r"images \(N, 1, 8, 8\), got \(2, 1, 28, 28\)"),
        (lambda: ConvNet(8)(torch.ones(2, 64)), r"got \(2, 64\)"),
        (lambda: ConvNet(8, widths=(4, 4, 4, 4)), r"widths \(4, 4, 4, 4\) halve images of 8 pixels 4 times"),
        (lambda: ConvNet(8, widths=()), "at least one width"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

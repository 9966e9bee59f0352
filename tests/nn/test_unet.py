"""The U-Net: diffusers' on the same weights, any size of image, what it starts as, and what it tells apart."""

import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

from course_lib.nn.time_embedding import NO_LABEL
from course_lib.nn.unet import UNet
from course_lib.nn.unet_blocks import PixelAttention, TimeResidualBlock
from course_lib.nn.unet_weights import diffusers_weights

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-9, "atol": 1e-10}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(**options):
    return UNet(**{"width": 8, "num_groups": 4, "generator": seeded(), **options})


def theirs_of(*, num_channels=1, width=8, multipliers=(1, 2), num_blocks=1, num_classes=None, attention=True):
    from diffusers import UNet2DModel

    widths = tuple(width * multiplier for multiplier in multipliers)
    return UNet2DModel(
        in_channels=num_channels,
        out_channels=num_channels,
        block_out_channels=widths,
        layers_per_block=num_blocks,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        attention_head_dim=widths[-1],
        add_attention=attention,
        norm_num_groups=4,
        num_class_embeds=None if num_classes is None else num_classes + 1,
    )


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 8),
        ({"num_classes": 3}, 28),
        ({"num_channels": 3, "multipliers": (1, 2, 2), "num_blocks": 2, "num_classes": 5}, 12),
        ({"attention": False, "multipliers": (1,), "width": 16}, 5),
    ],
)
def test_it_is_diffusers_with_the_same_weights(randn, shaken, options, size):
    """Output and every gradient in float64; theirs computes its sines in float32."""
    theirs = shaken(theirs_of(**options))
    ours = small(**options).double()
    ours.load_state_dict(diffusers_weights(theirs.state_dict()))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    x, time = randn(3, options.get("num_channels", 1), size, size), torch.tensor([0.0, 0.25, 1.0])
    labels = None if "num_classes" not in options else torch.tensor([NO_LABEL, 0, 2])
    out = ours(x, time, labels)
    expected = theirs(x, 1000 * time, None if labels is None else labels + 1).sample
    assert_close(out, expected, **ROUNDING)
    weights = randn(*out.shape)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    gradients = diffusers_weights({name: p.grad for name, p in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        assert_close(parameter.grad, gradients[name], rtol=1e-8, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (7, 9), (1, 1), (5, 16)])
@pytest.mark.parametrize("multipliers", [(1,), (1, 2), (1, 2, 2)])
def test_any_size_comes_out_as_it_went_in(size, multipliers):
    model = small(multipliers=multipliers)
    torch.nn.init.ones_(model.last.bias)
    assert_close(model(torch.zeros(2, 1, *size), torch.rand(2)), torch.ones(2, 1, *size), **EXACT)


def test_it_starts_as_zero_and_learns_from_there(randn):
    model, x = small(num_classes=3), randn(4, 1, 8, 8).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    assert_close(model(x, torch.rand(4)), torch.zeros_like(x), **EXACT)
    time, labels = torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.tensor([0, 1, 2, NO_LABEL])
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x, time, labels) - x.flip(3)).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.2 * x.square().mean()


def test_blocks_start_as_their_shortcut(randn):
    x, embedding = randn(2, 4, 5, 5), randn(2, 6)
    same = TimeResidualBlock(4, 4, embedding_width=6, num_groups=2, generator=seeded()).double()
    wider = TimeResidualBlock(4, 8, embedding_width=6, num_groups=2, generator=seeded()).double()
    assert_close(same(x, embedding), x, **EXACT)
    assert_close(wider(x, embedding), wider.shortcut(x), **EXACT)
    assert_close(PixelAttention(4, num_groups=2, generator=seeded()).double()(x), x, **EXACT)


def test_attention_carries_no_places(randn, shaken):
    """Moving the pixels about moves what comes out alike: where things are, the convolutions must say."""
    layer, x = shaken(PixelAttention(4, num_groups=2, generator=seeded())), randn(2, 4, 3, 5)
    order = torch.randperm(15, generator=seeded())

    def moved(images):
        return images.flatten(2)[..., order].reshape(images.shape)

    assert_close(layer(moved(x)), moved(layer(x)), rtol=1e-11, atol=1e-11)


def test_time_and_class_matter_and_rows_keep_to_themselves(randn, shaken):
    model, x = shaken(small(num_classes=3)), randn(1, 1, 8, 8).expand(5, 1, 8, 8)
    time, labels = torch.tensor([0.2, 0.3, 0.2, 0.2, 0.2]), torch.tensor([0, 0, 1, NO_LABEL, 0])
    out = model(x, time, labels)
    assert_close(out[0], out[4], **ROUNDING)
    for other in (1, 2, 3):
        assert not torch.isclose(out[0], out[other]).all()
    for row in range(5):
        assert_close(model(x[:1], time[row : row + 1], labels[row : row + 1])[0], out[row], **ROUNDING)
    assert_close(model(x, time), model(x, time, torch.full((5,), NO_LABEL)), **EXACT)


def test_gradients(randn, shaken):
    """Along random directions of all parameters at once: one by one would take a minute."""
    model = shaken(UNet(width=2, num_groups=1, multipliers=(1, 1), num_classes=2, generator=seeded()))
    names, call = (
        [name for name, _ in model.named_parameters()],
        (torch.tensor([0.1, 0.8]), torch.tensor([1, NO_LABEL])),
    )

    def run(x, *values):
        return functional_call(model, dict(zip(names, values, strict=True)), (x, *call))

    leaves = [randn(2, 1, 3, 2).requires_grad_(), *(p.detach().requires_grad_() for p in model.parameters())]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    one, again, other = small(num_classes=4), small(num_classes=4), small(num_classes=4, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    for (name, parameter), same, different in zip(
        one.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert_close(parameter, same, **EXACT)
        if parameter.ndim > 1 and parameter.any():
            assert not torch.isclose(parameter, different).all(), name


def test_the_meta_device_runs_forward_and_backward():
    """There are no values on it, so this also proves that no step waits for the device to read one."""
    with torch.device("meta"):
        model = UNet(num_classes=10, generator=seeded())
        out = model(torch.zeros(4, 1, 8, 8), torch.zeros(4), torch.zeros(4, dtype=torch.int64))
    out.sum().backward()
    assert out.shape == (4, 1, 8, 8)
    assert all(parameter.grad.is_meta for parameter in model.parameters())


def test_autocast_changes_the_result_by_rounding_only(randn, shaken):
    """bfloat16 keeps 8 bits: 0.4 % an operation."""
    model, x = shaken(small(num_classes=3)).float(), randn(4, 1, 8, 8).float()
    call = (x, torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.tensor([0, 1, 2, -1]))
    exact = model(*call)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(*call)
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).norm() < 0.05 * exact.norm()
    half = model.bfloat16()(x.bfloat16(), *call[1:])
    assert (half.float() - exact).norm() < 0.08 * exact.norm()


def test_no_rows_and_extreme_images(randn, shaken):
    model = shaken(small()).float()
    assert model(torch.zeros(0, 1, 8, 8), torch.zeros(0)).shape == (0, 1, 8, 8)
    x, time = randn(2, 1, 8, 8).float(), torch.tensor([0.2, 0.7])
    assert_close(model(1e12 * x, time), model(1e10 * x, time), rtol=1e-3, atol=1e-3)  # norms take the scale out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNet(width=0), r"at least 1, got 1, 0, 1 and \(1, 2\)"),
        (lambda: UNet(multipliers=()), r"at least 1, got 1, 32, 1 and \(\)"),
        (lambda: UNet(multipliers=(1, 0)), r"got 1, 32, 1 and \(1, 0\)"),
        (lambda: UNet(width=12), "num_groups must divide the channels of every level, got 8 for 12"),
        (lambda: UNet(width=5, num_groups=5), "num_features must be even and positive, got 5"),
        (lambda: UNet(num_classes=0), "num_classes must be at least 1, .* got 0"),
        (
            lambda: small()(torch.ones(2, 3, 8, 8), torch.ones(2)),
            r"images \(N, 1, H, W\) .* got \(2, 3, 8, 8\) and \(2,\)",
        ),
        (lambda: small()(torch.ones(2, 1, 8, 8), torch.ones(2, 1)), r"\(2, 1, 8, 8\) and \(2, 1\)"),
        (
            lambda: small()(torch.ones(2, 1, 8, 8), torch.ones(2).long()),
            "time must be floating point .* got torch.int64",
        ),
        (lambda: small()(torch.ones(2, 1, 8, 8), torch.ones(2), torch.ones(2).long()), "no classes: leave the labels"),
        (
            lambda: small(num_classes=3)(torch.ones(2, 1, 8, 8), torch.ones(2), torch.ones(1).long()),
            r"labels must be int64 of shape \(2,\), .* got torch.int64 of shape \(1,\)",
        ),
        (lambda: small(num_classes=3)(torch.ones(2, 1, 8, 8), torch.ones(2), torch.ones(2)), "got torch.float32"),
        (
            lambda: diffusers_weights({"up_blocks.0.attentions.0.group_norm.bias": torch.ones(1)}),
            "no counterpart in UNet",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

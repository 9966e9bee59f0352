"""Encoders, projection head, Siamese pair and two towers: torch's functions read aloud, word order, the temperature."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib.nn import MLP, BatchNorm, CaptionEncoder, ConvEncoder, LayerNorm, ProjectionHead, Siamese, TwoTower

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}
CAPTION = torch.tensor([[3, 5, 7, 2, 3, 4, 8]])
SWAPPED = torch.tensor([[3, 4, 8, 2, 3, 5, 7]])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def caption_encoder(kind="transformer", **options):
    options = {"embedding_width": 6, "num_layers": 2, "num_heads": 2, "max_length": 12, "generator": seeded()} | options
    return CaptionEncoder(10, 8, kind=kind, **options)


NETS = {
    "conv": (partial(ConvEncoder, 1, 4, 6), (1, 8, 8)),
    "conv, batch norm": (partial(ConvEncoder, 1, 4, 6, norm=nn.BatchNorm2d), (1, 8, 8)),
    "head": (partial(ProjectionHead, 6, 8, 4, num_layers=3, norm=LayerNorm, norm_output=True), (6,)),
}
CAPTION_KINDS = ["transformer", "bag"]


@pytest.mark.parametrize(("size", "grid"), [((8, 8), 2), ((28, 28), 2), ((9, 14), 3), ((28, 56), 1), ((4, 4), 2)])
def test_the_encoder_is_torchs_functions_in_a_row(randn, shaken, size, grid):
    model, x = shaken(ConvEncoder(2, 3, 5, grid=grid)), randn(3, 2, *size)
    state = dict(model.named_parameters())
    h = x
    for layer in range(3):
        h = F.relu(F.conv2d(h, state[f"convs.{layer}.weight"], state[f"convs.{layer}.bias"], padding=1))
        h = F.max_pool2d(h, 2) if layer < 2 else h
    areas = F.adaptive_avg_pool2d(h, (grid, grid))
    expected = F.linear(areas.flatten(1), state["head.weight"], state["head.bias"])
    assert expected.shape == (3, 5)
    assert_close(model(x), expected, **EXACT)


def test_the_grid_keeps_left_from_right(randn):
    """Two pictures side by side, and the two swapped: hardly another embedding without a grid."""
    left, right = randn(1, 1, 28, 28), randn(1, 1, 28, 28)
    changes = []
    for grid in (1, 2):
        model = ConvEncoder(1, 8, 16, grid=grid, generator=seeded()).double()
        one, other = model(torch.cat([left, right], dim=3)), model(torch.cat([right, left], dim=3))
        changes.append(((one - other).norm() / one.norm()).item())
    assert changes[0] < 0.3 * changes[1]


def test_the_head_is_an_mlp_and_its_norms(randn, shaken):
    x = randn(7, 6)
    head = shaken(ProjectionHead(6, 8, 4, num_layers=3, norm=BatchNorm, norm_output=True))
    state = dict(head.named_parameters())
    h = x
    for layer, norm in enumerate(("mlp.norms.0", "mlp.norms.1", "output_norm")):
        h = F.linear(
            F.relu(h) if layer else h, state[f"mlp.linears.{layer}.weight"], state[f"mlp.linears.{layer}.bias"]
        )
        h = F.batch_norm(h, None, None, state[f"{norm}.weight"], state[f"{norm}.bias"], training=True)
    assert_close(head(x), h, **ROUNDING)
    plain = ProjectionHead(6, 8, 4, generator=seeded()).double()
    assert_close(plain(x), MLP((6, 8, 4), generator=seeded()).double()(x), **EXACT)
    linear = ProjectionHead(6, 8, 4, num_layers=1, generator=seeded()).double()
    assert_close(linear(x), F.linear(x, *linear.parameters()), **EXACT)


def test_siamese_gives_projections_and_what_is_predicted_from_them(randn):
    encoder, predictor = ProjectionHead(6, 8, 4).double(), ProjectionHead(4, 2, 4).double()
    projections, predictions = Siamese(encoder, predictor)(x := randn(5, 6))
    assert_close(projections, encoder(x), **EXACT)
    assert_close(predictions, predictor(encoder(x)), **EXACT)


def test_the_bag_is_a_mean_of_word_vectors(shaken):
    model = shaken(caption_encoder("bag"))
    words, hidden, out = model.words.weight, *model.head.linears
    mean = (words[3] + words[5] + words[3] + words[9]) / 4
    expected = out(torch.relu(hidden(mean)))[None]
    assert_close(model(torch.tensor([[3, 5, 3, 9, 0, 0]])), expected, **ROUNDING)


def test_the_transformer_is_averaged_over_words(shaken):
    model = shaken(caption_encoder())
    hidden = model.words.hidden_states(CAPTION)  # no padding, no mask
    assert_close(model(CAPTION), model.head(hidden.mean(dim=1)), **ROUNDING)
    assert not model.words.config.causal


def test_only_the_transformer_reads_word_order(shaken):
    bag, transformer = (shaken(caption_encoder(kind)) for kind in ("bag", "transformer"))
    assert_close(bag(SWAPPED), bag(CAPTION), **ROUNDING)
    assert (transformer(SWAPPED) - transformer(CAPTION)).norm() > 0.05 * transformer(CAPTION).norm()


@pytest.mark.parametrize("kind", CAPTION_KINDS)
def test_padding_says_nothing(shaken, kind):
    model = shaken(caption_encoder(kind))
    expected = model(CAPTION)
    for padding in ((0, 1), (0, 5), (3, 0)):
        assert_close(model(F.pad(CAPTION, padding)), expected, **ROUNDING)
    longer = torch.cat([F.pad(CAPTION, (0, 5)), torch.full((1, 12), 6)])
    assert_close(model(longer)[:1], expected, **ROUNDING)


@pytest.mark.parametrize("kind", CAPTION_KINDS)
def test_a_caption_without_words_is_the_zero_vector_to_the_head(shaken, kind):
    model = shaken(caption_encoder(kind))
    nothing = model.head(torch.zeros(1, 8, dtype=torch.float64))
    assert_close(model(torch.zeros(1, 3, dtype=torch.int64)), nothing, **EXACT)


def test_gradients_of_the_bag_with_padding(gradients_are_right, shaken):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = shaken(caption_encoder("bag"))

        def forward(self, x):
            return self.encoder(torch.tensor([[3, 5, 0], [2, 9, 1]])) * x

    assert gradients_are_right(Fixed(), torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize("name", NETS)
def test_nets_of_rows_keep_the_promises_that_all_nets_keep(name, randn):
    """Seeded, on the meta device, under autocast, without rows, from a state dict."""
    build, shape = NETS[name]
    state = torch.get_rng_state()
    model = build(generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    x = randn(4, *shape).float()
    expected = model.eval()(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(x)
    assert (rounded.float() - expected).norm() < 0.05 * expected.norm()
    assert model(x[:0]).shape == (0, expected.shape[1])
    again = build(generator=seeded(2))
    assert not torch.isclose(again.eval()(x), expected).all()
    again.load_state_dict(model.state_dict())
    assert_close(again(x), expected, **EXACT)
    with torch.device("meta"):
        build(generator=seeded())(torch.zeros(4, *shape)).sum().backward()


@pytest.mark.parametrize("kind", CAPTION_KINDS)
def test_caption_encoders_keep_them_too(kind):
    state = torch.get_rng_state()
    model, same, other = (caption_encoder(kind, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert_close(same(CAPTION), model(CAPTION), **EXACT)
    assert not torch.isclose(other(CAPTION), model(CAPTION)).any()
    assert model(CAPTION[:0]).shape == (0, 6)
    with torch.device("meta"):
        out = caption_encoder(kind)(torch.zeros(2, 3, dtype=torch.int64))
    assert out.shape == (2, 6)


def two_tower(**options):
    return TwoTower(ConvEncoder(1, 2, 6, generator=seeded()), caption_encoder(), **options)


def test_both_towers_end_on_the_unit_sphere(randn):
    model, images = two_tower().double(), randn(3, 1, 8, 8)
    image_rows, caption_rows, temperature = model(images, CAPTION)
    assert_close(image_rows, F.normalize(model.image_encoder(images), dim=1), **EXACT)
    assert_close(caption_rows, F.normalize(model.caption_encoder(CAPTION), dim=1), **EXACT)
    assert_close(image_rows, model.embed_images(images), **EXACT)
    assert_close(caption_rows, model.embed_captions(CAPTION), **EXACT)
    assert_close(temperature.item(), 0.07, rtol=1e-6, atol=0)


def test_under_autocast_embeddings_are_of_length_one_in_float32(randn):
    with torch.autocast("cpu", torch.bfloat16):
        image_rows, caption_rows, _ = two_tower()(randn(3, 1, 8, 8).float(), CAPTION)
    for rows in (image_rows, caption_rows):
        assert rows.dtype == torch.float32
        assert_close(rows.norm(dim=1), torch.ones(len(rows)))


@pytest.mark.parametrize(("at", "slope", "passes"), [(0.5, 1, 1), (0.5, -1, 1), (0.005, 1, 0), (0.005, -1, 1)])
def test_below_its_bound_the_temperature_only_learns_to_rise(at, slope, passes):
    model = two_tower(min_temperature=0.01).double()
    with torch.no_grad():
        model.log_temperature.fill_(math.log(at))
    bounded = max(at, 0.01)
    assert_close(model.temperature.item(), bounded, rtol=1e-12, atol=0)
    (slope * model.temperature).backward()
    assert_close(model.log_temperature.grad.item(), slope * bounded * passes, rtol=1e-12, atol=0)


def test_the_temperature_stays_at_its_bound_and_comes_back():
    model = two_tower(temperature=0.011)
    optimizer = torch.optim.SGD([model.log_temperature], lr=10.0)
    seen = []
    for wish in (1, 1, 1, 1, 1, -1, -1):
        optimizer.zero_grad()
        (wish * model.temperature).backward()
        optimizer.step()
        seen.append(model.temperature.item())
    assert seen[0] == seen[4] == pytest.approx(0.01, rel=1e-6)
    assert seen[4] <= seen[5] < seen[6]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvEncoder(width=0), "width must be at least 1, got 0"),
        (lambda: ConvEncoder(grid=0), "grid must be at least 1, got 0"),
        (lambda: ConvEncoder(norm=LayerNorm), "LayerNorm normalises the last axis"),
        (lambda: ConvEncoder()(torch.zeros(2, 3, 8, 8)), r"images \(N, 1, H, W\) .* got \(2, 3, 8, 8\)"),
        (lambda: ConvEncoder()(torch.zeros(2, 1, 8, 3)), r"at least 4 x 4 pixels, got \(2, 1, 8, 3\)"),
        (lambda: ProjectionHead(3, 4, 5, num_layers=0), "num_layers must be at least 1, got 0"),
        (lambda: ProjectionHead(3, 4, 5, norm_output=True), "norm_output=True needs a norm"),
        (lambda: ProjectionHead(3, 4, 5)(torch.zeros(2, 4)), r"rows of 3 numbers, got \(2, 4\)"),
        (lambda: CaptionEncoder(9, kind="lstm"), 'kind must be "transformer" or "bag", got \'lstm\''),
        (lambda: caption_encoder()(CAPTION[0]), r"word ids \(N, L\) of int64, got \(7,\)"),
        (lambda: caption_encoder("bag")(CAPTION.float()), r"got \(1, 7\) of torch\.float32"),
        (lambda: caption_encoder("bag")(CAPTION.repeat(1, 2)), "1 to 12 words, got 14: raise max_length"),
        (lambda: caption_encoder("bag")(CAPTION + 2), r"lie in \[0, 10\), got 4 to 10"),
        (lambda: caption_encoder()(-CAPTION), r"lie in \[0, 10\), got -8 to -2"),
        (lambda: two_tower(temperature=0.001), "temperature 0.001 and min_temperature 0.01"),
        (lambda: two_tower(min_temperature=0.0), "min_temperature 0.0"),
        (
            lambda: TwoTower(ConvEncoder(1, 2, 5), caption_encoder())(torch.zeros(1, 1, 8, 8), CAPTION),
            r"image embeddings \(1, 5\) and caption embeddings \(1, 6\)",
        ),
    ],
)
def test_bad_input_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()

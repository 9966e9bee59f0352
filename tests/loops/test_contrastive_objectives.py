"""The contrastive objectives: what they hand to the loss, what they count, and runs that learn or collapse."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Run, clip_objective, contrastive_objective, evaluate, simsiam_objective
from course_lib.losses import clip_loss, info_nce, nt_xent, simsiam
from course_lib.nn import CaptionEncoder, ConvEncoder, ProjectionHead, Siamese, TwoTower

EXACT = {"rtol": 0, "atol": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(6, 1, 8, 8, generator=seeded(), dtype=torch.float64)


def noisy(images, generator):
    return tuple(images + 0.1 * torch.randn(images.shape, generator=generator, dtype=images.dtype) for _ in range(2))


def encoder():
    return ConvEncoder(1, 2, 6, generator=seeded()).double()


def two_tower():
    return TwoTower(encoder(), CaptionEncoder(9, 8, embedding_width=6, num_heads=2, generator=seeded()).double())


@pytest.mark.parametrize("loss", [info_nce, partial(nt_xent, temperature=0.2)])
def test_contrastive_compares_the_models_rows(images, loss):
    model, (first, second) = encoder(), noisy(images, seeded(1))
    expected = loss(model(first), model(second))
    labels = torch.arange(6)
    for batch in ((first, second), (first, second, labels)):
        found = contrastive_objective(loss)(model, batch)
        assert found.count is None
        assert_close(found.total, expected, **EXACT)
    made = contrastive_objective(loss, views=partial(noisy, generator=seeded(1)))
    assert_close(made(model, (images, labels)).total, expected, **EXACT)
    again = contrastive_objective(loss, views=partial(noisy, generator=seeded(1)))
    assert_close(again(model, images).total, expected, **EXACT)


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_simsiam_sums_over_samples(images, stop_gradient):
    model, (first, second) = Siamese(encoder(), ProjectionHead(6, 3, 6).double()), noisy(images, seeded(1))
    found = simsiam_objective(stop_gradient=stop_gradient)(model, (first, second))
    (z1, p1), (z2, p2) = model(first), model(second)
    expected = simsiam((p1, p2), (z1, z2), stop_gradient=stop_gradient)
    assert found.count == 6
    assert_close(found.total / 6, expected, rtol=1e-13, atol=0)
    parameters = list(model.parameters())
    for one, other in zip(
        *(torch.autograd.grad(loss, parameters) for loss in (found.total / 6, expected)), strict=True
    ):
        assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_clip_compares_images_with_their_captions_and_wrong_ones_besides(images):
    model, captions = two_tower(), torch.randint(1, 9, (6, 4), generator=seeded(2))
    wrong = torch.randint(1, 9, (3, 5), generator=seeded(3))  # longer: the others are padded
    image_rows, texts, negatives = (
        model.embed_images(images),
        model.embed_captions(captions),
        model.embed_captions(wrong),
    )
    for batch, more in (((images, captions), None), ((images, captions, wrong), negatives)):
        found = clip_objective(model, batch)
        expected = clip_loss(image_rows, texts, temperature=model.temperature, negatives=more)
        assert found.count is None
        assert_close(found.total, expected, rtol=1e-12, atol=0)
        assert_close(found.metrics["temperature"], model.temperature.detach(), **EXACT)


def test_a_run_learns_to_tell_samples_apart_and_its_temperature(images):
    model, captions, images = two_tower(), torch.arange(1, 7)[:, None], 4 * images - 2
    run = Run(model, clip_objective, torch.optim.Adam(model.parameters(), lr=0.01))
    before = evaluate(model, clip_objective, [(images, captions)])
    for _ in range(60):
        step = run.step((images, captions))
    assert before["loss"] > 1.0 > 0.1 > step.values()["loss"]
    assert step.values()["temperature"] < before["temperature"]


def test_micro_batches_are_refused_where_rows_depend_on_each_other(images):
    model = encoder()
    run = Run(model, contrastive_objective(info_nce), torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="cannot be split into 2 micro-batches"):
        run.step((images, images), (images, images))


def loss_and_spread(stop_gradient, images):
    """After training: the loss, and the mean standard deviation of unit projections, 0 when collapsed."""
    views = partial(noisy, generator=(generator := seeded(4)))
    model = Siamese(
        nn.Sequential(encoder(), ProjectionHead(6, 16, 8, norm=nn.BatchNorm1d, norm_output=True, generator=seeded(5))),
        ProjectionHead(8, 4, 8, norm=nn.BatchNorm1d, generator=seeded(6)),
    ).double()
    objective = simsiam_objective(views=views, stop_gradient=stop_gradient)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    run = Run(model, objective, optimizer, generators=[generator])
    for _ in range(100):
        step = run.step((images,))
    with torch.no_grad():
        return step.loss.item(), nn.functional.normalize(model.encoder(images), dim=1).std(dim=0).mean().item()


def test_the_stop_gradient_keeps_simsiam_from_collapsing():
    images = torch.rand(16, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    even = 1 / 8**0.5  # of directions spread evenly over 8 dimensions
    loss, spread = loss_and_spread(True, images)
    assert spread > 0.8 * even
    assert loss < -0.8  # and it has learnt: with blank predictions at the start, the predictor must survive them
    loss, spread = loss_and_spread(False, images)
    assert spread < 0.4 * even
    assert loss < -0.98


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.ones(4, 1, 8, 8), r"two of one shape, got \(4, 1, 8, 8\): give it views="),
        ((torch.ones(4, 1, 8, 8), torch.arange(4)), r"got \[\(4, 1, 8, 8\), \(4,\)\]"),
        ((torch.ones(4, 1, 8, 8),), r"got \[\(4, 1, 8, 8\)\]"),
        ((torch.ones(2, 1, 8, 8), ["a sans R", "a sans S"]), r"got \[\(2, 1, 8, 8\), list\]"),
    ],
)
def test_batches_without_two_views_are_refused(batch, message):
    for objective in (contrastive_objective(info_nce), simsiam_objective()):
        with pytest.raises(ValueError, match=message):
            objective(encoder(), batch)


def test_images_without_a_caption_are_refused(images):
    with pytest.raises(ValueError, match="one caption, got 6 images and 5 captions"):
        clip_objective(two_tower(), (images, torch.ones(5, 2, dtype=torch.int64)))


@pytest.mark.parametrize(
    ("captions", "got"),
    [
        ([["a sans R"] * 6], r"\(6, 1, 8, 8\), list\]"),
        ([torch.arange(6)], r"\(6, 1, 8, 8\), \(6,\)\]"),
        ([torch.ones(6, 2, dtype=torch.int64), torch.arange(6)], r"\(6, 2\), \(6,\)\]: .* leave labels out"),
    ],
)
def test_what_is_no_caption_is_refused(images, captions, got):
    with pytest.raises(ValueError, match=rf"word ids \(N, L\), got \[.*{got}"):
        clip_objective(two_tower(), (images, *captions))


@pytest.mark.parametrize("kind", ["transformer", "bag"])
def test_a_blank_image_and_an_empty_caption_leave_the_others_their_gradients(images, kind):
    """With fresh biases of 0 both are embedded as zeros, which have no direction to learn."""
    captions = CaptionEncoder(9, 8, kind=kind, embedding_width=6, num_heads=2, generator=seeded()).double()
    model, words = TwoTower(encoder(), captions), torch.arange(1, 7)[:, None]
    blank = torch.cat([images[:5], torch.zeros_like(images[:1])])
    empty = torch.where(torch.arange(6)[:, None] == 2, 0, words)
    assert_close(model.embed_images(blank)[5], torch.zeros(6).double(), **EXACT)
    largest = []
    for batch in ((images, words), (blank, empty)):
        gradients = torch.autograd.grad(clip_objective(model, batch).total, list(model.parameters()))
        largest.append(max(gradient.abs().max().item() for gradient in gradients))
    assert largest[1] < 10 * largest[0]

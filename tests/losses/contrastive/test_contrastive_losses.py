"""InfoNCE, NT-Xent, CLIP's and SimSiam's loss: the formulas read aloud, values by thought, bounds, invariants."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from course_lib.losses import clip_loss, info_nce, nt_xent, simsiam

SOFTMAX = [info_nce, nt_xent, clip_loss]
CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # float64, the same sums in another order


def cosine(one, other):
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.hypot(*one) / math.hypot(*other)


def surprise(right, candidates, temperature):
    """Minus the log of the share that the right candidate's exponential has in all of them."""
    return -math.log(math.exp(right / temperature) / sum(math.exp(score / temperature) for score in candidates))


def slow_info_nce(queries, keys, temperature, more=()):
    losses = [
        surprise(cosine(query, keys[i]), [cosine(query, key) for key in [*keys, *more]], temperature)
        for i, query in enumerate(queries)
    ]
    return sum(losses) / len(losses)


def slow_nt_xent(first, second, temperature):
    views, losses = [*first, *second], []
    for i, view in enumerate(views):
        others = [cosine(view, views[j]) for j in range(len(views)) if j != i]
        losses.append(surprise(cosine(view, views[(i + len(first)) % len(views)]), others, temperature))
    return sum(losses) / len(losses)


def slow_clip(images, texts, temperature, negatives=()):
    from_images = slow_info_nce(images, texts, temperature, more=negatives)
    return (from_images + slow_info_nce(texts, images, temperature)) / 2


SLOW = {info_nce: slow_info_nce, nt_xent: slow_nt_xent, clip_loss: slow_clip}


@pytest.fixture
def views():
    """A second view that is the first one with noise, seven samples, five wide."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    return first, first + 0.5 * torch.randn(7, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("loss", SOFTMAX)
@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
def test_matches_the_formula_read_aloud(views, loss, temperature):
    expected = SLOW[loss](*(view.tolist() for view in views), temperature)
    assert_close(loss(*views, temperature=temperature).item(), expected, **CLOSE)


@pytest.mark.parametrize("num_negatives", [1, 3, 12])
def test_hard_negatives_are_further_candidates_for_images_alone(views, num_negatives):
    wrong = torch.randn(num_negatives, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = slow_clip(*(view.tolist() for view in views), 0.3, wrong.tolist())
    assert_close(clip_loss(*views, temperature=0.3, negatives=wrong).item(), expected, **CLOSE)


def test_no_hard_negatives_are_none(views):
    assert_close(clip_loss(*views, negatives=torch.zeros(0, 5).double()), clip_loss(*views), rtol=0, atol=0)


def test_clip_equals_transformers(views):
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    images, texts = (view / view.norm(dim=1, keepdim=True) for view in views)
    expected = image_text_contrastive_loss(texts @ images.T / 0.07)
    assert_close(clip_loss(*views), expected, **CLOSE)


@pytest.mark.parametrize(("loss", "candidates"), [(info_nce, 7), (nt_xent, 13), (clip_loss, 7)])
def test_equal_embeddings_are_at_chance_level(loss, candidates):
    ones = torch.ones(7, 3, dtype=torch.float64)
    assert_close(loss(ones, ones).item(), math.log(candidates), **CLOSE)


@pytest.mark.parametrize(("loss", "negatives"), [(info_nce, 1), (nt_xent, 2), (clip_loss, 1)])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_a_simplex_reaches_the_floor(loss, negatives, temperature):
    """The corners of a simplex are as far from each other as N points can be: every cosine is -1 / (N - 1)."""
    corners = torch.eye(6, dtype=torch.float64) - 1 / 6
    floor = math.log(1 + negatives * 5 * math.exp(-6 / (5 * temperature)))
    assert_close(loss(corners, corners, temperature=temperature).item(), floor, **CLOSE)
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        first, second = (corners + 0.3 * torch.randn(6, 6, generator=generator, dtype=torch.float64) for _ in range(2))
        assert loss(first, second, temperature=temperature) > floor


def test_the_floor_for_256_pairs_at_temperature_one_half():
    corners = torch.eye(256, dtype=torch.float64) - 1 / 256
    assert round(info_nce(corners, corners, temperature=0.5).item(), 2) == 3.56


@pytest.mark.parametrize("loss", SOFTMAX)
def test_lengths_and_the_order_of_samples_do_not_matter(views, loss):
    first, second = views
    assert_close(loss(10 * first, 0.1 * second), loss(first, second), **CLOSE)
    order = torch.tensor([3, 1, 5, 0, 2, 4, 6])
    assert_close(loss(first[order], second[order]), loss(first, second), **CLOSE)


@pytest.mark.parametrize("loss", [nt_xent, clip_loss])
def test_symmetric_losses_do_not_mind_which_view_is_first(views, loss):
    assert_close(loss(*views), loss(*reversed(views)), **CLOSE)


@pytest.mark.parametrize("loss", SOFTMAX)
def test_gradients(views, loss):
    first, second, temperature = (x.clone().requires_grad_() for x in (*views, torch.tensor(0.3).double()))
    assert torch.autograd.gradcheck(lambda a, b, t: loss(a, b, temperature=t), (first, second, temperature))


def test_gradients_of_hard_negatives(views):
    parts = [x.clone().requires_grad_() for x in (*views, views[0].roll(1, dims=0))]
    assert torch.autograd.gradcheck(lambda a, b, n: clip_loss(a, b, temperature=0.3, negatives=n), parts)


@pytest.mark.parametrize("loss", SOFTMAX)
def test_extreme_logits_cost_what_thought_says(loss):
    """Every view is opposite to its partner and at right angles to the rest: 1 / temperature more than its best."""
    corners = torch.eye(4).requires_grad_()
    value = loss(corners, -corners.detach(), temperature=1e-4)
    value.backward()
    best_of = {info_nce: 3, nt_xent: 6, clip_loss: 3}[loss]  # equally good wrong candidates
    assert_close(value.item(), 1e4 + math.log(best_of), rtol=1e-6, atol=0)
    assert corners.grad.isfinite().all()


@pytest.mark.parametrize("loss", [*SOFTMAX, lambda a, b: simsiam((a, b), (b, a))])
def test_half_precision_is_computed_in_float32_also_under_autocast(views, loss):
    halves = [view.bfloat16() for view in views]
    expected = loss(*(half.float() for half in halves))
    assert expected.dtype == torch.float32
    assert_close(loss(*halves), expected, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(loss(*halves), expected, rtol=0, atol=0)


@pytest.mark.parametrize("loss", [*SOFTMAX, lambda a, b: simsiam((a, b), (b, a.flip(0)))])
def test_a_row_of_zeros_is_at_right_angles_to_all_and_gets_no_gradient(views, loss):
    """As if it stood in a dimension of its own: the same loss, and the same gradients of all other rows."""
    first, second = views[0].clone(), torch.nn.functional.pad(views[1], (0, 1))
    first[2] = 0
    apart = torch.nn.functional.pad(first, (0, 1))
    apart[2, 5] = 1
    first, apart = first.requires_grad_(), apart.requires_grad_()
    losses = loss(first, second[:, :5]), loss(apart, second)
    assert_close(*losses, **CLOSE)
    for value in losses:
        value.backward()
    assert_close(first.grad[2], torch.zeros(5).double(), rtol=0, atol=0)
    others = torch.arange(7) != 2
    assert_close(first.grad[others], apart.grad[others, :5], **CLOSE)


def test_simsiam_is_the_formula_read_aloud(views):
    predictions, projections = views, tuple(view.roll(1, dims=1) for view in views)
    ours = simsiam(predictions, projections, reduction="none")
    lists = [[view.tolist() for view in pair] for pair in (predictions, projections)]
    for row, value in enumerate(ours.tolist()):
        (p1, p2), (z1, z2) = ([view[row] for view in pair] for pair in lists)
        assert_close(value, -cosine(p1, z2) / 2 - cosine(p2, z1) / 2, **CLOSE)
    assert_close(simsiam(predictions, projections), ours.mean(), **CLOSE)
    assert_close(simsiam(predictions, projections, reduction="sum"), ours.sum(), **CLOSE)


def test_simsiam_is_perfect_when_collapsed_and_worst_when_opposite():
    same = torch.ones(3, 2, dtype=torch.float64)
    assert_close(simsiam((same, same), (2 * same, 3 * same)).item(), -1.0, **CLOSE)
    assert_close(simsiam((same, same), (-same, -same)).item(), 1.0, **CLOSE)


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_only_without_the_stop_gradient_do_projections_learn(views, stop_gradient):
    predictions = [view.clone().requires_grad_() for view in views]
    projections = [view.roll(1, dims=1).requires_grad_() for view in views]

    def loss(*parts):
        return simsiam(parts[:2], parts[2:], stop_gradient=stop_gradient)

    if stop_gradient:
        fixed = partial(lambda one, two, targets: loss(one, two, *targets), targets=[p.detach() for p in projections])
        assert torch.autograd.gradcheck(fixed, predictions)
        loss(*predictions, *projections).backward()
        assert [projection.grad for projection in projections] == [None, None]
    else:
        assert torch.autograd.gradcheck(loss, [*predictions, *projections])


@pytest.mark.parametrize("loss", SOFTMAX)
@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (torch.ones(4, 3), torch.ones(4, 2), {}, r"matrices .* of one shape.* \(4, 3\).* \(4, 2\)"),
        (torch.ones(4), torch.ones(4), {}, r"matrices .* \(4,\)"),
        (torch.ones(1, 3), torch.ones(1, 3), {}, "needs at least 2, got 1"),
        (torch.ones(4, 3).int(), torch.ones(4, 3), {}, "must be floating point"),
        (torch.ones(4, 3), torch.ones(4, 3), {"temperature": 0.0}, "temperature must be positive"),
        (torch.ones(4, 3), torch.ones(4, 3), {"temperature": math.nan}, "temperature must be positive"),
        (torch.ones(4, 3), torch.ones(4, 3), {"temperature": torch.ones(2)}, r"one number, got .* \(2,\)"),
    ],
)
def test_bad_input_is_named(loss, first, second, options, message):
    with pytest.raises(ValueError, match=message):
        loss(first, second, **options)


@pytest.mark.parametrize("shape", [(4, 2), (3,)])
def test_hard_negatives_of_another_width_are_refused(shape):
    with pytest.raises(ValueError, match=r"negatives .* as wide as the texts"):
        clip_loss(torch.ones(4, 3), torch.ones(4, 3), negatives=torch.ones(shape))


def test_simsiam_names_bad_input():
    good, bad = torch.ones(4, 3), torch.ones(4, 2)
    with pytest.raises(ValueError, match=r"second projection \(4, 2\)"):
        simsiam((good, good), (good, bad))
    with pytest.raises(ValueError, match="first projection must be floating point"):
        simsiam((good, good), (good.int(), good))
    with pytest.raises(ValueError, match="reduction must be"):
        simsiam((good, good), (good, good), reduction="average")

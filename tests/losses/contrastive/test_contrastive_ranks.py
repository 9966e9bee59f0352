"""Two and four processes against one that has the whole batch: every loss, every gradient, every weight the same."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from course_lib.collectives import all_sum, world_size
from course_lib.data import Batches
from course_lib.loops import Run, clip_objective, contrastive_objective, simsiam_objective, train
from course_lib.losses import barlow_twins, clip_loss, info_nce, nt_xent, vicreg
from course_lib.nn import CaptionEncoder, ConvEncoder, ProjectionHead, Siamese, TwoTower

CLOSE = {"rtol": 1e-10, "atol": 1e-13}  # float64, sums in another order
EXACT = {"rtol": 0, "atol": 0}
ROWS, VOCAB = 8, 12


def scaled(loss):
    return lambda first, second, temperature, wrong: loss(first, second, temperature=temperature)


LOSSES = {
    "info_nce": scaled(info_nce),
    "nt_xent": scaled(nt_xent),
    "clip": scaled(clip_loss),
    "clip, hard": lambda first, second, temperature, wrong: clip_loss(
        first, second, temperature=temperature, negatives=wrong
    ),
    "barlow_twins": lambda first, second, temperature, wrong: barlow_twins(first, second),
    "vicreg": lambda first, second, temperature, wrong: vicreg(first, second),
}


def leaves(rows=slice(None)):
    """Two views, hard negatives (rows of a rank) and a temperature, each a leaf."""
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(ROWS, 5, generator=generator, dtype=torch.float64)[rows].clone() for _ in range(3)]
    first, second, wrong = (view.requires_grad_() for view in views)
    return first, second, torch.tensor(0.3, dtype=torch.float64, requires_grad=True), wrong


def losses_and_gradients(rows=slice(None)):
    found = {}
    for name, loss in LOSSES.items():
        inputs = leaves(rows)
        value = loss(*inputs)
        value.backward()
        found[name] = (value.detach(), [leaf.grad for leaf in inputs])
    return found


class Views(nn.Module):
    """A small encoder with a projection head; nothing in it makes rows depend on each other."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential(
            ConvEncoder(1, 2, 6, generator=generator), ProjectionHead(6, 8, 4, generator=generator)
        )

    def forward(self, images):
        return self.layers(images)


def two_tower():
    generator = torch.Generator().manual_seed(0)
    images = ConvEncoder(1, 2, 6, generator=generator)
    captions = CaptionEncoder(VOCAB, 8, embedding_width=6, num_layers=1, num_heads=2, generator=generator)
    return TwoTower(images, captions)


def siamese():
    return Siamese(Views(), ProjectionHead(4, 3, 4, generator=torch.Generator().manual_seed(1)))


def data(rows=19):
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.rand(rows, 1, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    captions, wrong = (torch.randint(0, VOCAB, (rows, 4), generator=generator) for _ in range(2))
    return first, second, captions, wrong


def runs():
    """Model, objective and stream by name; 19 rows in batches of 8, the last of three rows where rows may be ragged."""
    first, second, captions, wrong = data()
    whole = partial(Batches, batch_size=8, seed=2, drop_last=True)
    views = {
        name: (Views, contrastive_objective(loss), whole((first, second)))
        for name, loss in {"info_nce": info_nce, "nt_xent": nt_xent, "twins": barlow_twins, "vicreg": vicreg}.items()
    }
    return views | {
        "clip": (two_tower, clip_objective, whole((first, captions))),
        "clip, hard": (two_tower, clip_objective, whole((first, captions, wrong))),
        "simsiam": (siamese, simsiam_objective(), Batches((first, second), batch_size=8, seed=2)),
    }


def trained():
    """What three updates gave, read off in all worlds by the same lines."""
    record = {}
    for name, (build, objective, batches) in runs().items():
        model = build().double()
        run = Run(model, objective, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), max_grad_norm=1.0)
        steps = []
        for step in train(run, batches, steps=3):
            gradients = {key: parameter.grad.clone() for key, parameter in model.named_parameters()}
            steps.append({"loss": step.loss, "norm": step.grad_norm, **step.metrics, **gradients})
        record[name] = (steps, model.state_dict())
    return record


def worker(me, bare, updates):
    world = world_size()
    check_bare(me, world, bare)
    assert_close(trained(), updates, **CLOSE)
    check_ddp(me, world, updates)
    check_half_precision(me, world)
    check_refusals(me, world)


def check_bare(me, world, expected):
    """Averaged over ranks, gradients are the big batch's; a row's gradient is with its own rank alone."""
    mine = slice(me * ROWS // world, (me + 1) * ROWS // world)
    for name, (loss, gradients) in losses_and_gradients(mine).items():
        whole_loss, whole_gradients = expected[name]
        assert_close(loss, whole_loss, **EXACT)
        for leaf, whole in zip(gradients, whole_gradients, strict=True):
            if whole is None:
                assert leaf is None
            elif whole.ndim == 0:  # the temperature, a parameter that every rank has
                all_sum([leaf])
                assert_close(leaf / world, whole, **CLOSE)
            else:
                assert_close(leaf / world, whole[mine], **CLOSE)


def check_ddp(me, world, expected):
    """Torch's own DDP averages too."""
    first, second, *_ = data()
    model = Views().double()
    parallel = DistributedDataParallel(model)
    order = next(iter(Batches((torch.arange(19),), batch_size=8, seed=2, drop_last=True)))[0]
    nt_xent(parallel(first[order]), parallel(second[order])).backward()
    whole = Views().double()
    everyone = next(iter(Batches((torch.arange(19),), batch_size=8, seed=2, rank=0, world_size=1)))[0]
    views = torch.cat([whole(first[everyone]), whole(second[everyone])])
    cosines = nn.functional.cosine_similarity(views[:, None], views, dim=-1) / 0.5
    by_hand = cosines.fill_diagonal_(-torch.inf).log_softmax(dim=1)
    (-torch.cat([by_hand.diagonal(8), by_hand.diagonal(-8)]).mean()).backward()
    for parameter, other in zip(model.parameters(), whole.parameters(), strict=True):
        assert_close(parameter.grad, other.grad, **CLOSE)


def check_half_precision(me, world):
    """Rows travel in float32: their gradients would lose most digits on the way in 16 bits."""
    mine = slice(me * ROWS // world, (me + 1) * ROWS // world)
    first, second, *_ = leaves(mine)
    halves = [view.detach().bfloat16() for view in (first, second)]
    assert_close(info_nce(*halves), info_nce(*(half.float() for half in halves)), **EXACT)


def check_refusals(me, world):
    uneven = torch.ones(2 + me, 3)
    for loss in (info_nce, nt_xent, clip_loss, barlow_twins, vicreg):
        with pytest.raises(ValueError, match=r"as many rows on every rank, got \[2, 3"):
            loss(uneven, uneven)
    one_row = torch.ones(1, 3, dtype=torch.float64)  # alone it would be refused; the other ranks bring negatives
    assert_close(info_nce(one_row, one_row), torch.tensor(float(world)).double().log(), rtol=1e-14, atol=0)
    with pytest.raises(ValueError, match="needs at least 2, got 0"):
        nt_xent(one_row[:0], one_row[:0])


def test_two_and_four_ranks_equal_one(on_two_and_four_ranks):
    on_two_and_four_ranks(worker, losses_and_gradients(), trained())

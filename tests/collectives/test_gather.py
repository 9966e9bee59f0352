"""Rows of two real processes against one: values and every gradient; with one process the identity."""

import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from course_lib.collectives import all_sum, gather_rows, initialized, rank, world_size

EXACT = {"rtol": 0, "atol": 0}


def pairs():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2)]


def contrast(query, key):
    """Which key belongs to my query? Every row's loss depends on every other row."""
    return torch.nn.functional.cross_entropy(query @ key.T, torch.arange(len(query)))


def worker(me):
    assert initialized()
    assert (rank(), world_size()) == (me, 2)
    check_gathered_values(me)
    check_gradients(me)
    check_uneven_rows(me)
    check_all_sum(me)
    check_a_group_of_one(me)


def check_gathered_values(me):
    rows = torch.tensor([[10 * me], [10 * me + 1]])
    assert_close(gather_rows(rows), torch.tensor([[0], [1], [10], [11]]), **EXACT)
    strided = torch.arange(6.0).view(2, 3).T + me  # not contiguous
    assert_close(gather_rows(strided), torch.cat([torch.arange(6.0).view(2, 3).T + r for r in (0, 1)]), **EXACT)


def check_gradients(me):
    """Each rank computes the whole loss, so that the ranks' gradients add up to twice the gradient."""
    whole = [tensor.requires_grad_() for tensor in pairs()]
    loss_of_one = contrast(*whole)
    loss_of_one.backward()
    mine = slice(me * 3, me * 3 + 3)
    split = [tensor[mine].clone().requires_grad_() for tensor in pairs()]
    loss = contrast(*(gather_rows(tensor) for tensor in split))
    (loss / world_size()).backward()
    assert_close(loss, loss_of_one, **EXACT)
    for part, tensor in zip(split, whole, strict=True):
        assert_close(part.grad, tensor.grad[mine], rtol=1e-12, atol=1e-14)


def check_uneven_rows(me):
    with pytest.raises(ValueError, match=r"as many rows on every rank, got \[2, 3\]"):
        gather_rows(torch.zeros(2 + me, 5))


def check_all_sum(me):
    """Three dtypes, any shapes, a view and a leaf that takes gradients: all in place, in their own dtype."""
    matrix = torch.arange(6.0).view(2, 3) * (me + 1)
    column, leaf = torch.zeros(4, 2)[:, 1], torch.ones(2, requires_grad=True)
    column += me + 1
    exact = torch.tensor(2**53 + me, dtype=torch.int64)  # no float64 holds the sum
    wide, empty = torch.tensor([0.5, me], dtype=torch.float64), torch.zeros(0)
    all_sum([matrix, exact, wide, column, leaf, empty])
    assert_close(matrix, torch.arange(6.0).view(2, 3) * 3, **EXACT)
    assert exact.item() == 2**54 + 1
    assert_close(wide, torch.tensor([1.0, 1.0], dtype=torch.float64), **EXACT)
    assert_close(column, torch.full((4,), 3.0), **EXACT)
    assert_close(leaf.detach(), torch.full((2,), 2.0), **EXACT)


def check_a_group_of_one(me):
    groups = [dist.new_group([member]) for member in (0, 1)]
    alone = torch.tensor([float(me)])
    all_sum([alone], group=groups[me])
    assert_close(alone, torch.tensor([float(me)]), **EXACT)
    assert_close(gather_rows(torch.full((2, 1), me), group=groups[me]), torch.full((2, 1), me), **EXACT)
    assert (rank(groups[me]), world_size(groups[me])) == (0, 1)


def test_two_ranks_equal_one(on_two_ranks):
    on_two_ranks(worker)


def test_without_a_process_group_gathering_is_the_identity():
    rows = torch.ones(3, 2)
    assert gather_rows(rows) is rows

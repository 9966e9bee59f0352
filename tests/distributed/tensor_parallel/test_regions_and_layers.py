"""The pieces of tensor parallelism by themselves: transposes of each other, layers in parts, the loss on parts."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.distributed import (
    ColumnParallelLinear,
    RowParallelLinear,
    VocabularyParallelEmbedding,
    block_traffic,
    copy_to_ranks,
    gather_parts,
    gather_sequence,
    scatter_sum,
    split_parts,
    sum_over_ranks,
    vocabulary_parallel_cross_entropy,
    vocabulary_parallel_next_token,
)
from course_lib.loops import next_token


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def worker(me):
    p = world_size()
    check_regions(me, p)
    check_layers(me, p)
    check_vocabulary(me, p)
    with pytest.raises(ValueError, match=f"{p} ranks cannot share dimension 1 of"):
        scatter_sum(torch.ones(1, 3), None)
    for layer, name in ((ColumnParallelLinear, "out_features"), (RowParallelLinear, "in_features")):
        with pytest.raises(ValueError, match=f"cannot share {name}=3 evenly"):
            layer(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="cannot share vocab_size=3 evenly"):
        VocabularyParallelEmbedding(nn.Embedding(3, 2))


def check_regions(me, p):
    """Forward by thought; backward each function gives what its partner would have given forward."""
    every = [numbers(2, 4, seed=one) for one in range(p)]
    total, mine = sum(every), slice(me * 4 // p, (me + 1) * 4 // p)
    cases = {  # function: what it gives for this rank's numbers, and what goes back for them as a gradient
        copy_to_ranks: (every[me], total),
        sum_over_ranks: (total, every[me]),
        gather_sequence: (torch.cat(every, 1), None),
        scatter_sum: (total[:, mine], None),
        split_parts: (every[me][:, mine], None),
    }
    for function, (forward, backward) in cases.items():
        x = every[me].clone().requires_grad_()
        out = function(x)
        assert_close(out.detach(), forward, rtol=0, atol=1e-14)
        if backward is not None:
            out.backward(every[me])
            assert_close(x.grad, backward, rtol=0, atol=1e-14)
    wide = [numbers(2, 4 * p, seed=10 + one) for one in range(p)]
    mine_wide = slice(4 * me, 4 * me + 4)
    for function, backward in ((gather_sequence, sum(wide)[:, mine_wide]), (gather_parts, wide[me][:, mine_wide])):
        x = every[me].clone().requires_grad_()
        function(x).backward(wide[me])
        assert_close(x.grad, backward, rtol=0, atol=1e-14)
    for function in (scatter_sum, split_parts):
        x = every[me].clone().requires_grad_()
        function(x).backward(every[me][:, mine])
        pieces = [one[:, place * 4 // p : (place + 1) * 4 // p] for place, one in enumerate(every)]
        assert_close(x.grad, torch.cat(pieces, 1), rtol=0, atol=1e-14)


def check_layers(me, p):
    """Two layers with a function between, as in a feed-forward layer, and a layer whose output is put together."""
    torch.manual_seed(0)
    first, second = nn.Linear(6, 8).double(), nn.Linear(8, 5).double()
    x = numbers(3, 6, seed=1).requires_grad_()
    expected = second(F.gelu(first(x)))
    expected.square().sum().backward()
    y = x.detach().clone().requires_grad_()
    column, row = ColumnParallelLinear(first), RowParallelLinear(second)
    out = row(F.gelu(column(y)))
    assert_close(out, expected, rtol=0, atol=1e-13)
    bias_before = second.bias.grad.clone()
    second.bias.grad = None
    out.square().sum().backward()
    assert_close(y.grad, x.grad, rtol=0, atol=1e-12)
    assert_close(column.weight.grad, first.weight.grad.chunk(p)[me], rtol=0, atol=1e-12)
    assert_close(column.bias.grad, first.bias.grad.chunk(p)[me], rtol=0, atol=1e-12)
    assert_close(row.weight.grad, second.weight.grad.chunk(p, 1)[me], rtol=0, atol=1e-12)
    assert_close(row.bias.grad, bias_before, rtol=0, atol=1e-12)
    assert_close(ColumnParallelLinear(first, gather_output=True)(x), first(x), rtol=0, atol=1e-13)


def check_vocabulary(me, p):
    logits = numbers(2, 3, 8, seed=2)
    logits[0, 0] += 1000  # exp would overflow
    logits[1, 0, 5] = 1e5
    target = torch.tensor([[7, 0, -100], [5, 3, 4]])
    whole = logits.clone().requires_grad_()
    expected = F.cross_entropy(whole.flatten(0, 1), target.flatten(), reduction="sum")
    expected.backward()
    part = logits.chunk(p, -1)[me].clone().requires_grad_()
    found = vocabulary_parallel_cross_entropy(part, target)
    found.backward()
    assert_close(found, expected, rtol=1e-12, atol=0)
    assert_close(part.grad, whole.grad.chunk(p, -1)[me], rtol=0, atol=1e-12)
    half = logits.chunk(p, -1)[me].bfloat16()
    rounded = F.cross_entropy(logits.bfloat16().float().flatten(0, 1), target.flatten(), reduction="sum")
    assert_close(vocabulary_parallel_cross_entropy(half, target), rounded, rtol=1e-6, atol=0)
    loss = vocabulary_parallel_next_token()(lambda x: part.detach(), (None, target))
    assert (loss.count, float(loss.total)) == (5, pytest.approx(float(expected)))
    embedding = nn.Embedding(8, 3, _weight=numbers(8, 3, seed=3))
    tokens = torch.tensor([[0, 7, 7], [4, 3, 0]])
    vectors = embedding(tokens)
    vectors.square().sum().backward()
    own = VocabularyParallelEmbedding(embedding)
    assert_close(own(tokens), vectors, rtol=0, atol=0)
    own(tokens).square().sum().backward()
    assert_close(own.weight.grad, embedding.weight.grad.chunk(p)[rank()], rtol=0, atol=1e-14)
    for wrong in (8, -1):
        with pytest.raises(IndexError, match=r"must lie in \[0, 8\)"):
            own(torch.tensor([wrong]))
        with pytest.raises(IndexError, match=r"targets must lie in \[0, 8\)"):
            vocabulary_parallel_cross_entropy(part, target.masked_fill(target == 0, wrong))
    for options in ({"padding_idx": 0}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}):
        with pytest.raises(ValueError, match="are not carried over"):
            VocabularyParallelEmbedding(nn.Embedding(8, 3, **options))


def test_pieces_on_ranks(on_two_and_four_ranks):
    on_two_and_four_ranks(worker)


def test_one_process_is_the_whole_layer():
    linear, x = nn.Linear(3, 4), torch.ones(2, 3)
    for layer in (ColumnParallelLinear(linear), RowParallelLinear(linear)):
        assert_close(layer(x), linear(x), rtol=0, atol=0)
    logits, y = numbers(2, 3, 8, seed=4).requires_grad_(), torch.tensor([[1, -100, 2], [3, 4, 5]])
    ours = vocabulary_parallel_next_token()(nn.Identity(), (logits, y))
    theirs = next_token(nn.Identity(), (logits, y))
    assert ours.count == theirs.count
    assert_close(ours.total, theirs.total, rtol=1e-13, atol=0)
    assert torch.autograd.gradcheck(lambda x: vocabulary_parallel_cross_entropy(x, y), (logits,))


def test_traffic_by_thought():
    for sequence in (False, True):
        assert block_traffic(10, 3, num_ranks=2, element_size=2, sequence_parallel=sequence).ring_bytes(2) == 4 * 60
    assert block_traffic(10, 3, num_ranks=1, element_size=2).calls == {}

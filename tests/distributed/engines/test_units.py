"""Which modules travel together, and how a flat shard is laid out: without any process but this one."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.distributed import blocks
from course_lib.distributed.engines.flat_shard import FlatShard
from course_lib.distributed.engines.units import cut_up, owners
from course_lib.nn.transformer import Transformer, gpt


@pytest.fixture(autouse=True)
def alone(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def transformer():
    return Transformer(gpt(vocab_size=11, width=8, num_layers=3, num_heads=2, context_length=4))


def test_blocks_are_what_repeats():
    model = transformer()
    assert blocks(model) == list(model.blocks)
    deep = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ReLU())
    assert blocks(deep) == [deep[0], deep[1]]  # the outermost; what learns nothing is none
    nested = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)]), nn.ModuleDict({"last": nn.Linear(2, 2)})])
    assert blocks(nested) == [nested[0][0], nested[1]["last"]]  # lists compute nothing, so they are none
    assert blocks(nn.Linear(2, 2)) == []
    model.blocks[1].requires_grad_(False)
    assert blocks(model) == [model.blocks[0], model.blocks[2]]


def test_each_parameter_has_one_owner():
    model = transformer()
    owner = owners(model, blocks(model))
    assert len(owner) == len(list(model.parameters()))
    assert owner[id(model.embedding.weight)] is model
    assert owner[id(model.blocks[2].attention.query.weight)] is model.blocks[2]
    model.blocks[1].attention = model.blocks[0].attention  # tied: found in two units
    with pytest.raises(ValueError, match="units must not share modules"):
        owners(model, blocks(model))
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    owner = owners(tied, list(tied))
    assert owner[id(tied[0].weight)] is tied
    assert owner[id(tied[0].bias)] is tied[0]
    with pytest.raises(ValueError, match="a unit must be a part of the model"):
        owners(tied, [nn.Linear(2, 2)])


def test_a_flat_shard_holds_all_numbers_in_order():
    model = nn.Linear(3, 2)
    values = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    flat = FlatShard(["weight", "bias"], list(model.parameters()), keep_whole=True)
    assert_close(flat.shard.detach(), values, rtol=0, atol=0)
    flat.shard.detach().zero_()  # one memory
    assert not any(parameter.any() for parameter in model.parameters())
    assert [tuple(view.shape) for view in flat.views(values)] == [(2, 3), (2,)]
    assert_close(flat.joined([None, torch.ones(2)]), torch.tensor([0.0] * 6 + [1.0] * 2), rtol=0, atol=0)
    part = torch.arange(8.0)
    assert_close(flat.from_dtensor(flat.as_dtensor(part)), part, rtol=0, atol=0)
    assert flat.as_dtensor(part).shape == (8,)


def test_refusals():
    mixed = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    with pytest.raises(ValueError, match=r"must be of one dtype and device; 0.weight, 1.weight are not"):
        FlatShard(["0.weight", "1.weight"], [mixed[0].weight, mixed[1].weight], keep_whole=True)
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match=r"shape \(3, 2\) in group 1 is not in the model"):
        cut_up(model, [], [[model.weight], [nn.Linear(2, 3).weight]], None, keep_whole=True)
    with pytest.raises(ValueError, match=r"shape \(1, 2\) in group 1 is in two groups"):
        cut_up(model, [], [[model.weight], [model.weight]], None, keep_whole=True)

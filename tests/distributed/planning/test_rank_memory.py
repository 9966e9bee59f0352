"""The memory planner: against modules that are really built, the ZeRO paper's figure, schedules that are played."""

from dataclasses import replace

import pytest
import torch

from course_lib.distributed import (
    FLOAT32,
    MIXED,
    Layout,
    NumberBytes,
    micro_batches_held,
    rank_memory,
    stage_parameters,
    zero_memory,
    zero_traffic,
)
from course_lib.nn.transformer import Transformer, gpt, llama
from course_lib.scaling import activation_bytes, num_parameters, training_memory

GPT = gpt(vocab_size=64, width=32, num_layers=6, num_heads=4, context_length=16)
LLAMA = llama(vocab_size=64, width=32, num_layers=6, num_heads=4, num_kv_heads=2, context_length=16, qk_norm=True)


@pytest.mark.parametrize("config", [GPT, LLAMA])
def test_parameters_of_stages_add_up_to_the_module(config):
    with torch.device("meta"):
        model = Transformer(config)
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert stage_parameters(config, Layout()) == [whole]
    stages = stage_parameters(config, Layout(pp=4, num_micro_batches=4))
    copy = config.vocab_size * config.width if config.tied else 0  # the last stage has the table as well
    assert sum(stages) == whole + copy
    block = sum(parameter.numel() for parameter in model.blocks[0].parameters())
    assert stages[1:3] == [2 * block, 2 * block]


@pytest.mark.parametrize("config", [GPT, LLAMA])
def test_tensor_parallel_ranks_share_matrices_and_repeat_norms(config):
    """Two ranks' parameters exceed one's by what is not split: vectors after sums, norms, learned positions."""
    with torch.device("meta"):
        model = Transformer(config)
    one_end = ("norm", "positions", "attention.out.bias", "feed_forward.down.bias")
    vectors = [name for name, p in model.named_parameters() if any(part in name for part in one_end) or p.ndim < 2]
    twice = 2 * stage_parameters(config, Layout(tp=2))[0] - stage_parameters(config, Layout())[0]
    names = dict(model.named_parameters())
    split_vectors = ("query.bias", "key.bias", "value.bias", "up.bias", "gate.bias")
    expected = sum(names[name].numel() for name in vectors if not name.endswith(split_vectors))
    assert twice == expected


def test_one_rank_needs_what_scaling_counts():
    """The same formula as for one device, for a model without RMS norms (which are counted as on a GPU here)."""
    use = training_memory(GPT, batch_size=3, mixed=True)
    memory = rank_memory(GPT, Layout(micro_batch_size=3))
    assert (memory.weights, memory.gradients, memory.optimizer) == (use.weights, use.gradients, use.optimizer)
    assert (memory.activations, memory.transient) == (use.activations, 0)
    again = rank_memory(GPT, Layout(micro_batch_size=3, checkpointing=True))
    expected = activation_bytes(GPT, batch_size=3, bytes_per_number=2, checkpointing=True)
    assert again.activations == expected


def test_zero_of_the_papers_figure():
    """Rajbhandari et al. 2020, figure 1: 120, 31.4, 16.6 and 1.9 GB for 7.5 billion parameters on 64 ranks."""
    found = [round(zero_memory(7.5e9, num_ranks=64, stage=stage).total / 1e9, 1) for stage in range(4)]
    assert found == [120.0, 31.4, 16.6, 1.9]
    for stage in range(4):
        assert zero_memory(1000, num_ranks=1, stage=stage, numbers=FLOAT32).total == 16_000
        assert zero_traffic(1000, num_ranks=1, stage=stage) == 0


def test_stages_move_as_much_but_the_last_half_more():
    sent = [zero_traffic(1e6, num_ranks=4, stage=stage) for stage in range(4)]
    assert sent == [3e6, 3e6, 3e6, 4.5e6]
    assert zero_traffic(1e6, num_ranks=4, stage=3, num_micro_batches=10) == 45e6
    assert zero_traffic(1e6, num_ranks=4, stage=1, num_micro_batches=10) == 3e6


@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_shards_on_the_layout(zero):
    memory = rank_memory(GPT, Layout(dp=8, zero=zero))
    state = zero_memory(num_parameters(GPT).total, num_ranks=8, stage=zero)
    assert (memory.weights, memory.gradients, memory.optimizer) == (state.weights, state.gradients, state.optimizer)
    block = num_parameters(GPT).non_embedding // 6  # and a sixth of the last norm
    blocks_of_bytes = {0: 0, 1: 0, 2: 2, 3: 2 + 2 * 2}[zero]
    assert memory.transient == pytest.approx(blocks_of_bytes * block, rel=0.01)


def played_1f1b(stage, pp, num_micro_batches):
    """Start as many as there are stages behind, and then one forward, one backward: how many are held at most?"""
    held = most = started = ended = 0
    while ended < num_micro_batches:
        if started < min(num_micro_batches, pp - stage + ended):
            started, held = started + 1, held + 1
        else:
            ended, held = ended + 1, held - 1
        most = max(most, held)
    return most


@pytest.mark.parametrize(("pp", "num_micro_batches"), [(1, 4), (4, 2), (4, 8), (5, 5)])
def test_micro_batches_held_under_1f1b(pp, num_micro_batches):
    layout = Layout(pp=pp, num_micro_batches=num_micro_batches)
    for stage in range(pp):
        assert micro_batches_held(stage, layout) == played_1f1b(stage, pp, num_micro_batches)


def test_chunks_hold_more_as_published():
    """Korthikanti et al. 2022, section 4.2.3: 1 + (p - 1) / (p v) times as much on the first stage."""
    for pp, chunks in ((4, 2), (8, 3)):
        layout = Layout(pp=pp, num_micro_batches=8 * pp, chunks=chunks)
        assert micro_batches_held(0, layout) == pytest.approx(pp * (1 + (pp - 1) / (pp * chunks)))


def test_activations_fall_with_tensor_parallelism_and_the_fullest_stage_counts():
    whole = rank_memory(GPT, Layout(pp=2, num_micro_batches=4)).activations
    split = rank_memory(GPT, Layout(pp=2, tp=4, num_micro_batches=4)).activations
    assert split == pytest.approx(whole / 4, abs=4)
    without = rank_memory(GPT, Layout(pp=2, tp=4, num_micro_batches=4, sequence_parallel=False)).activations
    norms = 2 * 3 * 4 * 16 * 32 * 2  # two micro-batches, three blocks, four tensors of T x D, two bytes
    assert without - split == pytest.approx(norms * 3 / 4, abs=4)


def test_a_block_keeps_what_the_paper_counts():
    """Korthikanti et al. 2022, section 4: 34 s b h bytes (and attention's T x T), of them 2 for masks of dropout, which
    are not there, and T x T is fused away; with t ranks 10 + 24 / t, 2 of the 10 for masks, or 34 / t by tokens."""
    config = gpt(vocab_size=64, width=64, num_layers=8, num_heads=4, context_length=32)
    unit, softmax_sums = 32 * 64, 2 * (4 + 4) * 32  # and four statistics of the two norms; bytes of a block

    def block(**options):
        more, less = (
            rank_memory(replace(config, num_layers=layers), Layout(**options)).activations for layers in (8, 7)
        )
        return more - less

    assert block() == 32 * unit + softmax_sums
    assert block(tp=4) == pytest.approx(8 * unit + softmax_sums / 4, abs=2)
    assert block(tp=4, sequence_parallel=False) == pytest.approx((8 + 24 / 4) * unit + softmax_sums / 4, abs=2)


def test_ends_without_sequence_parallelism_keep_the_last_norm_whole():
    """Its input and output are on every rank; only logits (64 a token) and statistics are shared."""
    one, four = (rank_memory(GPT, Layout(tp=tp, sequence_parallel=False)).activations for tp in (1, 4))
    whole = (6 * 4 + 2) * 16 * 32 * 2  # bytes of norms' inputs and outputs, in six blocks and at the end
    assert four == pytest.approx(whole + (one - whole) / 4, abs=4)


def test_groups_are_a_grid_and_placed_by_how_much_they_talk():
    layout = Layout(dp=3, tp=4, pp=2, num_micro_batches=2)
    grid = torch.arange(24).view(3, 2, 4)  # data, pipeline, tensor
    assert layout.groups("tp") == grid.flatten(0, 1).tolist()
    assert layout.groups("pp") == grid.transpose(1, 2).flatten(0, 1).tolist()
    assert sorted(layout.groups("dp")) == grid.flatten(1).T.tolist()
    places = ["nobody to talk to", "inside a node", "inside and between nodes", "between nodes"]
    assert list(layout.placement(chips_per_node=8).values()) == ["inside a node", "inside a node", "between nodes"]
    assert layout.placement(chips_per_node=2)["tp"] == places[2]
    assert Layout(tp=4).placement(chips_per_node=8) == {"tp": places[1], "pp": places[0], "dp": places[0]}


@pytest.mark.parametrize(("num_layers", "pp"), [(6, 1), (6, 4), (126, 16), (7, 2), (9, 4), (11, 4)])
def test_layers_go_to_stages_evenly_the_ends_last(num_layers, pp):
    stages = Layout(pp=pp, num_micro_batches=pp).stage_layers(num_layers)
    assert sum(stages) == num_layers
    assert max(stages) - min(stages) <= 1
    assert stages[-1] == min(stages)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Layout(dp=0), "dp must be at least 1, got 0"),
        (lambda: Layout(zero=4), "zero must be one of .0, 1, 2, 3., got 4"),
        (lambda: Layout(chunks=2, num_micro_batches=4), "stages that take turns with 2 chunks need several stages"),
        (lambda: Layout(chunks=2, pp=4, num_micro_batches=6), "as many micro-batches or a multiple"),
        (lambda: rank_memory(GPT, Layout(tp=8)), "4 attention heads cannot be shared by tp=8"),
        (lambda: rank_memory(LLAMA, Layout(tp=4)), "2 heads of keys and values cannot be shared by tp=4"),
        (lambda: rank_memory(GPT, Layout(pp=7, num_micro_batches=7)), "6 layers are too few for pp=7 stages"),
        (lambda: zero_memory(0, num_ranks=1, stage=0), "expected parameters and ranks, got 0 and 1"),
        (lambda: zero_memory(1, num_ranks=1, stage=5), "ZeRO has the stages .0, 1, 2, 3., got 5"),
        (lambda: zero_traffic(1, num_ranks=1, stage=1, num_micro_batches=0), "num_micro_batches must be at least 1"),
        (lambda: NumberBytes(-1, 2, 12, 2), "cannot be negative"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_sixteen_bytes_a_parameter():
    assert MIXED.weights + MIXED.gradients + MIXED.optimizer == 16
    assert FLOAT32.weights + FLOAT32.gradients + FLOAT32.optimizer == 16

"""Promises of every kind of transformer: who can know what, starting weights, devices, number formats, its state."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.loops import Run, classification, train
from course_lib.nn.transformer import Attention, Block, EncoderDecoder, Transformer, gpt, llama

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def test_the_future_changes_nothing_before_it(decoder, small, text):
    model, tokens = small(decoder), text(2, 12)
    before = model(tokens)
    for place in (1, 6, 11):
        other = tokens.clone()
        other[:, place:] = (other[:, place:] + 1) % 11
        assert_close(model(other)[:, :place], before[:, :place], **EXACT)
        assert not torch.isclose(model(other)[:, place], before[:, place]).all(-1).any()


@torch.no_grad()
def test_a_window_sees_as_far_as_layers_times_window(small, sizes, text):
    """Each of 2 layers looks 2 places further back: a token is felt 4 places later, and no further."""
    model, tokens = small(llama(**sizes, window=3)), text(1, 12)
    other = tokens.clone()
    other[:, 3] = (other[:, 3] + 1) % 11
    changed = (model(other) != model(tokens)).any(-1)[0]
    assert changed.tolist() == [3 <= place <= 7 for place in range(12)]


@torch.no_grad()
def test_without_positions_an_encoder_does_not_know_the_order(small, sizes, text):
    model, tokens = small(gpt(**sizes, causal=False, positions="none")), text(3, 9)
    order = torch.tensor([4, 0, 8, 2, 7, 1, 3, 5, 6])
    assert_close(model(tokens[:, order]), model(tokens)[:, order], **ROUNDING)
    for positions in ("learned", "sinusoidal", "rotary"):
        ordered = small(gpt(**sizes, causal=False, positions=positions))
        assert not torch.isclose(ordered(tokens[:, order]), ordered(tokens)[:, order]).all(-1).any()


@torch.no_grad()
def test_padding_changes_nothing(config, small, text):
    model, tokens = small(config), text(3, 8)
    real = torch.arange(12)
    for mask in (real >= torch.tensor([[4], [6], [9]]), real < torch.tensor([[8], [5], [2]])):
        padded = torch.where(mask, 0, 3)
        rows = [row[: int(kept.sum())] for row, kept in zip(tokens, mask, strict=True)]
        for row, kept, values in zip(padded, mask, rows, strict=True):
            row[kept] = values
        for out, kept, values in zip(model(padded, mask=mask), mask, rows, strict=True):
            assert_close(out[kept], model(values[None])[0], **ROUNDING)


@torch.no_grad()
def test_padding_to_the_right_of_a_decoder_needs_no_mask(decoder, small, text):
    model, tokens = small(decoder), text(2, 5)
    assert_close(model(torch.cat([tokens, text(2, 4)], dim=1))[:, :5], model(tokens), **ROUNDING)


@torch.no_grad()
def test_heads_can_be_shared_out(small, sizes, text):
    """Tensor parallelism: two modules with half of the heads each, whose outputs add up."""
    model = small(llama(**sizes, num_kv_heads=2))
    whole, x = model.blocks[0].attention, model.embedding(text(2, 6))
    halves = []
    for part in range(2):
        half = Attention(model.config).double()
        for name in ("query", "key", "value"):
            getattr(half, name).weight = torch.nn.Parameter(getattr(whole, name).weight.chunk(2)[part])
        half.output.weight = torch.nn.Parameter(whole.output.weight.chunk(2, dim=1)[part])
        halves.append(half(x, is_causal=True))
    assert_close(halves[0] + halves[1], whole(x, is_causal=True), **ROUNDING)


def test_weights_come_from_the_generator_alone(config):
    state = torch.get_rng_state()
    one, again, other = (Transformer(config, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    by_global = Transformer(config)
    for name, parameter in one.named_parameters():
        assert_close(parameter, again.get_parameter(name), **EXACT)
        assert_close(parameter, by_global.get_parameter(name), **EXACT)
        if parameter.ndim > 1:
            assert not torch.isclose(parameter, other.get_parameter(name)).any()


def test_starting_weights_have_the_spread_that_is_promised():
    config = gpt(vocab_size=256, width=256, num_layers=8, num_heads=4, context_length=128, tied=False)
    for model, num_added in ((Transformer(config), 16), (Transformer(config, source_width=256), 24)):
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                assert (parameter == (0 if name.endswith("bias") else 1)).all()
                continue
            adds = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
            expected = 0.02 / math.sqrt(num_added) if adds else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.03)  # 32,768 draws or more: 0.4 % each


def test_the_meta_device_runs_and_counts(config):
    """There are no values on it, so this also proves that no step waits for a device to read one."""
    with torch.device("meta"):
        model = Transformer(config, generator=seeded())
        tokens, mask = torch.zeros(2, 6, dtype=torch.int64), torch.ones(2, 6, dtype=torch.bool)
    model(tokens, mask=mask).sum().backward()
    assert all(parameter.grad.is_meta for parameter in model.parameters())


def test_a_model_from_the_meta_device_is_brought_to_life(config, text):
    with torch.device("meta"):
        model = Transformer(config)
    model.to_empty(device="cpu").reset_parameters(seeded(3))
    tokens = text(2, 6)
    assert_close(model.eval()(tokens), Transformer(config, generator=seeded(3)).eval()(tokens), **EXACT)


def test_the_state_is_the_parameters_and_no_more(config, text):
    model, other = Transformer(config, generator=seeded(1)), Transformer(config, generator=seeded(2))
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]
    other.load_state_dict(model.state_dict())
    tokens = text(2, 6)
    assert_close(other(tokens), model(tokens), **EXACT)


def test_names_of_the_parts(sizes):
    names = {
        name.replace("blocks.1", "blocks.0") for name, _ in Transformer(llama(**sizes, qk_norm=True)).named_parameters()
    }
    assert names == {
        "embedding.weight",
        "blocks.0.attention_norm.weight",
        *(
            f"blocks.0.attention.{part}.weight"
            for part in ("query", "key", "value", "output", "query_norm", "key_norm")
        ),
        "blocks.0.feed_forward_norm.weight",
        *(f"blocks.0.feed_forward.{part}.weight" for part in ("up", "gate", "down")),
        "norm.weight",
        "head.weight",
    }


def test_weights_trained_at_one_context_serve_a_longer_one(small, sizes, text):
    short = small(llama(**sizes))
    longer = Transformer(llama(**sizes | {"context_length": 48}, rope_scaling="yarn", rope_factor=4.0)).double()
    longer.load_state_dict(short.state_dict())
    assert longer(text(1, 48)).shape == (1, 48, 11)


def test_autocast_changes_the_result_by_rounding_only(config, text, recwarn):
    """bfloat16 keeps 8 bits: 0.4 % an operation."""
    model, tokens = Transformer(config, generator=seeded()).eval(), text(4, 8)
    exact = model(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(tokens)
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).norm() < 0.03 * exact.norm()
    out.float().square().sum().backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
    assert not recwarn.list


def test_a_model_in_bfloat16_stays_in_it(config, text):
    model, tokens = Transformer(config, generator=seeded()).eval(), text(4, 8)
    exact = model(tokens)
    out = model.to(torch.bfloat16)(tokens)
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).norm() < 0.05 * exact.norm()


def test_it_compiles_in_one_piece(sizes, text):
    """No graph break, with padding or without."""
    model = Transformer(llama(**sizes, num_kv_heads=2, qk_norm=True, window=4), generator=seeded())
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    tokens, mask = text(2, 9), torch.arange(9) >= torch.tensor([[0], [2]])
    assert_close(compiled(tokens, mask=mask), model(tokens, mask=mask), **EXACT)
    assert_close(compiled(tokens), model(tokens), **EXACT)


def test_hidden_states_are_what_the_head_reads(config, small, text):
    model, tokens = small(config), text(2, 6)
    hidden = model.hidden_states(tokens)
    assert_close(model.logits(hidden), model(tokens), **EXACT)
    headless = Transformer(config, head=False).double().eval()
    headless.load_state_dict({name: value for name, value in model.state_dict().items() if name != "head.weight"})
    assert_close(headless(tokens), hidden, **EXACT)


def test_no_rows_give_no_rows_and_zero_gradients(config):
    model = Transformer(config)
    out = model(torch.zeros(0, 6, dtype=torch.int64))
    assert out.shape == (0, 6, 11)
    out.sum().backward()
    for parameter in model.parameters():
        assert_close(parameter.grad, torch.zeros_like(parameter), **EXACT)


def test_it_learns_to_repeat_with_the_courses_loop(sizes):
    """Second half of each text = first half: induction needs two layers of attention; guessing costs ln 11 = 2.4."""
    model = Transformer(llama(**sizes | {"width": 32}), generator=seeded())
    half = torch.randint(0, 11, (128, 6), generator=seeded(1))
    tokens = torch.cat([half, half], dim=1)
    x, y = tokens[:, :-1], tokens[:, 1:].clone()
    y[:, :5] = -100
    run = Run(model, classification, torch.optim.AdamW(model.parameters(), lr=1e-2))
    losses = [step.values()["loss"] for step in train(run, [(x, y)] * 60, steps=60)]
    assert losses[0] == pytest.approx(math.log(11), rel=0.05)
    assert losses[-1] < 0.3


@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), {}, r"tokens must be \(B, T\) of int64, got \(3,\) of torch.int64"),
        (torch.zeros(1, 3), {}, r"got \(1, 3\) of torch.float32"),
        (torch.zeros(1, 0, dtype=torch.int64), {}, "tokens has no columns. An empty prompt needs a start token"),
        (torch.zeros(1, 13, dtype=torch.int64), {}, "13 tokens do not fit into the context length 12"),
        (torch.tensor([[3, 11]]), {}, r"must lie in \[0, 11\), got 3 to 11: are model and tokenizer a pair"),
        (torch.tensor([[-1, 3]]), {}, r"got -1 to 3"),
        (torch.zeros(1, 3, dtype=torch.int64), {"mask": torch.ones(1, 2, dtype=torch.bool)}, r"mask must be \(1, 3\)"),
        (torch.zeros(1, 3, dtype=torch.int64), {"mask": torch.ones(1, 3)}, r"got \(1, 3\) of torch.float32"),
        (torch.zeros(1, 3, dtype=torch.int64), {"memory": torch.ones(1, 3, 8)}, "memory goes with source_width"),
    ],
)
def test_bad_input_is_named(sizes, tokens, options, message):
    with pytest.raises(ValueError, match=message):
        Transformer(gpt(**sizes))(tokens, **options)


def test_bad_memory_is_named(sizes, text):
    model, tokens = Transformer(gpt(**sizes), source_width=6), text(2, 3)
    with pytest.raises(ValueError, match="memory goes with source_width"):
        model(tokens)
    for shape in ((2, 5, 8), (1, 5, 6), (5, 6)):
        with pytest.raises(ValueError, match=r"memory must be \(2, S, 6\), got \("):
            model(tokens, memory=torch.zeros(shape))
    with pytest.raises(ValueError, match=r"memory_mask must be \(2, 5\) of bool"):
        model(tokens, memory=torch.zeros(2, 5, 6), memory_mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="causal must be False and True, got True and True"):
        EncoderDecoder(gpt(**sizes), gpt(**sizes))
    assert isinstance(model.blocks[0], Block)

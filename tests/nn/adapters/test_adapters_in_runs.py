"""Adapters trained through Run: the base keeps its bits, checkpoints hold what is needed, every precision."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import EMA, Checkpoints, Run, next_token, regression
from course_lib.nn.adapters import PromptTuned, add_bottlenecks, add_lora, trainable_parameters, without_lora
from course_lib.nn.transformer import Transformer, gpt

SEED = 0
EXACT = {"rtol": 0, "atol": 0}


def base():
    config = gpt(vocab_size=11, width=8, num_layers=2, num_heads=2, context_length=12)
    model = Transformer(config, generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 20  # as large as in a trained model: around zero there is little to steer by
    return model


def lora():
    model = base()
    add_lora(model, ["embedding", "query", "value", "down"], rank=2, dropout=0.1, generator=torch.Generator())
    return model


def bottlenecks():
    model = base()
    add_bottlenecks(model, ["attention.output", "feed_forward.down"], width=3, generator=torch.Generator())
    return model


def prompt():
    return PromptTuned(base(), 3, generator=torch.Generator())


METHODS = {"lora": lora, "bottlenecks": bottlenecks, "prompt": prompt}


def batches(number):
    generator = torch.Generator().manual_seed(1)
    texts = [torch.randint(0, 11, (4, 8), generator=generator) for _ in range(number)]
    return [(text[:, :-1], text[:, 1:] * 0 + 3) for text in texts]  # the next token is always 3: quickly learnt


def run_of(model, **options):
    optimizer = torch.optim.AdamW(trainable_parameters(model).values(), lr=0.03, weight_decay=0.1)
    return Run(model, next_token, optimizer, **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_base_keeps_its_bits_and_the_adapter_learns(method, precision):
    model, before = METHODS[method](), base().state_dict()
    run = run_of(model, precision=precision)
    losses = [run.step(batch).values()["loss"] for batch in batches(40)]
    assert losses[-1] < 0.8 * losses[0]
    after = getattr(model, "transformer", model).state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    learnt = set(trainable_parameters(model))
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == learnt


@pytest.mark.parametrize("method", METHODS)
def test_stopped_and_resumed_from_a_checkpoint_the_bits_are_the_same(method, tmp_path):
    data = batches(6)
    torch.manual_seed(5)
    whole = METHODS[method]()
    run = run_of(whole, ema=EMA(whole, decay=0.5))
    for step, batch in enumerate(data):
        if step == 3:
            Checkpoints(tmp_path).save(run)
        run.step(batch)
    again = METHODS[method]()
    resumed = run_of(again, ema=EMA(again, decay=0.5))
    assert Checkpoints(tmp_path).resume(resumed)
    assert resumed.index == 3
    for batch in data[3:]:
        resumed.step(batch)
    for mine, theirs in ((again, whole), (resumed.ema.model, run.ema.model)):
        for name, value in theirs.state_dict().items():
            assert_close(mine.state_dict()[name], value, **EXACT)


def test_a_lora_run_is_a_run_of_its_two_matrices_alone():
    """One AdamW step by hand: only A's and B's of the layer, with the gradient that the chain rule gives."""
    model = nn.Sequential(nn.Linear(3, 2)).double()
    add_lora(model, ["0"], rank=1, alpha=1.0, generator=torch.Generator().manual_seed(0))
    pair = model[0].lora["default"]
    x, y = torch.tensor([[1.0, 2.0, 3.0]]).double(), torch.tensor([[1.0, -1.0]]).double()
    error = model(x) - y
    gradient_b = 2 / 2 * error.T @ (x @ pair.A.T)  # A's is zero while B is
    b = (pair.B - 0.1 * gradient_b).detach()
    a = pair.A.detach().clone()
    Run(model, regression, torch.optim.SGD(trainable_parameters(model).values(), lr=0.1)).step((x, y))
    assert_close(pair.B.detach(), b, rtol=1e-12, atol=1e-12)
    assert_close(pair.A.detach(), a, **EXACT)


def test_the_reference_model_is_the_same_one_without_its_adapter():
    model, x = lora(), batches(1)[0][0]
    expected = base()(x)
    run = run_of(model)
    for batch in batches(3):
        run.step(batch)
    with without_lora(model):
        assert_close(model(x), expected, **EXACT)
    assert not torch.equal(model.eval()(x), expected)

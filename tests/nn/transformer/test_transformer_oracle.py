"""The whole model against its formulas read aloud, one token and one head at a time, in float64; its gradients."""

import cmath
import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call
from torch.testing import assert_close

from course_lib.nn.transformer import Transformer, bert, gpt, llama

TINY = {"vocab_size": 5, "width": 4, "num_layers": 1, "num_heads": 2, "context_length": 4, "feed_forward_width": 3}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}  # float64, the same sums in another order


class Slow:
    """Formulas on Python lists of vectors, one for each token."""

    def __init__(self, model):
        self.config, self.weights = model.config, dict(model.named_parameters())
        for name, value in list(self.weights.items()):
            if "query_key_value" in name:  # 8 rows for 4 heads of queries, then 4 for 2 heads of keys, 4 of values
                for part, rows in zip(("query", "key", "value"), value.split([8, 4, 4]), strict=True):
                    self.weights[name.replace("query_key_value", part)] = rows

    def linear(self, name, x):
        bias = self.weights.get(f"{name}.bias")
        out = torch.stack([(row * x).sum() for row in self.weights[f"{name}.weight"]])
        return out if bias is None else out + bias

    def norm(self, name, x, kind=None):
        gain, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        if (kind or self.config.norm) == "layer":
            x = x - x.mean()
        x = x / ((x**2).mean() + self.config.norm_eps).sqrt() * gain
        return x if bias is None else x + bias

    def rotated(self, x, place):
        """Multiply pair i, as a complex number, by exp(j place frequency_i)."""
        half, config = len(x) // 2, self.config
        out = x.clone()
        for i in range(half):
            frequency = config.rope_base ** (-2 * i / len(x))
            scale = 1.0
            if config.rope_scaling == "yarn":  # 3000 tokens: the four pairs turn 477, 47.7, 4.77 and 0.477 times
                slowed = (0, 0, 1 / 2, 1)[i]
                frequency = frequency * (1 - slowed) + frequency / config.rope_factor * slowed
                scale = 0.1 * math.log(config.rope_factor) + 1
            number = torch.complex(x[i], x[i + half]) * cmath.exp(1j * place * frequency) * scale
            out[i], out[i + half] = number.real, number.imag
        return out

    def attention(self, name, tokens):
        config, width = self.config, self.config.head_width
        group = config.num_heads // config.kv_heads
        outs = []
        for t, token in enumerate(tokens):
            heads = []
            for head in range(config.num_heads):
                query = self.head(f"{name}.query", token, head, t)
                logits, values = [], []
                for s, other in enumerate(tokens):
                    near = config.window is None or abs(t - s) < config.window
                    if near and (s <= t or not config.causal):
                        key = self.head(f"{name}.key", other, head // group, s)
                        logits.append(query @ key / math.sqrt(width))
                        values.append(self.head(f"{name}.value", other, head // group, None))
                shares = torch.stack(logits).exp() / torch.stack(logits).exp().sum()
                heads.append(sum(share * value for share, value in zip(shares, values, strict=True)))
            outs.append(self.linear(f"{name}.output", torch.cat(heads)))
        return outs

    def head(self, name, token, number, place):
        width = self.config.head_width
        out = self.linear(name, token)[number * width : (number + 1) * width]
        if place is None:
            return out
        if self.config.qk_norm:
            out = self.norm(f"{name}_norm", out, kind="rms")
        return self.rotated(out, place) if self.config.positions == "rotary" else out

    def feed_forward(self, name, tokens):
        outs = []
        for token in tokens:
            up = self.linear(f"{name}.up", token)
            if self.config.feed_forward == "swiglu":
                gate = self.linear(f"{name}.gate", token)
                hidden = gate / (1 + (-gate).exp()) * up
            elif self.config.feed_forward == "gelu":
                hidden = up * 0.5 * (1 + torch.erf(up / math.sqrt(2)))
            else:
                hidden = 0.5 * up * (1 + torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
            outs.append(self.linear(f"{name}.down", hidden))
        return outs

    def embed(self, token, place):
        config = self.config
        h = self.weights["embedding.weight"][token]
        if config.positions == "learned":
            h = h + self.weights["positions.weight"][place]
        if config.positions == "sinusoidal":
            waves = [place / 10000 ** (2 * (i // 2) / config.width) for i in range(config.width)]
            waves = [math.cos(wave) if i % 2 else math.sin(wave) for i, wave in enumerate(waves)]
            h = h * math.sqrt(config.width) + torch.tensor(waves, dtype=torch.float64)
        return h

    def logits(self, tokens):
        config = self.config
        stream = [self.embed(token, place) for place, token in enumerate(tokens)]
        if config.norm_position == "post":
            stream = [self.norm("embedding_norm", h) for h in stream]
        for number in range(config.num_layers):
            for layer in ("attention", "feed_forward"):
                name = f"blocks.{number}.{layer}"
                if config.norm_position == "pre":
                    added = getattr(self, layer)(name, [self.norm(f"{name}_norm", h) for h in stream])
                    stream = [h + more for h, more in zip(stream, added, strict=True)]
                else:
                    added = getattr(self, layer)(name, stream)
                    stream = [self.norm(f"{name}_norm", h + more) for h, more in zip(stream, added, strict=True)]
        if config.norm_position == "pre":
            stream = [self.norm("norm", h) for h in stream]
        head = self.weights["embedding.weight" if config.tied else "head.weight"]
        return torch.stack([head @ h for h in stream])


@torch.no_grad()
def test_logits_are_those_of_the_formulas(config, small, text):
    model, tokens = small(config), text(2, 6)
    for row, logits in zip(tokens, model(tokens), strict=True):
        assert_close(logits, Slow(model).logits(row.tolist()), **ROUNDING)


@pytest.mark.parametrize(
    "config",
    [
        gpt(**TINY),
        llama(**TINY, num_kv_heads=1, qk_norm=True, window=2),
        bert(**TINY),
    ],
    ids=["gpt", "llama", "bert"],
)
def test_gradients(config, shaken):
    model = shaken(Transformer(config, generator=torch.Generator().manual_seed(1)))
    tokens = torch.tensor([[3, 0, 2, 2]])
    names = list(dict(model.named_parameters()))

    def call(*values):
        return functional_call(model, dict(zip(names, values, strict=True)), (tokens,))

    assert torch.autograd.gradcheck(call, [p.detach().clone().requires_grad_() for p in model.parameters()])


@torch.no_grad()
def test_layers_that_add_nothing_leave_the_embeddings(small, sizes, text):
    model = small(gpt(**sizes, positions="none"))
    for name, parameter in model.named_parameters():
        if "output" in name or "down" in name:
            parameter.zero_()
    tokens = text(2, 5)
    normed = F.layer_norm(model.embedding.weight, (8,), model.norm.weight, model.norm.bias)
    assert_close(model(tokens), (normed @ model.embedding.weight.T)[tokens], **ROUNDING)


@torch.no_grad()
def test_queries_of_zero_see_the_average_of_the_past(small, sizes, text):
    model = small(gpt(**sizes))
    attention = model.blocks[0].attention
    attention.query.weight.zero_()
    attention.query.bias.zero_()
    x = model.embedding(text(1, 5))
    averages = attention.value(x).cumsum(1) / torch.arange(1, 6)[:, None]
    assert_close(attention(x, is_causal=True), attention.output(averages), **ROUNDING)


def test_extreme_embeddings_give_finite_logits_and_gradients(config, text):
    model = Transformer(config, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.embedding.weight *= 1e12
    loss = F.cross_entropy(model(text(2, 6)).flatten(0, 1), text(12))
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_starting_loss_is_that_of_knowing_nothing(text):
    """ln V, and a little for the spread of the logits: half of their variance, about width * 0.02^2 = 0.05."""
    for family in (gpt, llama):
        config = family(vocab_size=512, width=128, num_layers=4, num_heads=4, context_length=64)
        model = Transformer(config, generator=torch.Generator().manual_seed(0))
        tokens = torch.randint(0, 512, (8, 65), generator=torch.Generator().manual_seed(1))
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        assert_close(loss.item(), math.log(512), rtol=0.02, atol=0)

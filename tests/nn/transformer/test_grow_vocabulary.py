"""More tokens for a trained model: everything old stays the same bits, the new rows begin at the mean."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.nn.adapters import add_lora
from course_lib.nn.transformer import Transformer, generate, gpt, grow_vocabulary, llama


def made(kind=gpt, head=True, **options):
    config = kind(vocab_size=40, width=16, num_layers=2, num_heads=2, context_length=32, **options)
    model = Transformer(config, head=head, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():  # larger than at the start, as trained weights are
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    return model


def grow(model, num=3, seed=0, **options):
    return grow_vocabulary(model, num, generator=torch.Generator().manual_seed(seed), **options)


TOKENS = torch.randint(40, (3, 9), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", [gpt, llama])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_old_weights_and_what_is_made_of_them_are_the_same_bits(kind, tied, dtype):
    model = made(kind, tied=tied).to(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grown = grow(model)
    assert grown.config.vocab_size == 43
    assert grown(TOKENS).shape == (3, 9, 43)
    assert torch.equal(grown.hidden_states(TOKENS), model.hidden_states(TOKENS))
    old = grown(TOKENS)[..., :40]
    tolerance = 4 * torch.finfo(dtype).eps  # a product with more columns may be summed in another order
    assert_close(old, model(TOKENS), rtol=tolerance, atol=tolerance * float(old.detach().abs().max()))
    for name, value in grown.state_dict().items():
        assert value.dtype == dtype
        assert torch.equal(value[:40] if name in ("embedding.weight", "head.weight") else value, before[name])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())  # left as it is
    assert {p.data_ptr() for p in grown.parameters()}.isdisjoint(p.data_ptr() for p in model.parameters())


def test_without_noise_new_tokens_get_at_most_their_share():
    """The mean row's logit is the mean logit, so a new token never has more than 1 / V of the old ones together."""
    model = made().double()
    logits = grow(model, noise=0.0)(TOKENS)
    assert_close(logits[..., 40:], logits[..., :40].mean(-1, keepdim=True).expand(3, 9, 3), rtol=1e-10, atol=1e-12)
    probabilities = logits.softmax(-1)
    old, new = probabilities[..., :40], probabilities[..., 40:]
    assert (new <= old.sum(-1, keepdim=True) / 40 * (1 + 1e-12)).all()
    assert_close(old / old.sum(-1, keepdim=True), model(TOKENS).softmax(-1), rtol=1e-10, atol=1e-14)


def test_the_noise_has_the_size_asked_for():
    model = made(tied=False)
    grown = grow(model, num=4000, noise=0.25)
    for old, new in (
        (model.embedding.weight, grown.embedding.weight[40:]),
        (model.head.weight, grown.head.weight[40:]),
    ):
        deviation = old.std(0, correction=0)
        assert_close(new.std(0), 0.25 * deviation, rtol=0.06, atol=0)  # 4000 draws: 5 standard errors
        assert ((new.mean(0) - old.mean(0)).abs() < 5 * 0.25 * deviation / 4000**0.5).all()
    assert not torch.equal(grown.embedding.weight[40:], grown.head.weight[40:])


def test_the_generator_decides_and_torchs_own_stays_put():
    model = made()
    before = torch.random.get_rng_state()
    assert torch.equal(grow(model).embedding.weight, grow(model).embedding.weight)
    assert not torch.equal(grow(model).embedding.weight, grow(model, seed=1).embedding.weight)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(grow(model, num=5).embedding.weight.unique(dim=0)) == 45  # no two rows alike


def test_mode_and_frozen_weights_are_kept_and_it_goes_on_learning():
    model = made(head=False)
    model.blocks.requires_grad_(False)
    model.eval()
    grown = grow(model)
    assert not grown.training
    assert grown.head is None
    assert grown(TOKENS).shape == (3, 9, 16)
    frozen = {name for name, p in grown.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in grown.named_parameters() if name.startswith("blocks")}
    grown(torch.tensor([[41, 2]])).sum().backward()
    assert grown.embedding.weight.grad[41].any()
    assert made().training
    assert grow(made()).training


def test_it_writes_with_a_cache_and_grows_again():
    twice = grow(grow(made(), num=1), num=2)
    assert twice.config.vocab_size == 43
    out = generate(twice, [[41, 42, 3]], max_new_tokens=4, generator=torch.Generator().manual_seed(0))
    assert out.tokens.shape == (1, 4)


def test_mistakes_are_named():
    model = made()
    with pytest.raises(ValueError, match="num must be at least 1 token, got 0"):
        grow(model, num=0)
    for noise in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="noise must be finite and 0 or more"):
            grow(model, noise=noise)
    add_lora(model, ["query"], rank=2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"other weights than a plain Transformer \(blocks.0.attention.query.lora"):
        grow(model)

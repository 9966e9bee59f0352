"""The stream of RLHF: always the current policy, a reference that stays, staleness, bad scores, and that it learns."""

import hashlib
import math
from copy import deepcopy
from itertools import islice

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import (
    CompletionStream,
    KLController,
    PolicyAndValue,
    PromptPool,
    Reference,
    sequence_log_probs,
    token_advantages,
    token_ppo_objective,
    token_rewards,
    whiten,
)
from course_lib.alignment.rewards.model import NonFiniteReward
from course_lib.loops import Run, train
from course_lib.nn.adapters import add_lora, trainable_parameters
from course_lib.nn.transformer import Transformer, llama

PROMPTS = [[1, 2, 3], [4], [5, 6], [2]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def transformer(seed=0):
    config = llama(vocab_size=9, width=16, num_layers=1, num_heads=2, context_length=16)
    return Transformer(config, generator=seeded(seed)).double()


def fives(rollout):
    return ((rollout.tokens == 5) & rollout.mask).sum(1).double()


def stream_of(model, score=fives, reference=None, **options):
    settings = {
        "kl": KLController(0.1),
        "max_new_tokens": 6,
        "stop_tokens": [0],
        "num_completions": 12,
        "batch_size": 5,
        "generator": seeded(),
    }
    return CompletionStream(model, PROMPTS, score, reference=reference or transformer(), **(settings | options))


def run_of(model, lr=1e-2, **options):
    parameters = trainable_parameters(model).values()
    return Run(model, token_ppo_objective(**options), torch.optim.AdamW(parameters, lr=lr), max_grad_norm=1.0)


def fingerprint(model):
    return hashlib.sha256(b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())).hexdigest()


def test_minibatches_deal_out_each_rollout_epochs_times():
    model = PolicyAndValue(transformer())
    stream = stream_of(model, epochs=3)
    batches = list(islice(stream, 6))  # 12 rows in parts of 6, thrice
    assert [len(batch.tokens) for batch in batches] == [6] * 6
    assert len(stream.history) == 1
    rows = [
        sorted(map(tuple, torch.cat([a.tokens, b.tokens]).tolist())) for a, b in zip(*[iter(batches)] * 2, strict=True)
    ]
    assert rows[0] == rows[1] == rows[2] == sorted(map(tuple, stream.rollout.tokens.tolist()))
    assert batches[0].tokens.tolist() != batches[2].tokens.tolist()  # in another order
    assert sorted(stream.rollout.prompt_indices.tolist()) == sorted([0, 1, 2, 3] * 3)  # each prompt as often


def test_a_batch_is_the_formulas_one_after_the_other():
    model = PolicyAndValue(transformer(1))
    torch.nn.init.normal_(model.value_head.weight, generator=seeded())
    reference = transformer()
    stream = stream_of(model, reference=reference, batch_size=12, lam=0.7, gamma=0.9, kl=KLController(0.3))
    batch = next(iter(stream))
    log_probs, against = (sequence_log_probs(x, batch.tokens, batch.mask).detach() for x in (model.policy, reference))
    assert_close(batch.log_probs, log_probs, rtol=0, atol=1e-12)
    scores = ((batch.tokens == 5) & batch.mask).sum(1).double()
    values = model(batch.tokens, batch.mask).values.detach()
    rewards = token_rewards(scores, log_probs, against, batch.mask, kl_coefficient=0.3)
    advantages = token_advantages(rewards, values, batch.mask, gamma=0.9, lam=0.7)
    assert_close(batch.values, values, rtol=0, atol=1e-12)
    assert_close(batch.returns, advantages + values, rtol=0, atol=1e-11)
    assert_close(batch.advantages, whiten(advantages, batch.mask), rtol=0, atol=1e-10)
    row = stream.history[0]
    assert row["reward"] == pytest.approx(scores.mean().item())
    assert row["kl"] == pytest.approx((log_probs - against).sum(1).mean().item(), abs=1e-12)
    assert row["length"] == batch.mask.sum(1).double().mean().item()
    entropy = model(batch.tokens, batch.mask, entropy=True).entropy
    assert row["entropy"] == pytest.approx((entropy.sum() / batch.mask.sum()).item())
    assert row["finished"] == ((batch.tokens == 0) & batch.mask).any(1).double().mean().item()
    plain = next(iter(stream_of(model, reference=reference, normalise=False, batch_size=12)))
    again = next(iter(stream_of(model, reference=reference, normalise=True, batch_size=12)))
    assert_close(again.advantages, whiten(plain.advantages, plain.mask), rtol=0, atol=1e-10)


def test_every_rollout_comes_from_the_policy_as_it_is():
    """Nothing is fetched ahead: the log-probs of each first minibatch are those of the weights at that moment."""
    model = PolicyAndValue(transformer())
    stream, run = stream_of(model, epochs=2), run_of(model)
    for index, batch in enumerate(islice(stream, 12)):
        now = model(batch.tokens, batch.mask).log_probs.detach()
        apart = (now - batch.log_probs).abs().max().item()
        assert apart < 1e-12 if index % 4 == 0 else apart > 1e-6
        run.step(batch)


@pytest.mark.parametrize("staleness", [1, 2])
def test_stale_rollouts_come_from_the_policy_of_rollouts_ago(staleness):
    model = PolicyAndValue(transformer())
    stream, run = stream_of(model, epochs=1, batch_size=12, staleness=staleness), run_of(model)
    snapshots = []
    for batch in islice(stream, 6):
        snapshots.append(deepcopy(model.policy))
        then = snapshots[max(0, len(snapshots) - 1 - staleness)]
        drew = sequence_log_probs(then, batch.tokens, batch.mask).detach()
        assert_close(batch.log_probs, drew, rtol=0, atol=1e-12)
        run.step(batch)
    ratio = (model(batch.tokens, batch.mask).log_probs - batch.log_probs).abs().max()
    assert ratio > 1e-3


def test_the_reference_never_changes():
    model, reference = PolicyAndValue(transformer()), transformer()
    before, policy_before = fingerprint(reference), fingerprint(model.policy)
    stream, run = stream_of(model, reference=reference), run_of(model)
    list(train(run, stream, steps=12))
    assert fingerprint(reference) == before != fingerprint(model.policy) != policy_before
    assert all(weight.grad is None for weight in reference.parameters())
    assert reference.training  # its mode is given back


def test_a_reference_that_would_learn_is_refused():
    model = PolicyAndValue(transformer())
    with pytest.raises(ValueError, match=r"shares weights that learn .* 'embedding.weight'.*deepcopy"):
        Reference(model.policy, model)
    with pytest.raises(ValueError, match="a reference has no critic"):
        Reference(deepcopy(model), model)
    half = deepcopy(model.policy)
    half.blocks[0] = model.policy.blocks[0]
    with pytest.raises(ValueError, match="shares weights that learn with the policy"):
        stream_of(model, reference=half)


def test_a_reference_that_somebody_trains_is_noticed():
    model, reference = PolicyAndValue(transformer()), transformer()
    stream = stream_of(model, reference=reference, epochs=1, batch_size=12)
    batches = iter(stream)
    next(batches)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1)
    reference(torch.tensor([[1, 2]])).sum().backward()
    optimizer.step()
    with pytest.raises(ValueError, match="was written to since the start"):
        next(batches)


def test_a_policy_with_lora_is_its_own_reference():
    base = transformer()
    policy = deepcopy(base)
    add_lora(policy, ["query", "value", "up"], rank=2, generator=seeded())
    model = PolicyAndValue(policy)
    stream, run = stream_of(model, reference=policy), run_of(model, lr=3e-2)
    list(train(run, stream, steps=12))
    rollout = stream.rollout
    with torch.no_grad():
        expected = sequence_log_probs(base, *rollout.packed)
    assert_close(stream.reference.log_probs(*rollout.packed), expected, rtol=0, atol=1e-12)
    assert stream.history[-1]["kl"] > 0.01
    full = deepcopy(base)
    add_lora(full, ["query"], rank=2, train_also=["down"], generator=seeded())
    with pytest.raises(ValueError, match="shares weights that learn with the policy"):
        Reference(full, full)


def test_it_learns_what_is_scored_and_the_penalty_holds_it_back():
    found = {}
    for coefficient in (0.0, 1.0):
        model = PolicyAndValue(transformer())
        stream = stream_of(
            model, kl=KLController(coefficient), num_completions=32, batch_size=16, gold=lambda rollout: -fives(rollout)
        )
        list(train(run_of(model, lr=2e-2), stream, steps=48))
        found[coefficient] = stream.history[-1]
    assert found[0.0]["reward"] > 3
    assert found[0.0]["kl"] > 3
    assert found[1.0]["kl"] < 0.5 * found[0.0]["kl"]
    assert found[1.0]["reward"] < found[0.0]["reward"]
    assert found[0.0]["gold"] == -found[0.0]["reward"]
    assert stream.column("reward")[0] < 1.5


def test_the_adaptive_penalty_is_fed_each_rollout():
    model = PolicyAndValue(transformer())
    controller = KLController(0.5, target=1e-6)
    stream = stream_of(model, kl=controller, epochs=1)
    list(train(run_of(model), stream, steps=8))
    kls, coefficients = stream.column("kl"), stream.column("kl_coefficient")
    expected = [0.5]
    for kl in kls:
        expected.append(expected[-1] * (1 + 0.1 * min(max(kl / 1e-6 - 1, -0.2), 0.2)))
    assert coefficients == pytest.approx(expected[:-1])
    assert controller.coefficient == pytest.approx(expected[-1])


def test_the_same_seeds_give_the_same_run():
    found = []
    for _ in range(2):
        model = PolicyAndValue(transformer())
        stream = stream_of(model)
        list(train(run_of(model), stream, steps=6))
        found.append((fingerprint(model), stream.history))
    assert found[0] == found[1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_stops_before_any_update(bad):
    model = PolicyAndValue(transformer())

    def score(rollout):
        scores = fives(rollout)
        scores[[2, 7]] = bad
        return scores

    before = fingerprint(model)
    with pytest.raises(NonFiniteReward, match=f"2 of 12 rewards are not finite: {bad} in row 2, {bad} in row 7"):
        list(train(run_of(model), stream_of(model, score), steps=4))
    assert fingerprint(model) == before
    with pytest.raises(NonFiniteReward, match="in row 2, "):
        next(iter(stream_of(model, gold=score)))


def test_prompts_come_in_shuffled_rounds():
    pool = PromptPool(PROMPTS, generator=seeded())
    rounds = [pool.take(4)[0] for _ in range(6)]
    assert all(sorted(indices) == [0, 1, 2, 3] for indices in rounds)
    assert len({tuple(x) for x in rounds}) > 1
    indices, prompts = pool.take(6)  # over the end of a round
    assert [PROMPTS[index] for index in indices] == prompts
    assert sorted(indices[:4]) == [0, 1, 2, 3]
    rest, _ = pool.take(2)
    assert sorted(indices[4:] + rest) == [0, 1, 2, 3]


def test_bad_input_is_named():
    model = PolicyAndValue(transformer())
    for name in ("num_completions", "batch_size", "epochs"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            stream_of(model, **{name: 0})
    with pytest.raises(ValueError, match="staleness must be 0"):
        stream_of(model, staleness=-1)
    for name in ("gamma", "lam"):
        with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\], got 1.5"):
            stream_of(model, **{name: 1.5})
    with pytest.raises(ValueError, match="at least one prompt"):
        PromptPool([], generator=seeded())
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        PromptPool([[1], []], generator=seeded())
    with pytest.raises(ValueError, match="one floating-point number for each of 12 completions"):
        next(iter(stream_of(model, lambda rollout: rollout.lengths)))
    stream = stream_of(model)
    next(iter(stream))
    with pytest.raises(ValueError, match="no column 'rewards'; there are: reward, kl,"):
        stream.column("rewards")

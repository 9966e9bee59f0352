"""The stream of groups: drawn from the policy as it is, scored, dealt out whole; verified rewards, counting."""

import copy

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import (
    GroupStream,
    NonFiniteReward,
    TokenRollout,
    count_right,
    group_advantages,
    grpo_objective,
    sequence_log_probs,
    verified_reward,
)
from course_lib.data.sums import verify
from course_lib.loops import Run, train
from course_lib.nn.transformer import Transformer, llama

PROMPTS = [[1], [2, 3], [4, 5, 6]]


@pytest.fixture
def model():
    config = llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=10)
    return Transformer(config, generator=torch.Generator().manual_seed(0)).double()


def fives(rollout):
    return (rollout.tokens == 5).masked_fill(~rollout.mask, False).sum(1).float()


def stream_of(model, reward=fives, **kwargs):
    given = {"max_new_tokens": 4, "group_size": 4, "num_prompts": 3, "generator": torch.Generator().manual_seed(0)}
    return GroupStream(model, PROMPTS, reward, **given | kwargs)


def test_every_rollout_is_the_present_policys(model):
    stream = stream_of(model)
    run = Run(model, grpo_objective(), torch.optim.Adam(model.parameters(), lr=0.05))
    batches = iter(stream)
    for _ in range(3):
        batch = next(batches)  # nothing was drawn ahead: after each update it is the new policy that speaks
        now = sequence_log_probs(model, batch.tokens, batch.mask).detach()
        assert_close(batch.log_probs, now, rtol=0, atol=1e-12)
        run.step(batch)
        assert not torch.allclose(sequence_log_probs(model, batch.tokens, batch.mask), now, atol=1e-4)


def test_a_group_is_of_one_prompt_and_its_reward_knows_which(model):
    seen = []

    def reward(rollout):
        seen.append(rollout)
        return fives(rollout)

    batch = next(iter(stream_of(model, reward, num_prompts=5)))
    (rollout,) = seen
    indices = rollout.prompt_indices.view(5, 4)
    assert (indices == indices[:, :1]).all()
    for row, index in enumerate(rollout.prompt_indices.tolist()):
        prompt = PROMPTS[index]
        assert batch.tokens[row, : len(prompt)].tolist() == prompt
        assert not batch.mask[row, : len(prompt)].any()
    expected = group_advantages(fives(rollout).double().view(5, 4)).flatten()
    assert_close(batch.advantages, expected, rtol=0, atol=0)


def test_history_says_what_was_drawn(model):
    stream = stream_of(model, divide_by_std=False, stop_tokens=[7])
    next(iter(stream))
    row, rollout = stream.history[0], stream.rollout
    rewards = fives(rollout).view(3, 4)
    assert row["reward"] == pytest.approx(rewards.mean().item())
    assert row["informative"] == pytest.approx((rewards.std(1) > 0).double().mean().item())
    assert row["length"] == rollout.mask.sum().item() / 12
    assert row["finished"] == ((rollout.tokens == 7) & rollout.mask).any(1).double().mean().item()
    assert row["entropy"] == pytest.approx(-rollout.log_probs[rollout.mask].mean().item())
    assert stream.column("reward") == [row["reward"]]
    with pytest.raises(ValueError, match="there is no column 'gold'; there are: reward"):
        stream.column("gold")


def test_each_epoch_deals_out_every_completion_once(model):
    batches = iter(stream_of(model, batch_size=5, epochs=2))
    epochs = [[next(batches) for _ in range(2)] for _ in range(2)]
    rows = [sorted(row for part in epoch for row in part.log_probs.sum(1).tolist()) for epoch in epochs]
    assert [len(part.tokens) for part in epochs[0]] == [6, 6]
    assert rows[0] == rows[1]
    assert len(set(rows[0])) == 12
    assert epochs[0][0].tokens.tolist() != epochs[1][0].tokens.tolist()  # in another order


def test_groups_of_equal_rewards_can_be_left_out(model):
    def reward(rollout):  # only prompt 1 has anything to tell its completions apart
        return torch.where(rollout.prompt_indices == 1, rollout.log_probs.sum(1), 1.0)

    stream = stream_of(model, reward, drop_equal=True)
    batch = next(iter(stream))
    assert batch.tokens[:, :2].tolist() == [[2, 3]] * 4
    assert stream.history[0]["informative"] == pytest.approx(1 / 3)


def test_a_reward_that_never_varies_is_not_waited_for(model):
    stream = stream_of(model, lambda rollout: torch.ones(12), drop_equal=True)
    with pytest.raises(ValueError, match="in 20 rollouts running all rewards of every group were equal"):
        next(iter(stream))
    kept = next(iter(stream_of(model, lambda rollout: torch.ones(12))))  # without the filter: advantages of 0
    assert (kept.advantages == 0).all()


def test_the_reference_stays_and_its_kl_starts_at_zero(model):
    reference = copy.deepcopy(model)
    before = copy.deepcopy(reference.state_dict())
    stream = stream_of(model, reference=reference)
    run = Run(model, grpo_objective(kl_coefficient=0.1), torch.optim.Adam(model.parameters(), lr=0.02))
    steps = [step.values() for step in train(run, stream, steps=3)]
    assert stream.history[0]["kl"] == pytest.approx(0, abs=1e-12)
    assert steps[0]["kl_to_reference"] == pytest.approx(0, abs=1e-12)
    assert steps[2]["kl_to_reference"] > 1e-4
    for name, value in reference.state_dict().items():
        assert_close(value, before[name], rtol=0, atol=0)
    assert_close(
        next(iter(stream)).reference_log_probs,
        sequence_log_probs(reference, *stream.rollout.packed).detach(),
        rtol=0,
        atol=1e-12,
    )


def test_the_same_generator_gives_the_same_run(model):
    def trained():
        policy = copy.deepcopy(model)
        run = Run(policy, grpo_objective(), torch.optim.Adam(policy.parameters(), lr=0.02))
        return [step.values()["grad_norm"] for step in train(run, stream_of(policy, batch_size=4), steps=4)]

    assert trained() == trained()


def test_it_learns_what_is_rewarded(model):
    stream = stream_of(model, num_prompts=6)
    run = Run(model, grpo_objective(), torch.optim.Adam(model.parameters(), lr=0.05))
    list(train(run, stream, steps=25))
    assert stream.history[0]["reward"] < 1
    assert stream.history[-1]["reward"] > 3


def test_a_non_finite_reward_is_named_and_never_trained_on(model):
    def reward(rollout):
        return fives(rollout).index_fill(0, torch.tensor([2, 7]), torch.nan)

    stream = stream_of(model, reward)
    with pytest.raises(NonFiniteReward, match="2 of 12 rewards are not finite: nan in row 2, nan in row 7"):
        next(iter(stream))
    assert stream.history == []


def test_a_penalty_without_a_reference_is_refused(model):
    batch = next(iter(stream_of(model)))
    with pytest.raises(ValueError, match=r"kl_coefficient is 0\.04, but the batch knows no reference"):
        grpo_objective(kl_coefficient=0.04)(model, batch)
    assert grpo_objective()(model, batch).total.isfinite()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"group_size": 1}, "group_size must be at least 2"),
        ({"num_prompts": 0}, "num_prompts must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_bad_settings_are_refused(model, kwargs, message):
    with pytest.raises(ValueError, match=message):
        stream_of(model, **kwargs)


def test_a_reference_that_learns_is_refused(model):
    with pytest.raises(ValueError, match="shares weights that learn"):
        stream_of(model, reference=model)


def rollout_of(completions, indices):
    tokens = torch.tensor([[0, *row] for row in completions])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[:, 0] = False
    return TokenRollout(tokens, mask, torch.zeros(tokens.shape), mask[:, 1], torch.tensor(indices))


def test_a_verified_reward_reads_the_text_and_asks_the_right_question():
    reward = verified_reward(["40 + 2 =", "4 + 2 ="], verify, decode=lambda ids: " " + "".join(map(str, ids)))
    assert reward(rollout_of([[4, 2], [4, 2], [0, 6]], [0, 1, 1])).tolist() == [1.0, 0.0, 0.0]  # "06" is malformed
    with pytest.raises(ValueError, match="answers prompt 2, but there are 2 questions: give one for each"):
        reward(rollout_of([[4, 2], [4, 2]], [0, 2]))


def test_right_answers_are_counted_for_each_prompt(model):
    def reward(rollout):
        asked = [PROMPTS[index] for index in rollout.prompt_indices]
        assert [row[: len(p)].tolist() for row, p in zip(rollout.tokens, asked, strict=True)] == asked
        return (rollout.prompt_indices == 2).float()

    counts = count_right(model, PROMPTS, reward, num_samples=3, max_new_tokens=2, batch_size=6)
    assert counts.tolist() == [0, 0, 3]
    with pytest.raises(ValueError, match="num_samples and batch_size must be at least 1"):
        count_right(model, PROMPTS, reward, num_samples=0, max_new_tokens=2)
    with pytest.raises(ValueError, match="at least one prompt"):
        count_right(model, [], reward, num_samples=3, max_new_tokens=2)
    with pytest.raises(ValueError, match="one number for each of 9 completions"):
        count_right(model, PROMPTS, lambda rollout: torch.ones(()), num_samples=3, max_new_tokens=2)
    with pytest.raises(ValueError, match="reward 1 and a wrong one 0"):
        count_right(model, PROMPTS, lambda rollout: torch.full((9,), 0.5), num_samples=3, max_new_tokens=2)

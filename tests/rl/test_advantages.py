"""GAE and returns: a double loop, values by thought, a trusted buffer, borders, invariants, messages."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.rl import discounted_returns, gae

T, N = 40, 6


@pytest.fixture
def steps():
    """Rewards, values, next values, terminated, truncated: with both kinds of end, some in the last step."""
    g = torch.Generator().manual_seed(0)
    rewards, values, next_values = (torch.randn(T, N, generator=g, dtype=torch.float64) for _ in range(3))
    ends = torch.rand(T, N, generator=g)
    terminated, truncated = ends < 0.08, (ends >= 0.08) & (ends < 0.16)
    terminated[-1, 0], truncated[-1, 1] = True, True
    return rewards, values, next_values, terminated, truncated


def slow_gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """A sum over k of (gamma lam)^k delta_{t+k}, each term looked up anew, until the episode is over."""
    result = torch.zeros(T, N, dtype=torch.float64)
    for n in range(N):
        for t in range(T):
            for k in range(T - t):
                i = t + k
                follows = 0.0 if terminated[i, n] else next_values[i, n].item()
                delta = rewards[i, n].item() + gamma * follows - values[i, n].item()
                result[t, n] += (gamma * lam) ** k * delta
                if terminated[i, n] or truncated[i, n]:
                    break
    return result


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (1.0, 1.0), (0.0, 0.5)])
def test_matches_the_direct_sum(steps, gamma, lam):
    expected = slow_gae(*steps, gamma, lam)
    assert_close(gae(*steps, gamma=gamma, lam=lam), expected, rtol=1e-12, atol=1e-12)


def test_lambda_one_is_the_return_minus_the_value(steps):
    rewards, values, _, terminated, truncated = steps
    done = terminated | truncated
    never = torch.zeros_like(done)
    chained = torch.cat([values[1:], torch.zeros(1, N, dtype=values.dtype)])
    advantages = gae(rewards, values, chained, done, never, gamma=0.97, lam=1.0)
    assert_close(advantages + values, discounted_returns(rewards, done, gamma=0.97), rtol=1e-12, atol=1e-12)


def test_returns_match_the_direct_sum(steps):
    rewards, *_, terminated, truncated = steps
    done = terminated | truncated
    found = discounted_returns(rewards, done, gamma=0.9)
    for n in range(N):
        for t in range(T):
            total, factor = 0.0, 1.0
            for i in range(t, T):
                total += factor * rewards[i, n].item()
                factor *= 0.9
                if done[i, n]:
                    break
            assert found[t, n].item() == pytest.approx(total, rel=1e-12, abs=1e-12)


def test_values_by_thought():
    """One environment, gamma 1, lambda 1: cut off after two steps, then one step to a true end."""
    column = [[1.0], [2.0], [4.0]]
    rewards = torch.tensor(column)
    values, next_values = torch.tensor([[10.0], [20.0], [30.0]]), torch.tensor([[20.0], [7.0], [99.0]])
    terminated, truncated = torch.tensor([[0], [0], [1]]).bool(), torch.tensor([[0], [1], [0]]).bool()
    found = gae(rewards, values, next_values, terminated, truncated, gamma=1.0, lam=1.0)
    # last: 4 - 30; before: 2 + 7 - 20 (what followed the cut counts); first: 1 + 20 - 10, and then that
    assert found.flatten().tolist() == [0.0, -11.0, -26.0]


def test_nothing_flows_over_an_end(steps):
    rewards, values, _, terminated, truncated = steps
    terminated[20], truncated[20] = torch.arange(N) % 2 == 0, torch.arange(N) % 2 == 1
    before = gae(*steps)
    rewards[21:] += 1000.0
    values[21:] -= 1000.0
    assert_close(gae(*steps)[:21], before[:21], rtol=0, atol=0)


def test_a_true_end_does_not_look_at_what_follows_and_a_cut_does(steps):
    _, _, next_values, terminated, _ = steps
    before = gae(*steps, lam=0.0)
    next_values += 1.0
    change = gae(*steps, lam=0.0) - before
    assert_close(change, 0.99 * (~terminated).double(), rtol=0, atol=1e-12)


def test_exact_values_leave_no_surprise():
    """With rewards 1 for ever and gamma 1/2 the value is 2 everywhere: every advantage is exactly 0."""
    two = torch.full((7, 3), 2.0)
    never = torch.zeros(7, 3, dtype=torch.bool)
    assert gae(torch.ones(7, 3), two, two, never, never, gamma=0.5, lam=0.7).eq(0).all()


def test_matches_stable_baselines3(steps):
    """Its buffer knows no truncation: what followed a cut is added to the reward beforehand, as it does itself."""
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    from gymnasium.spaces import Box, Discrete

    rewards, values, next_values, terminated, truncated = (tensor.clone() for tensor in steps)
    done = terminated | truncated
    next_values[:-1] = torch.where(done[:-1], next_values[:-1], values[1:])
    buffer = buffers.RolloutBuffer(T, Box(-1, 1, (2,)), Discrete(2), device="cpu", gamma=0.98, gae_lambda=0.9, n_envs=N)
    buffer.rewards = (rewards + 0.98 * next_values * truncated).numpy()
    buffer.values = values.numpy()
    buffer.advantages = 0 * buffer.values
    buffer.episode_starts = torch.cat([torch.ones(1, N), done[:-1].float()]).numpy()
    buffer.compute_returns_and_advantage(next_values[-1], done[-1].numpy())
    found = gae(rewards, values, next_values, terminated, truncated, gamma=0.98, lam=0.9)
    assert_close(found, torch.from_numpy(buffer.advantages), rtol=1e-6, atol=1e-6)  # part of its sums is float32
    assert_close(found + values, torch.from_numpy(buffer.returns), rtol=1e-6, atol=1e-6)


def test_gradcheck(steps):
    rewards, values, next_values, terminated, truncated = (tensor[:5, :2] for tensor in steps)
    inputs = tuple(tensor.clone().requires_grad_() for tensor in (rewards, values, next_values))
    assert torch.autograd.gradcheck(lambda *x: gae(*x, terminated, truncated), inputs)


def test_huge_values_stay_finite():
    huge = torch.full((100, 1), 1e30)
    never = torch.zeros(100, 1, dtype=torch.bool)
    assert gae(huge, -huge, huge, never, never, gamma=1.0, lam=1.0).isfinite().all()


def test_bad_input_is_named(steps):
    rewards, values, next_values, terminated, truncated = steps
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1.5"):
        gae(*steps, gamma=1.5)
    with pytest.raises(ValueError, match=r"lam must lie in \[0, 1\], got -1"):
        gae(*steps, lam=-1)
    with pytest.raises(ValueError, match=r"values must have the shape of rewards, \(40, 6\), got \(40, 1\)"):
        gae(rewards, values[:, :1], next_values, terminated, truncated)
    with pytest.raises(ValueError, match="truncated must be boolean"):
        gae(rewards, values, next_values, terminated, truncated.float())
    with pytest.raises(ValueError, match=r"rewards must be \(T, N\) with at least one step, got \(40,\)"):
        discounted_returns(rewards[:, 0], terminated[:, 0], gamma=0.9)
    with pytest.raises(ValueError, match=r"rewards must be floating point, got torch.int64: use rewards.float\(\)"):
        discounted_returns(rewards.long(), terminated, gamma=0.9)  # its sums would be cut to whole numbers
    with pytest.raises(ValueError, match="gamma must lie"):
        discounted_returns(rewards, terminated, gamma=2.0)

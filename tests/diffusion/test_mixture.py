"""The exact score of a Gaussian mixture: torch's distributions, autograd, Monte Carlo, and cases known by thought."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

from course_lib.diffusion import GaussianMixture, convert, cosine_schedule

EXACT = {"rtol": 0, "atol": 0}
MEANS = torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
STDS = torch.tensor([0.3, 0.5, 1.0], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
LEVELS = [(1.0, 0.0), (0.8, 0.6), (0.1, 1.2)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def mixture():
    return GaussianMixture(MEANS, stds=STDS, weights=2 * WEIGHTS)  # shares are divided by their sum


@pytest.fixture
def x():
    return 2 * torch.randn(7, 2, generator=seeded(), dtype=torch.float64)


def torchs(signal, noise):
    stds = (signal**2 * STDS**2 + noise**2).sqrt()
    return MixtureSameFamily(Categorical(WEIGHTS), Independent(Normal(signal * MEANS, stds[:, None].expand(3, 2)), 1))


@pytest.mark.parametrize(("signal", "noise"), LEVELS)
def test_density_is_torchs_and_the_score_its_gradient(mixture, x, signal, noise):
    x.requires_grad_()
    expected = torchs(signal, noise).log_prob(x)
    assert_close(mixture.log_density(x, signal=signal, noise=noise), expected, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    assert_close(mixture.score(x, signal=signal, noise=noise).detach(), gradient, rtol=1e-11, atol=1e-11)


def test_one_gaussian_is_known_by_thought():
    """Variance 0.64 * 4 + 0.36 = 2.92; the score pulls to 0.8 * 5 = 4."""
    one, x = GaussianMixture(torch.tensor([[5.0]]), stds=2.0), torch.tensor([[1.0]], dtype=torch.float64)
    at = {"signal": 0.8, "noise": 0.6}
    assert_close(one.score(x, **at).item(), 3 / 2.92, rtol=1e-12, atol=0)
    assert_close(one.expected_noise(x, **at).item(), -0.6 * 3 / 2.92, rtol=1e-12, atol=0)
    assert_close(one.expected_data(x, **at).item(), 5 - 0.8 * 4 * 3 / 2.92, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("signal", "noise"), LEVELS)
def test_what_is_expected_of_data_and_noise_adds_up_to_what_is_seen(mixture, x, signal, noise):
    at = {"signal": signal, "noise": noise}
    assert_close(signal * mixture.expected_data(x, **at) + noise * mixture.expected_noise(x, **at), x,
                 rtol=1e-11, atol=1e-11)  # fmt: skip


def test_expected_data_is_the_mean_of_data_that_look_so(mixture):
    """Bayes by brute force: 200,000 data rows, weighted by how likely each would be seen here."""
    data, _ = mixture.sample(200_000, generator=seeded())
    seen = torch.tensor([[0.5, 0.7]], dtype=torch.float64)
    weights = (-(seen - 0.8 * data.double()).square().sum(1) / (2 * 0.6**2)).softmax(0)
    found = mixture.expected_data(seen, signal=0.8, noise=0.6)
    effective = 1 / weights.square().sum()
    spread = (weights[:, None] * (data - found).square()).sum(0).sqrt().max()
    assert (weights[:, None] * data).sum(0).sub(found[0]).abs().max() < 4 * spread / effective.sqrt()


def test_noise_levels_may_differ_from_row_to_row(mixture, x):
    signal, noise = torch.linspace(1, 0.1, 7).double(), torch.linspace(0, 1, 7).double()
    rows = [mixture.score(x[i : i + 1], signal=float(signal[i]), noise=float(noise[i])) for i in range(7)]
    assert_close(mixture.score(x, signal=signal, noise=noise), torch.cat(rows), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("predict", ["epsilon", "x0", "v"])
def test_exact_denoisers_say_the_same_in_other_words(mixture, x, predict):
    schedule, t = cosine_schedule(50), torch.tensor([1, 5, 10, 20, 30, 40, 49])
    said = mixture.exact_denoiser(schedule, predict=predict)(x, schedule.time(t))
    epsilon = mixture.expected_noise(x, signal=schedule.signal(t), noise=schedule.noise(t))
    assert_close(convert(said, x, t, schedule, of=predict, to="epsilon"), epsilon, rtol=1e-8, atol=1e-8)


def test_the_exact_denoiser_is_the_best_there_is(mixture):
    """No constant added to it, and no factor, lowers its squared error on noisy data."""
    schedule, g = cosine_schedule(50), seeded()
    clean, _ = mixture.sample(20_000, generator=g)
    noise, t = torch.randn(clean.shape, generator=g), torch.randint(1, 51, (20_000,), generator=g)
    noisy = schedule.signal(t).float()[:, None] * clean + schedule.noise(t).float()[:, None] * noise
    said = mixture.exact_denoiser(schedule)(noisy, schedule.time(t))
    best = (said - noise).square().mean()
    for other in (0.9 * said, 1.1 * said, said + 0.1, said - 0.1):
        assert (other - noise).square().mean() > best


def test_the_exact_velocity_is_noise_less_data(mixture, x):
    time = torch.linspace(0, 1, 7).double()
    velocity = mixture.exact_velocity()(x, time)
    at = {"signal": 1 - time, "noise": time}
    assert_close(velocity, mixture.expected_noise(x, **at) - mixture.expected_data(x, **at), **EXACT)
    assert_close(velocity[0], -x[0], rtol=1e-12, atol=0)  # at the data: E[noise] = 0
    assert_close(velocity[-1], x[-1] - WEIGHTS @ MEANS, rtol=1e-12, atol=1e-12)  # at the noise: the mean of the data


def test_a_label_leaves_one_component(mixture, x):
    one = GaussianMixture(MEANS[1:2], stds=float(STDS[1]))
    at = {"signal": 0.8, "noise": 0.6}
    labels = torch.tensor([1, 1, 1, -1, -1, 1, 1])
    found, anyone, alone = mixture.score(x, **at, labels=labels), mixture.score(x, **at), one.score(x, **at)
    assert_close(found, torch.where(labels[:, None] == 1, alone, anyone), rtol=1e-12, atol=1e-12)
    for call in (mixture.exact_velocity(), mixture.exact_denoiser(cosine_schedule(), predict="v")):
        time = torch.full((7,), 0.5)
        assert_close(call(x, time, torch.full((7,), -1)), call(x, time), **EXACT)
        assert not torch.isclose(call(x, time, labels)[0], call(x, time)[0]).any()


def test_samples_have_the_shares_centres_and_widths(mixture):
    """50,000 rows: four standard errors are at most 0.009 for a share, 0.04 for a centre (variance 1, 10,000 rows)."""
    data, component = mixture.sample(50_000, generator=seeded())
    assert data.dtype == torch.float32
    assert_close(component.bincount() / 50_000, WEIGHTS.float(), rtol=0, atol=0.009)
    for k in range(3):
        assert_close(data[component == k].mean(0), MEANS[k].float(), rtol=0, atol=0.04)
        assert_close(data[component == k].std(0), STDS[k].float().expand(2), rtol=0.03, atol=0)
    again, _ = mixture.sample(50_000, generator=seeded())
    assert_close(again, data, **EXACT)


def test_far_away_and_at_hardly_any_noise_all_stays_finite(mixture):
    far = torch.tensor([[1e6, -1e6], [0.0, 0.0]])
    score = mixture.score(far, signal=1.0, noise=1e-6)
    assert score.isfinite().all()
    assert_close(score[0], -(far[0] - MEANS[2].float()) / 1.0, rtol=1e-4, atol=0)  # the widest alone is felt there


def test_gradients(mixture, x):
    assert torch.autograd.gradcheck(lambda x: mixture.score(x, signal=0.8, noise=0.6), x.requires_grad_())
    assert torch.autograd.gradcheck(lambda x: mixture.expected_data(x, signal=0.8, noise=0.6), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: GaussianMixture(torch.zeros(3), stds=1.0), r"means must be \(K, D\), .* got \(3,\)"),
        (lambda m: GaussianMixture(MEANS, stds=0.0), r"stds must be 3 positive, finite numbers, .* got \[0.0"),
        (lambda m: GaussianMixture(MEANS, stds=torch.ones(2)), r"stds must be 3 .* got \[1.0, 1.0\]"),
        (lambda m: GaussianMixture(MEANS, stds=1.0, weights=torch.tensor([1, 0, 1])), r"weights .* \[1.0, 0.0, 1.0\]"),
        (lambda m: GaussianMixture(MEANS, stds=math.inf), "stds must be"),
        (lambda m: m.score(torch.zeros(2, 3)), r"rows \(N, 2\), got torch.float32 of shape \(2, 3\)"),
        (lambda m: m.log_density(torch.zeros(2, 2, dtype=torch.int64)), "floating-point rows"),
        (lambda m: m.score(torch.zeros(2, 2), labels=torch.tensor([3, 0])), r"from 0 to 2 or -1 .* \(2,\): \[3, 0\]"),
        (lambda m: m.score(torch.zeros(2, 2), labels=torch.tensor([0, -2])), r"\[0, -2\]"),
        (lambda m: m.score(torch.zeros(2, 2), labels=torch.tensor([0])), r"of shape \(2,\), .* got shape \(1,\)"),
        (lambda m: m.exact_denoiser(cosine_schedule(), predict="score"), "predict must be .* got 'score'"),
    ],
)
def test_bad_input_is_named(mixture, call, message):
    with pytest.raises(ValueError, match=message):
        call(mixture)

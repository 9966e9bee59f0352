"""What a denoiser learns from: each loss read aloud from the same random numbers, exact splits, weights, labels."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.diffusion import (
    GaussianMixture,
    NoiseSchedule,
    cosine_schedule,
    denoising,
    flow_matching,
    linear_schedule,
)
from course_lib.loops import Run
from course_lib.nn.time_mlp import TimeMLP

EXACT = {"rtol": 0, "atol": 0}
SCHEDULE = cosine_schedule(100)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Remembering(nn.Module):
    """Says a fixed multiple of what it sees, and keeps what it was called with."""

    def forward(self, x, time, labels=None):
        self.x, self.time, self.labels = x, time, labels
        return 0.5 * x


@pytest.fixture
def data():
    return torch.randn(64, 1, 4, 4, generator=seeded(7), dtype=torch.float64)


def drawn_for_denoising(data):
    """The numbers that the objective draws, in its order."""
    g = seeded()
    t = torch.randint(1, 101, (len(data),), generator=g)
    return t, torch.randn(data.shape, generator=g, dtype=data.dtype)


@pytest.mark.parametrize("weighting", ["simple", "min_snr"])
@pytest.mark.parametrize("predict", ["epsilon", "x0", "v"])
def test_denoising_is_the_formula_read_aloud(data, predict, weighting):
    t, noise = drawn_for_denoising(data)
    total = 0.0
    for x0, eps, step in zip(data, noise, t, strict=True):
        signal, sigma = SCHEDULE.alpha_bar[step].sqrt(), (1 - SCHEDULE.alpha_bar[step]).sqrt()
        noisy = signal * x0 + sigma * eps
        target = {"epsilon": eps, "x0": x0, "v": signal * eps - sigma * x0}[predict]
        snr = signal**2 / sigma**2
        weight = (
            {"epsilon": 1 / snr, "x0": 1.0, "v": 1 / (snr + 1)}[predict] * min(snr, 5) if weighting != "simple" else 1
        )
        total += weight * ((0.5 * noisy - target) ** 2).mean()
    objective = denoising(SCHEDULE, generator=seeded(), predict=predict, weighting=weighting)
    loss = objective(Remembering(), (data,))
    assert loss.count == 64
    assert_close(loss.total, total, rtol=1e-10, atol=0)


@pytest.mark.parametrize("weighting", ["simple", "min_snr"])
def test_min_snr_weighs_the_same_mistake_alike_in_all_three(data, weighting):
    """A model that takes the data to be 0, in its three ways of saying so."""
    totals = {}
    for predict in ("epsilon", "x0", "v"):

        def says_zero(x, time, predict=predict):
            t = SCHEDULE.steps(time)
            signal, sigma = SCHEDULE.signal(t).view(-1, 1, 1, 1), SCHEDULE.noise(t).view(-1, 1, 1, 1)
            return {"epsilon": x / sigma, "x0": 0 * x, "v": signal * x / sigma}[predict]

        objective = denoising(SCHEDULE, generator=seeded(), predict=predict, weighting=weighting)
        totals[predict] = objective(says_zero, data).total.item()
    assert math.isclose(totals["epsilon"], totals["v"], rel_tol=1e-9) == (weighting == "min_snr")
    assert math.isclose(totals["epsilon"], totals["x0"], rel_tol=1e-9) == (weighting == "min_snr")


def test_min_snr_is_plain_where_nothing_is_left_of_the_data(data):
    """There the ratio is 0: epsilon's weight min(0, 5) / 0 has the limit 1, that of x0 and v is 0."""
    schedule = NoiseSchedule(torch.tensor([1.0, 0.0]))
    for predict, weight in (("epsilon", 1.0), ("x0", 0.0), ("v", 0.0)):
        totals = [
            denoising(schedule, generator=seeded(), predict=predict, weighting=weighting)(Remembering(), data).total
            for weighting in ("simple", "min_snr")
        ]
        assert_close(totals[1], weight * totals[0], **EXACT)


@pytest.mark.parametrize(("times", "shift"), [("uniform", 1.0), ("uniform", 3.0), ("logit_normal", 1.0)])
def test_flow_matching_is_the_formula_read_aloud(data, times, shift):
    g = seeded()
    draw = torch.rand if times == "uniform" else torch.randn
    time = draw(64, generator=g)
    time = time if times == "uniform" else 1 / (1 + torch.exp(-time))
    noise = torch.randn(data.shape, generator=g, dtype=data.dtype)
    total = 0.0
    for x0, eps, moment in zip(data, noise, time, strict=True):
        moment = shift * moment / (1 + (shift - 1) * moment)
        total += ((0.5 * ((1 - moment) * x0 + moment * eps) - (eps - x0)) ** 2).mean()
    loss = flow_matching(generator=seeded(), times=times, shift=shift)(Remembering(), (data,))
    assert loss.count == 64
    assert_close(loss.total, total, rtol=1e-6, atol=0)  # times are drawn in float32


def test_values_known_by_thought():
    """Data of zeros: saying 0 costs the noise's variance, saying x / noise(t) nothing."""
    zeros = torch.zeros(20_000, 4, dtype=torch.float64)
    loss = denoising(SCHEDULE, generator=seeded())(lambda x, time: 0 * x, zeros)
    assert_close(loss.total / loss.count, torch.tensor(1.0).double(), rtol=0.02, atol=0)

    def knows(x, time):
        return x / SCHEDULE.noise(SCHEDULE.steps(time))[:, None]

    assert denoising(SCHEDULE, generator=seeded())(knows, zeros).total < 1e-20
    assert flow_matching(generator=seeded())(lambda x, time: x / time[:, None], zeros).total < 1e-20


def test_a_model_sees_times_of_all_sizes_and_never_step_0(data):
    model = Remembering()
    denoising(cosine_schedule(4), generator=seeded())(model, data)
    assert sorted(set(model.time.tolist())) == [0.25, 0.5, 0.75, 1.0]
    flow_matching(generator=seeded())(model, data.expand(64, 1, 4, 4))
    assert 0 <= model.time.min() < 0.1
    assert 0.9 < model.time.max() < 1


def test_labels_are_dropped_with_their_probability(data):
    model, labels = Remembering(), torch.arange(10).repeat(1000)
    x = torch.zeros(10_000, 2)
    for objective, wanted in (
        (denoising(SCHEDULE, generator=seeded(), drop_label=0.0), 0.0),
        (flow_matching(generator=seeded(), drop_label=0.3), 0.3),
        (denoising(SCHEDULE, generator=seeded(), drop_label=1.0), 1.0),
    ):
        objective(model, (x, labels))
        dropped = model.labels == -1
        assert_close(dropped.float().mean().item(), wanted, rtol=0, atol=0.02)  # four standard errors
        assert_close(model.labels[~dropped], labels[~dropped], **EXACT)
    assert labels.min() == 0  # the batch itself is as it was
    objective(model, (x,))
    assert model.labels is None


def test_the_exact_denoiser_has_the_least_loss():
    mixture = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), stds=0.3)
    x, _ = mixture.sample(5000, generator=seeded(1))
    for build, exact in (
        (lambda g: denoising(SCHEDULE, generator=g, predict="v"), mixture.exact_denoiser(SCHEDULE, predict="v")),
        (lambda g: flow_matching(generator=g), mixture.exact_velocity()),
    ):
        losses = [
            build(seeded())(
                lambda x, t, e=exact, f=factor: f * e(x, t), (x,)
            ).total.item()  # the same numbers are drawn
            for factor in (0.0, 0.9, 1.0, 1.1)
        ]
        assert min(losses) == losses[2]
        assert 0 < losses[2] < 0.8 * losses[0]


def test_one_batch_or_two_halves_give_the_same_kind_of_update():
    """Counts are rows, so a run divides by all rows of a step; with the same numbers drawn, sums add up."""
    x = torch.randn(8, 2, generator=seeded(3), dtype=torch.float64)
    model = TimeMLP(2, width=8, generator=seeded()).double()
    objective = flow_matching(generator=seeded(5))
    parts = [objective(model, (x[:4],)), objective(model, (x[4:],))]
    run = Run(model, flow_matching(generator=seeded(5)), torch.optim.SGD(model.parameters(), lr=0.0))
    step = run.step((x[:4],), (x[4:],))
    assert step.count == 8
    assert_close(step.loss, (parts[0].total + parts[1].total).detach() / 8, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["denoising", "flow"])
def test_a_run_saved_and_gone_on_with_draws_the_same_numbers(kind):
    def build():
        g = seeded(4)
        objective = denoising(SCHEDULE, generator=g) if kind == "denoising" else flow_matching(generator=g)
        model = TimeMLP(2, width=16, num_classes=3, generator=seeded())
        return Run(model, objective, torch.optim.Adam(model.parameters(), lr=0.01), generators=[g])

    batch = torch.randn(16, 2, generator=seeded(1)), torch.arange(16) % 3
    whole, first, second = build(), build(), build()
    losses = [whole.step(batch).values()["loss"] for _ in range(6)]
    again = [first.step(batch).values()["loss"] for _ in range(3)]
    second.load_state_dict(first.state_dict())
    again += [second.step(batch).values()["loss"] for _ in range(3)]
    assert losses == again
    assert len(set(losses)) == 6


def test_training_in_bfloat16_differs_by_rounding_only(data):
    x = data[:, :, :2, :2].flatten(1).float()
    model = TimeMLP(4, width=32, generator=seeded())
    nn.init.normal_(model.last.weight, std=0.1, generator=seeded())
    full = flow_matching(generator=seeded())(model, x).total
    with torch.autocast("cpu", torch.bfloat16):
        loss = flow_matching(generator=seeded())(model, x).total
    assert loss.dtype == torch.float32
    assert_close(loss, full, rtol=0.01, atol=0)


def test_no_rows_cost_nothing():
    model = TimeMLP(2, width=8)
    for objective in (denoising(SCHEDULE, generator=seeded()), flow_matching(generator=seeded())):
        loss = objective(model, (torch.zeros(0, 2),))
        assert (loss.total.item(), loss.count) == (0.0, 0)


GENERATOR, X, L = seeded(), torch.ones(2, 3), torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: denoising(SCHEDULE, generator=GENERATOR, predict="noise"), "predict must be .* got 'noise'"),
        (lambda: denoising(SCHEDULE, generator=GENERATOR, weighting="snr"), "weighting must be .* got 'snr'"),
        (lambda: denoising(SCHEDULE, generator=GENERATOR, drop_label=1.5), "a probability, from 0 to 1, got 1.5"),
        (lambda: flow_matching(generator=GENERATOR, drop_label=-0.1), "got -0.1"),
        (lambda: flow_matching(generator=GENERATOR, times="cosine"), "times must be .* got 'cosine'"),
        (lambda: flow_matching(generator=GENERATOR, shift=0), "shift must be positive and finite, got 0"),
        (
            lambda: flow_matching(generator=GENERATOR)(Remembering(), torch.ones(2, 3, dtype=torch.uint8)),
            r"floating-point rows \(N, ...\), images in \[-1, 1\], got torch.uint8 of shape \(2, 3\)",
        ),
        (
            lambda: flow_matching(generator=GENERATOR)(Remembering(), torch.ones(2)),
            r"got torch.float32 of shape \(2,\)",
        ),
        (lambda: flow_matching(generator=GENERATOR)(Remembering(), (X, L, L)), r"or \(x, labels\), got a tuple of 3"),
        (lambda: flow_matching(generator=GENERATOR)(Remembering(), []), "got a list of 0"),
        (lambda: flow_matching(generator=GENERATOR)(Remembering(), {"x": X}), "got a dict"),
        (lambda: flow_matching(generator=GENERATOR)(Remembering(), (X, L[:1])), r"shape \(2,\), .* of shape \(1,\)"),
        (lambda: denoising(SCHEDULE, generator=GENERATOR)(Remembering(), (X, X[:, 0])), "labels .* got torch.float32"),
        (
            lambda: denoising(SCHEDULE, generator=GENERATOR)(lambda x, t: x[:, :1], torch.ones(2, 3)),
            r"its input's shape \(2, 3\), got \(2, 1\)",
        ),
        (
            lambda: flow_matching(generator=GENERATOR)(Remembering(), torch.ones(2, 3, device="meta")),
            r"generator is on cpu and the data on meta: make it with torch.Generator\('meta'\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_linear_schedule_with_few_steps_still_ends_in_noise(data):
    model = Remembering()
    denoising(linear_schedule(25), generator=seeded())(model, 100 + 0 * data)
    last = model.x[model.time == 1.0]
    assert len(last) > 0
    assert last.mean().abs() < 2  # of 100 in the data

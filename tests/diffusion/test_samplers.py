"""Samplers: diffusers' step by step, cases known by thought, and a mixture that comes back from its exact score."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from course_lib.diffusion import (
    GaussianMixture,
    NoiseSchedule,
    ancestral,
    convert,
    cosine_schedule,
    ddim,
    flow_euler,
    flow_heun,
    linear_schedule,
    sampling_steps,
)

EXACT = {"rtol": 0, "atol": 0}
KINDS = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}
SHAPE = (5, 1, 3, 3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def wavy(x, time):
    """Some denoiser: smooth, different at each time, nothing like a straight line."""
    return torch.sin(2 * x + time.view(-1, 1, 1, 1)) + 0.3 * x


def their_loop(scheduler, steps, x, **options):
    states = [x]
    for t in steps:
        x = scheduler.step(wavy(x, torch.full((len(x),), (int(t) + 1) / 1000)), t, x, **options).prev_sample
        states.append(x)
    return torch.stack(states)


@pytest.mark.parametrize(
    ("predict", "variance", "clip", "num_steps"),
    [*itertools.product(KINDS, ("posterior", "beta"), (None, 1.0), (50,)), ("epsilon", "beta", 1.0, 1000)],
)
def test_ancestral_is_diffusers_ddpm_at_every_step(predict, variance, clip, num_steps):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(
        1000,
        prediction_type=KINDS[predict],
        variance_type={"posterior": "fixed_small", "beta": "fixed_large"}[variance],
        clip_sample=clip is not None,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(num_steps)
    g = seeded()
    theirs = their_loop(scheduler, scheduler.timesteps, torch.randn(SHAPE, generator=g), generator=g)
    options = {"predict": predict, "variance": variance, "clip": clip, "num_steps": num_steps, "path": True}
    ours = ancestral(wavy, SHAPE, schedule=linear_schedule(), generator=seeded(), **options)
    if variance == "beta" and num_steps < 1000:  # there theirs makes the clean image noisy once more, at the very end
        ours, theirs = ours[:-1], theirs[:-1]
    scale = theirs.abs().amax((1, 2, 3, 4), keepdim=True).clamp(min=1)
    assert_close(ours / scale, theirs / scale, rtol=0, atol=2e-4)  # theirs multiplies a thousand factors in float32


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("predict", KINDS)
def test_ddim_is_diffusers_at_every_step(predict, clip, eta):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        1000, prediction_type=KINDS[predict], clip_sample=clip is not None, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(20)
    g = seeded()
    options = {"eta": eta, "generator": g, "use_clipped_model_output": True}
    theirs = their_loop(scheduler, scheduler.timesteps, torch.randn(SHAPE, generator=g), **options)
    ours = ddim(wavy, SHAPE, schedule=linear_schedule(), num_steps=20, generator=seeded(), eta=eta, predict=predict,
                clip=clip, path=True)  # fmt: skip
    scale = theirs.abs().amax((1, 2, 3, 4), keepdim=True).clamp(min=1)
    assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_euler_is_diffusers_at_every_step(shift):
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(1000, shift=shift)
    scheduler.set_timesteps(sigmas=[1 - step / 10 for step in range(10)])
    x = torch.randn(SHAPE, generator=seeded())
    ours = flow_euler(wavy, x, num_steps=10, shift=shift, path=True)
    for step, t in enumerate(scheduler.timesteps):
        assert_close(ours[step], x, rtol=1e-5, atol=1e-5)
        x = scheduler.step(wavy(x, torch.full((5,), float(t) / 1000)), t, x).prev_sample
    assert_close(ours[-1], x, rtol=1e-5, atol=1e-5)


def test_heun_is_the_formula_read_aloud():
    x = torch.randn(SHAPE, generator=seeded(), dtype=torch.float64)
    ours = flow_heun(wavy, x, num_steps=3, path=True)
    for step, (time, after) in enumerate([(1.0, 2 / 3), (2 / 3, 1 / 3), (1 / 3, 0.0)]):
        here = wavy(x, torch.full((5,), time, dtype=x.dtype))
        euler = x - here / 3
        x = x - (here + wavy(euler, torch.full((5,), after, dtype=x.dtype))) / 2 / 3
        assert_close(ours[step + 1], x, rtol=1e-12, atol=1e-12)


MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [1.0, -0.5]]), stds=torch.tensor([0.2, 0.4]), weights=torch.tensor([0.7, 0.3])
)
SCHEDULE = cosine_schedule(1000)
SAMPLERS = {
    "ancestral": lambda kind, start, g: ancestral(
        MIXTURE.exact_denoiser(SCHEDULE, predict=kind),
        start,
        schedule=SCHEDULE,
        generator=g,
        num_steps=200,
        predict=kind,
    ),
    "ddim": lambda kind, start, g: ddim(
        MIXTURE.exact_denoiser(SCHEDULE, predict=kind),
        start,
        schedule=SCHEDULE,
        num_steps=200,
        generator=g,
        predict=kind,
    ),
    "euler": lambda kind, start, g: flow_euler(MIXTURE.exact_velocity(), start, num_steps=200, generator=g),
    "heun": lambda kind, start, g: flow_heun(MIXTURE.exact_velocity(), start, num_steps=60, generator=g),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ancestral", "x0"), ("ancestral", "v"), ("ddim", "x0"), ("ddim", "v"), ("euler", ""), ("heun", "")],
)
def test_the_exact_score_brings_the_mixture_back(name, kind):
    """5,000 samples, 1,500 of them in the wider component: four standard errors are 0.026 for a share, 0.041 for a
    centre and 7 % for a width, beside another 5 % that 200 steps of the random walk cost."""
    x = SAMPLERS[name](kind, (5000, 2), seeded())
    first = (x - MIXTURE.means[0].float()).norm(dim=1) < (x - MIXTURE.means[1].float()).norm(dim=1)
    fresh, _ = MIXTURE.sample(50_000, generator=seeded(1))
    of_fresh = (fresh - MIXTURE.means[0].float()).norm(dim=1) < (fresh - MIXTURE.means[1].float()).norm(dim=1)
    assert_close(first.float().mean(), of_fresh.float().mean(), rtol=0, atol=0.026)
    for part, true in ((x[first], fresh[of_fresh]), (x[~first], fresh[~of_fresh])):
        assert_close(part.mean(0), true.mean(0), rtol=0, atol=0.041)
        assert_close(part.std(0), true.std(0), rtol=0.1, atol=0)
    assert_close(MIXTURE.log_density(x).mean(), MIXTURE.log_density(fresh).mean(), rtol=0, atol=0.1)


@pytest.mark.parametrize("sampler", [flow_euler, flow_heun])
def test_more_steps_come_nearer_at_the_order_of_the_method(sampler):
    """Halving the step halves Euler's error and quarters Heun's."""
    x = torch.randn(200, 2, generator=seeded(), dtype=torch.float64)
    one = GaussianMixture(torch.tensor([[0.5, -0.5]]), stds=0.5).exact_velocity()
    truth = 0.5 * x + torch.tensor([0.5, -0.5])  # a Gaussian's flow: from N(0, 1) to its own, order kept
    errors = [(sampler(one, x, num_steps=n) - truth).norm() for n in (40, 80)]
    assert_close((errors[0] / errors[1]).log2().item(), 1.0 if sampler is flow_euler else 2.0, rtol=0, atol=0.15)


def test_ddim_of_a_gaussian_is_a_straight_map():
    x = torch.randn(50, 2, generator=seeded(), dtype=torch.float64)
    one = GaussianMixture(torch.tensor([[0.5, -0.5]]), stds=0.5)
    found = ddim(one.exact_denoiser(SCHEDULE, predict="v"), x, schedule=SCHEDULE, num_steps=1000, predict="v")
    assert_close(found, 0.5 * x + torch.tensor([0.5, -0.5]), rtol=0, atol=0.01)


def test_ddim_with_all_its_noise_is_ancestral():
    options = {"schedule": linear_schedule(), "num_steps": 25, "clip": 1.0, "path": True}
    one = ancestral(wavy, SHAPE, generator=seeded(), **options)
    other = ddim(wavy, SHAPE, generator=seeded(), eta=1.0, **options)
    assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_one_step_of_ddim_is_the_guess_itself():
    x = torch.randn(SHAPE, generator=seeded())
    schedule = linear_schedule()
    assert_close(ddim(wavy, x, schedule=schedule, num_steps=1, predict="x0"), wavy(x, torch.ones(5)), **EXACT)
    guess = ddim(wavy, x, schedule=schedule, num_steps=1, predict="x0", clip=0.5)
    assert_close(guess, wavy(x, torch.ones(5)).clamp(-0.5, 0.5), **EXACT)


ENDS_IN_NOISE = NoiseSchedule(torch.tensor([1.0, 0.7, 0.3, 0.0]))


def test_a_schedule_that_ends_in_pure_noise_works_with_v_and_x0():
    """The first step knows no more than the guess; v and x0 say the same, so all later states are the same too."""
    x = torch.randn(SHAPE, generator=seeded(), dtype=torch.float64)
    options = {"schedule": ENDS_IN_NOISE, "num_steps": 3, "path": True}

    def v(x, time):
        return convert(wavy(x, time), x, ENDS_IN_NOISE.steps(time), ENDS_IN_NOISE, of="x0", to="v")

    for sampler in (ddim, ancestral):
        by_x0 = sampler(wavy, x, generator=seeded(), predict="x0", **options)
        by_v = sampler(v, x, generator=seeded(), predict="v", **options)
        assert_close(by_v, by_x0, rtol=1e-12, atol=1e-12)
    first = ddim(wavy, x, predict="x0", **options)[1]
    assert_close(first, 0.3**0.5 * wavy(x, torch.ones(5)) + 0.7**0.5 * x, rtol=1e-7, atol=1e-7)  # 0.3 came in float32


CALLS = {
    "ancestral": lambda start, **o: ancestral(wavy, start, schedule=SCHEDULE, num_steps=5, predict="v", **o),
    "ddim": lambda start, **o: ddim(wavy, start, schedule=SCHEDULE, num_steps=5, predict="v", **o),
    "euler": lambda start, **o: flow_euler(wavy, start, num_steps=5, **o),
    "heun": lambda start, **o: flow_heun(wavy, start, num_steps=5, **o),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_path_ends_in_the_sample_and_the_seed_decides(call):
    state = torch.get_rng_state()
    sample, path = call(SHAPE, generator=seeded()), call(SHAPE, generator=seeded(), path=True)
    assert path.shape == (6, *SHAPE)
    assert_close(path[-1], sample, **EXACT)
    assert_close(path[0], torch.randn(SHAPE, generator=seeded()), **EXACT)
    assert not torch.isclose(call(SHAPE, generator=seeded(1)), sample).any()
    assert torch.equal(torch.get_rng_state(), state)
    assert not sample.requires_grad


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_noise_that_is_given_is_kept_as_it_is(call, dtype):
    x = torch.randn(SHAPE, generator=seeded(), dtype=dtype)
    before = x.clone()
    assert call(x, generator=seeded()).dtype == dtype
    assert_close(x, before, **EXACT)
    assert call(x[:0], generator=seeded()).shape == (0, *SHAPE[1:])


def test_models_learn_nothing_while_sampling():
    model = torch.nn.Linear(2, 2)
    flow_euler(lambda x, time: model(x), (3, 2), num_steps=2, generator=seeded())
    assert model.weight.grad is None
    assert torch.is_grad_enabled()


def test_steps_are_evenly_spaced_and_end_clean():
    assert sampling_steps(linear_schedule(1000), 3) == [1000, 667, 333, 0]
    assert sampling_steps(linear_schedule(50), 50) == list(range(50, -1, -1))
    for num_steps in range(1, 51):
        steps = sampling_steps(linear_schedule(50), num_steps)
        assert sorted(set(steps), reverse=True) == steps
        assert len(steps) == num_steps + 1


G = seeded()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ddim(wavy, SHAPE, schedule=SCHEDULE, num_steps=1001, generator=G),
            "from 1 to the schedule's 1000, got",
        ),
        (lambda: ancestral(wavy, SHAPE, schedule=SCHEDULE, num_steps=0, generator=G), "got 0"),
        (lambda: ancestral(wavy, SHAPE, schedule=SCHEDULE, variance="learned", generator=G), "got 'learned'"),
        (lambda: ddim(wavy, SHAPE, schedule=SCHEDULE, num_steps=2, generator=G, predict="eps"), "got 'eps'"),
        (lambda: ddim(wavy, SHAPE, schedule=SCHEDULE, num_steps=2, generator=G, eta=1.5), "eta must be .* got 1.5"),
        (lambda: ddim(wavy, SHAPE, schedule=SCHEDULE, num_steps=2, generator=G, clip=0), "clip must be .* got 0"),
        (lambda: ddim(wavy, torch.ones(SHAPE), schedule=SCHEDULE, num_steps=2, eta=0.5), "eta=0.5 adds fresh noise"),
        (lambda: ddim(wavy, SHAPE, schedule=SCHEDULE, num_steps=2), r"start is the shape \(5, 1, 3, 3\): give a gen"),
        (lambda: flow_euler(wavy, torch.ones(4), num_steps=2), r"start must be noise .* got a torch.float32 tensor"),
        (lambda: flow_euler(wavy, torch.ones(4, 2, dtype=torch.int64), num_steps=2), "got a torch.int64 tensor"),
        (lambda: flow_euler(wavy, SHAPE, num_steps=0, generator=G), "num_steps must be at least 1, got 0"),
        (
            lambda: flow_heun(wavy, SHAPE, num_steps=1, generator=G, shift=-1.0),
            "shift must be positive and finite, got -1.0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

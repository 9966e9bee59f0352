"""What samplers do with the model that they ask: its mode, its type, the shape of its answer, the random state."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.diffusion import NoiseSchedule, ancestral, cosine_schedule, ddim, flow_euler, flow_heun, guided
from course_lib.nn.time_mlp import TimeMLP

EXACT = {"rtol": 0, "atol": 0}
SCHEDULE = cosine_schedule(20)
SAMPLERS = {
    "ancestral": lambda model, start, **o: ancestral(model, start, schedule=SCHEDULE, predict="v", **o),
    "ddim": lambda model, start, **o: ddim(model, start, schedule=SCHEDULE, num_steps=20, predict="v", **o),
    "euler": lambda model, start, **o: flow_euler(model, start, num_steps=20, **o),
    "heun": lambda model, start, **o: flow_heun(model, start, num_steps=20, **o),
}
each_sampler = pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def trained(**options):
    """A model whose answer is not 0."""
    model = TimeMLP(2, width=16, **options, generator=seeded())
    nn.init.normal_(model.last.weight, std=0.1, generator=seeded())
    return model


class Dropping(nn.Module):
    """A model in training, with dropout, and one part that was frozen in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.dropout, self.model, self.recorded = nn.Dropout(0.5), trained(num_classes=3), []
        self.model.first.eval()

    def forward(self, x, time, labels=None):
        out = self.dropout(self.model(x, time, labels))
        self.recorded.append(out.requires_grad)
        return out


@each_sampler
@pytest.mark.parametrize("is_guided", [False, True])
def test_dropout_is_off_and_modes_and_random_state_are_as_before(sample, is_guided):
    model, x = Dropping(), torch.randn(4, 2, generator=seeded())
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    labels = torch.tensor([0, 1, 2, -1])
    asked, plain = (guided(m, labels, 1.5) if is_guided else m for m in (model, model.model))
    assert_close(sample(asked, x, generator=seeded()), sample(plain, x, generator=seeded()), **EXACT)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(model.recorded)
    assert torch.is_grad_enabled()


@each_sampler
def test_modes_and_gradients_come_back_after_an_error(sample):
    class Failing(nn.Module):
        def forward(self, x, time):
            raise KeyboardInterrupt

    model = Failing()
    with pytest.raises(KeyboardInterrupt):
        sample(model, (2, 2), generator=seeded())
    assert model.training
    assert torch.is_grad_enabled()


@each_sampler
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_is_asked_in_it_and_steps_are_added_up_in_float32(sample, dtype):
    """What differs from float32 is the rounding of the model: bfloat16 keeps 8 bits, 0.4 % an operation."""
    x = torch.randn(64, 2, generator=seeded()).to(dtype)
    found, full = sample(trained().to(dtype), x, generator=seeded()), sample(trained(), x.float(), generator=seeded())
    assert found.dtype == torch.float32
    assert (found - full).norm() < 0.01 * full.norm()
    still = sample(lambda x, time: torch.zeros_like(x), x, generator=seeded())
    exact = sample(lambda x, time: torch.zeros_like(x), x.float(), generator=seeded())
    assert_close(still, exact, **EXACT)


@each_sampler
def test_an_answer_of_another_shape_is_refused_though_it_would_broadcast(sample):
    for wrong in (lambda x, time: x[:, :1], lambda x, time: x.mean()):
        with pytest.raises(ValueError, match=r"must have one shape \(N, ...\).*got x \(3, 2\), prediction"):
            sample(wrong, (3, 2), generator=seeded())


@pytest.mark.parametrize("sampler", [ancestral, ddim])
def test_epsilon_is_refused_where_it_says_nothing_of_the_data(sampler):
    schedule = NoiseSchedule(torch.tensor([1.0, 0.5, 0.0]))
    with pytest.raises(ValueError, match=r"ends in nothing but noise, .* predict='v' or 'x0'"):
        sampler(trained(), (2, 2), schedule=schedule, num_steps=2, generator=seeded(), predict="epsilon")


def test_noise_is_never_drawn_from_the_global_state():
    for call in (
        lambda: ancestral(trained(), torch.zeros(2, 2), schedule=SCHEDULE, generator=None),
        lambda: ddim(trained(), torch.zeros(2, 2), schedule=SCHEDULE, num_steps=2, eta=0.5),
    ):
        with pytest.raises(ValueError, match="adds fresh noise at every step: give a generator"):
            call()


@each_sampler
def test_a_shape_without_rows_of_numbers_is_refused(sample):
    with pytest.raises(ValueError, match=r"start must be a shape \(N, ...\) .* got \(3,\)"):
        sample(lambda x, time: x, (3,), generator=seeded())

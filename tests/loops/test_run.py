"""The update's promises: exact for any cut of the batch, as a bare torch loop, and what it refuses."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Loss, Run, backprop, classification, regression

EXACT = {"rtol": 0, "atol": 0}


def cut(batch, sizes):
    return list(zip(*(tensor.split(sizes) for tensor in batch), strict=True))


def slow_classification(model, x, y):
    """Mean of minus log softmax at the label, one target at a time; also how many were right."""
    losses, right = [], 0
    for row, label in zip(x, y, strict=True):
        if label == -100:
            continue
        scores = model(row[None])[0]
        losses.append(-(scores[label] - scores.exp().sum().log()))
        right += int(scores.argmax() == label)
    return torch.stack(losses).mean(), right / len(losses)


@pytest.mark.parametrize("sizes", [[12], [6, 6], [1, 4, 7], [5, 3, 2, 1, 1]])
def test_ragged_micro_batches_equal_the_whole(sizes, ragged_batch, small_model, make_run):
    """The first five rows hold no target at all: a cut of only those must not divide by zero either."""
    oracle = small_model()
    loss, accuracy = slow_classification(oracle, *ragged_batch)
    gradients = torch.autograd.grad(loss, list(oracle.parameters()))
    run = make_run(small_model())
    step = run.step(*cut(ragged_batch, sizes))
    close = {"rtol": 1e-12, "atol": 1e-14}  # float64, sums in another order
    assert_close(step.loss, loss, **close)
    assert step.count == 7
    assert_close(step.metrics["accuracy"], torch.tensor(accuracy, dtype=torch.float64), **close)
    for parameter, gradient in zip(run.model.parameters(), gradients, strict=True):
        assert_close(parameter.grad, gradient, **close)
    assert_close(step.grad_norm, torch.sqrt(sum(gradient.square().sum() for gradient in gradients)), **close)


def test_a_count_that_stays_on_the_device_gives_the_same_update(ragged_batch, make_run, state):
    def counted_there(model, batch):
        loss = classification(model, batch)
        return Loss(loss.total, (batch[1] != -100).sum(), loss.metrics)

    here, there = make_run(), make_run(objective=counted_there)
    for run in (here, there):
        step = run.step(*cut(ragged_batch, [3, 9]))
    assert isinstance(step.count, torch.Tensor)
    assert int(step.count) == 7
    assert_close(state(there), state(here), **EXACT)


def test_gradients_left_by_another_run_do_not_count(ragged_batch, make_run, state):
    disturbed, alone = make_run(), make_run()
    for parameter in disturbed.model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    disturbed.step(ragged_batch)
    alone.step(ragged_batch)
    assert_close(state(disturbed), state(alone), **EXACT)


OPTIMIZERS = [
    (torch.optim.SGD, {"lr": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (torch.optim.Adam, {"lr": 0.01}),
    (torch.optim.AdamW, {"lr": 0.01, "fused": True}),
]


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
def test_equals_a_bare_torch_loop_bit_for_bit(optimizer, options, batches, norm_model, state):
    """With 32 targets dividing by the count is exact, so that mean and sum give the same bits."""
    model = norm_model()
    run = Run(model, classification, optimizer(model.parameters(), **options))
    torch.manual_seed(5)
    losses = [run.step(batch).loss for batch in batches(20)]

    bare = norm_model()
    updates = optimizer(bare.parameters(), **options)
    torch.manual_seed(5)  # for dropout
    for (x, y), loss_of_run in zip(batches(20), losses, strict=True):
        updates.zero_grad()
        loss = F.cross_entropy(bare(x), y)
        loss.backward()
        updates.step()
        assert_close(loss_of_run, loss.detach(), rtol=1e-6, atol=0)  # read only, summed in another order
    assert_close(state(run), state(Run(bare, classification, updates)), **EXACT)


def test_equals_a_bare_torch_loop_closely_for_any_count(batches, small_model, make_run):
    """27 is no power of two: dividing the sum's gradient rounds otherwise than the mean does, 6e-8 relative a time."""
    run, bare = make_run(small_model(dtype=torch.float32)), small_model(dtype=torch.float32)
    updates = torch.optim.SGD(bare.parameters(), lr=0.1)
    for x, y in batches(20, rows=27):
        run.step((x, y))
        updates.zero_grad()
        F.cross_entropy(bare(x), y).backward()
        updates.step()
    assert_close(run.model.state_dict(), bare.state_dict(), rtol=1e-5, atol=1e-6)


FUSED = [
    (torch.optim.SGD, {"momentum": 0.9}),
    (torch.optim.Adam, {}),
    (torch.optim.AdamW, {}),
    (torch.optim.Adagrad, {}),
]


@pytest.mark.parametrize(("optimizer", "options"), FUSED)
@pytest.mark.parametrize("limit", [math.inf, 0.01])
def test_a_fused_optimizer_divides_to_the_same_bits(optimizer, options, limit, batches, small_model, state):
    """It takes the divisor along in its own pass; a hook before the step, which may read gradients, finds them divided.

    So the run with a hook divides by itself; both leave divided gradients behind, and nothing on the optimizer.
    """
    seen, models = [], [small_model(dtype=torch.float32) for _ in range(2)]
    updates = [optimizer(model.parameters(), lr=0.01, fused=True, **options) for model in models]
    runs = [Run(*pair, max_grad_norm=limit) for pair in zip(models, [classification] * 2, updates, strict=True)]
    runs[1].optimizer.register_step_pre_hook(lambda *_: seen.append(grads(runs[1])))
    for batch in batches(5, rows=27):
        for run in runs:
            run.step(batch)
        assert_close(grads(runs[0]), grads(runs[1]), **EXACT)
        assert_close(grads(runs[0]), seen.pop(), **EXACT)
    assert_close(state(runs[0]), state(runs[1]), **EXACT)
    assert not hasattr(runs[0].optimizer, "grad_scale")


def grads(run):
    return [parameter.grad.clone() for parameter in run.model.parameters()]


def test_two_runs_of_a_gan_do_not_disturb_one_another(batches):
    """By hand each player's gradient comes from autograd.grad, which can leave nothing behind for the other."""

    def players():
        torch.manual_seed(0)
        return nn.Linear(5, 5), nn.Linear(5, 1)

    def judge(critic, batch):
        real, noise = batch
        return regression(critic, (torch.cat([real, generator(noise).detach()]), goal))

    def deceive(generator, noise):
        return regression(nn.Sequential(generator, critic), (noise, torch.ones(32, 1)))

    goal = torch.cat([torch.ones(32, 1), torch.zeros(32, 1)])
    pairs = [(real, noise) for (real, _), (noise, _) in zip(batches(10), batches(10, seed=1), strict=True)]

    generator, critic = players()
    run_critic = Run(critic, judge, torch.optim.Adam(critic.parameters(), lr=0.02))
    run_generator = Run(generator, deceive, torch.optim.SGD(generator.parameters(), lr=0.1, momentum=0.5))
    for real, noise in pairs:
        run_critic.step((real, noise))
        run_generator.step(noise)

    by_hand, critic = players()
    updates = (
        torch.optim.Adam(critic.parameters(), lr=0.02),
        torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.5),
    )
    for real, noise in pairs:
        for player, update in zip((critic, by_hand), updates, strict=True):
            if player is critic:
                loss = (critic(torch.cat([real, by_hand(noise).detach()])) - goal).square().mean()
            else:
                loss = (critic(by_hand(noise)) - 1).square().mean()
            gradients = torch.autograd.grad(loss, list(player.parameters()))
            for parameter, gradient in zip(player.parameters(), gradients, strict=True):
                parameter.grad = gradient
            update.step()
    assert_close(run_critic.model.state_dict(), critic.state_dict(), **EXACT)
    assert_close(generator.state_dict(), by_hand.state_dict(), **EXACT)


def test_clipping_leaves_small_gradients_alone(ragged_batch, make_run, state):
    free = make_run()
    length = free.step(ragged_batch).grad_norm.item()
    clipped = make_run(max_grad_norm=length * 1.01)
    clipped.step(ragged_batch)
    assert_close(state(clipped), state(free), **EXACT)


def test_clipping_shortens_long_gradients_to_the_maximum(ragged_batch, make_run):
    """The direction stays; torch adds 1e-6 to the length it divides by, hence the tolerance."""
    free, clipped = make_run(), make_run(max_grad_norm=0.01)
    length, reported = (run.step(ragged_batch).grad_norm for run in (free, clipped))
    assert length > 0.1
    assert_close(reported, length, **EXACT)  # the step tells the length before clipping
    for ours, whole in zip(clipped.model.parameters(), free.model.parameters(), strict=True):
        assert_close(ours.grad, whole.grad * (0.01 / length), rtol=1e-5, atol=0)


def sharpness_aware(model, objective, micro_batches, radius=0.05):
    """Foret et al. 2021: the gradient from a point uphill; written as the replaceable ``gradients`` of a Run."""
    backprop(model, objective, micro_batches)
    parameters = list(model.parameters())
    home = [parameter.detach().clone() for parameter in parameters]
    length = torch.sqrt(sum(parameter.grad.square().sum() for parameter in parameters))
    with torch.no_grad():
        for parameter in parameters:
            parameter += radius * parameter.grad / length
            parameter.grad = None
    losses = backprop(model, objective, micro_batches)
    with torch.no_grad():
        for parameter, value in zip(parameters, home, strict=True):
            parameter.copy_(value)
    return losses


def test_another_way_to_the_gradient_can_be_put_in(ragged_batch, small_model, make_run):
    run = make_run(small_model(), gradients=sharpness_aware)
    x, y = ragged_batch
    by_hand = small_model()
    for _ in range(3):
        run.step(*cut(ragged_batch, [2, 10]))
        weights = dict(by_hand.named_parameters())
        first = torch.autograd.grad(F.cross_entropy(by_hand(x), y), list(weights.values()))
        length = torch.cat([gradient.flatten() for gradient in first]).norm()
        uphill = {name: w + 0.05 * g / length for (name, w), g in zip(weights.items(), first, strict=True)}
        loss = F.cross_entropy(torch.func.functional_call(by_hand, uphill, (x,)), y)
        second = torch.autograd.grad(loss, list(uphill.values()))
        with torch.no_grad():
            for weight, gradient in zip(weights.values(), second, strict=True):
                weight -= 0.1 * gradient
    assert_close(run.model.state_dict(), by_hand.state_dict(), rtol=1e-12, atol=1e-13)


def test_actions_come_after_each_update_that_was_made(ragged_batch, make_run):
    seen = []

    def note(run):
        seen.append((run.index, run.model[0].weight.detach().clone()))

    run = make_run(after_step=[note, lambda run: run.model[0].weight.data.clamp_(-0.1, 0.1)])
    x, y = ragged_batch
    run.step(ragged_batch)
    with pytest.raises(RuntimeError):
        run.step((x * math.nan, y))
    run.step(ragged_batch)
    assert [index for index, _ in seen] == [1, 2]
    assert seen[0][1].abs().max() > 0.1  # the first action saw the update before the second changed it
    assert run.model[0].weight.abs().max() <= 0.1


def coupled(model, batch):
    return Loss(model(batch[0]).square().mean(), None, {"rows": torch.tensor(1.0)})


def test_a_loss_that_couples_rows_is_taken_as_the_mean_it_is(ragged_batch, make_run):
    run = make_run(objective=coupled)
    step = run.step(ragged_batch)
    assert step.count == 1
    assert_close(step.loss, make_run().model(ragged_batch[0]).square().mean().detach(), **EXACT)


def uneven_metrics(model, batch):
    name = "few" if len(batch[0]) < 6 else "many"
    return Loss(model(batch[0]).square().sum(), 1, {name: torch.tensor(1.0)})


@pytest.mark.parametrize(
    ("objective", "sizes", "message"),
    [
        (coupled, [6, 6], "cannot be split into 2 micro-batches: use one larger batch"),
        (lambda model, batch: classification(model, (batch[0], batch[1] * 0 - 100)), [4, 8], "no targets in 2 batches"),
        (uneven_metrics, [5, 7], r"different metrics: \[\['few'\], \['many'\]\]"),
        (lambda model, batch: Loss(batch[0].sum().requires_grad_(), 1), [12], "no parameter of the optimizer got"),
        (classification, [], "step needs at least one batch"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_and_changes_nothing(objective, sizes, message, ragged_batch, make_run):
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    run = make_run(model, objective=objective)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        run.step(*(cut(ragged_batch, sizes) if sizes else []))
    assert_close(model.state_dict(), before, **EXACT)
    assert run.index == 0


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_a_maximum_norm_that_is_not_positive_is_refused(limit, make_run):
    with pytest.raises(ValueError, match="max_grad_norm must be positive"):
        make_run(max_grad_norm=limit)


def test_an_optimizer_with_nothing_to_change_is_refused(small_model, make_run):
    with pytest.raises(ValueError, match="nothing to train"):
        make_run(small_model().requires_grad_(False))

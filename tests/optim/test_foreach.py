"""What every optimizer promises: both forms alike, groups, skipped parameters, gradients left alone, refusals."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from course_lib.optim import LAMB, SGD, Adam, AdamW, Muon

exact = partial(assert_close, rtol=0, atol=0)


def test_both_forms_walk_the_same_way(case, trajectory):
    one, many = (trajectory(partial(case.build, foreach=foreach), case.shapes, steps=20) for foreach in (False, True))
    if case.name == "Muon":  # a batched product adds up in another order: a few units in the last place
        assert_close(many, one, rtol=0, atol=1e-13)
    else:
        exact(many, one)


def test_both_forms_walk_the_same_way_in_bfloat16(case, trajectory):
    shapes = (*case.shapes[:2], *case.shapes[3:])  # all different, so that Muon too multiplies matrices one by one
    one, many = (
        trajectory(partial(case.build, foreach=foreach), shapes, torch.bfloat16, steps=20) for foreach in (False, True)
    )
    exact(many, one)


@pytest.mark.parametrize("foreach", [False, True])
def test_groups_with_options_of_their_own_are_as_optimizers_of_their_own(case, foreach, make_walk):
    build, whole, parts = partial(case.build, foreach=foreach), make_walk(case.shapes), make_walk(case.shapes)
    slow, rest = {"lr": 0.001, "weight_decay": 0.3}, slice(2, None)
    together = build([{"params": whole.parameters[:2], **slow}, {"params": whole.parameters[rest]}])
    apart = [build(parts.parameters[:2], **slow), build(parts.parameters[rest])]
    for step in range(10):
        whole.go(together, step, step + 1)
        parts.set_gradients(step)
        for optimizer in apart:
            optimizer.step()
    exact(whole.parameters, parts.parameters)


@pytest.mark.parametrize("foreach", [False, True])
def test_what_has_no_gradient_stays_and_its_step_is_not_counted(case, foreach, make_walk):
    walk = make_walk(case.shapes)
    before = walk.parameters[2].detach().clone()
    optimizer = case.build(walk.parameters, foreach=foreach)
    for step in range(3):
        walk.set_gradients(step)  # none for the second parameter at step 2
        walk.parameters[2].grad = None
        optimizer.step()
    exact(walk.parameters[2].detach(), before)
    assert walk.parameters[2] not in optimizer.state
    if "step" in optimizer.state[walk.parameters[0]]:
        assert [optimizer.state[walk.parameters[index]]["step"] for index in (0, 1)] == [3, 2]


@pytest.mark.parametrize("foreach", [False, True])
def test_gradients_are_left_as_they_are(case, foreach, make_walk):
    walk = make_walk(case.shapes)
    optimizer = case.build(walk.parameters, foreach=foreach)
    for step in range(2):
        walk.set_gradients(step)
        kept = [parameter.grad.clone() for parameter in walk.parameters]
        optimizer.step()
        exact([parameter.grad for parameter in walk.parameters], kept)


def test_parameters_of_two_dtypes_do_not_disturb_each_other(case, make_walk):
    def mixed():
        wide, narrow = make_walk(case.shapes), make_walk(case.shapes, torch.float32, seed=1)
        return wide, narrow, wide.parameters + narrow.parameters

    wide, narrow, parameters = mixed()
    together = case.build(parameters)
    wide_alone, narrow_alone, _ = mixed()
    apart = [case.build(wide_alone.parameters), case.build(narrow_alone.parameters)]
    for step in range(5):
        for walk in (wide, narrow, wide_alone, narrow_alone):
            walk.set_gradients(step)
        for optimizer in (together, *apart):
            optimizer.step()
    exact(parameters, wide_alone.parameters + narrow_alone.parameters)


@pytest.mark.parametrize("foreach", [False, True])
def test_memory_layout_makes_no_difference(case, foreach, after, gradients_of):
    gradients = gradients_of((4, 6), steps=5)
    start = gradients_of((4, 6), steps=1, seed=2)[0]
    build = partial(case.build, foreach=foreach)
    plain = after(build, start, gradients)
    parameter = start.T.contiguous().T.requires_grad_()  # the same numbers, column by column
    optimizer = build([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    assert not parameter.is_contiguous()
    assert_close(parameter.detach(), plain, rtol=0, atol=1e-13)  # sums and products may go in another order


@pytest.mark.parametrize("foreach", [False, True])
def test_a_zero_gradient_moves_nothing_but_by_decay(case, foreach, after):
    start = torch.tensor([[1.0, -2.0], [3.0, 0.0]], dtype=torch.float64)
    build = partial(case.build, foreach=foreach, weight_decay=0.0)
    exact(after(build, start, torch.zeros(3, 2, 2, dtype=torch.float64)), start)


@pytest.mark.parametrize("foreach", [False, True])
def test_a_tiny_and_a_huge_gradient_do_not_break_it(case, foreach, after):
    build = partial(case.build, foreach=foreach)
    for size in (1e-38, 1e18):  # their squares leave, or nearly leave, what float32 can hold
        moved = after(build, torch.ones(3, 3), torch.full((2, 3, 3), size))
        assert moved.isfinite().all()
        assert (moved <= 1).all()  # against the gradient, or not at all


def test_the_closure_is_called_once_with_gradients_on():
    weight = torch.tensor([3.0], requires_grad=True)
    optimizer, calls = SGD([weight], lr=0.5), []

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = (weight**2).sum() / 2
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.5
    assert calls == [True]
    assert weight.item() == 1.5
    assert optimizer.step() is None


def test_torchs_schedulers_steer_it():
    weight = torch.zeros(1, requires_grad=True)
    optimizer = SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    for _ in range(3):
        weight.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
    assert weight.item() == -1.75
    SGD([weight]).load_state_dict(optimizer.state_dict())  # initial_lr, which the scheduler adds, is no obstacle


def test_a_group_added_later_is_complete_and_the_callers_dict_untouched():
    first, second = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = Adam([first], lr=0.5, betas=[0.8, 0.9])
    group = {"params": [second], "name": "second"}
    optimizer.add_param_group(group)
    assert group == {"params": [second], "name": "second"}
    assert optimizer.param_groups[1]["betas"] == [0.8, 0.9]
    optimizer.param_groups[1]["betas"][0] = 0.0
    assert optimizer.param_groups[0]["betas"] == [0.8, 0.9]


def test_a_refused_group_is_not_added():
    optimizer = SGD([torch.zeros(1, requires_grad=True)])
    with pytest.raises(ValueError, match="SGD: lr must be"):
        optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": -1})
    assert len(optimizer.param_groups) == 1


def test_a_sparse_gradient_is_refused_before_anything_moves():
    table = torch.nn.Embedding(5, 3, sparse=True)
    other = torch.ones(1, requires_grad=True)
    optimizer = SGD([{"params": [other]}, {"params": table.parameters()}], lr=1.0)
    (table(torch.tensor([1, 2])).sum() + other.sum()).backward()
    with pytest.raises(ValueError, match=r"SGD cannot use a sparse gradient \(torch.sparse_coo, shape \(5, 3\)\)"):
        optimizer.step()
    assert other.item() == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, lr=-0.1), r"SGD: lr must be a Python number in \[0, inf\), got -0.1; usual is"),
        (lambda p: SGD(p, lr=float("nan")), "lr must be a Python number .* got nan"),
        (lambda p: SGD(p, lr=torch.tensor(0.1)), r"lr must be a Python number .* got tensor\(0.1000\)"),
        (lambda p: SGD(p, lr=True), "lr must be a Python number .* got True"),
        (lambda p: AdamW(p, weight_decay=-1), "AdamW: weight_decay must be .* got -1; usual is 0 to 0.1"),
        (lambda p: Adam([{"params": p, "learning_rate": 0.1}]), r"Adam has no option \['learning_rate'\]; it knows"),
        (
            lambda p: LAMB([torch.zeros(2, 3, dtype=torch.complex64, requires_grad=True)]),
            r"LAMB works on real.*\(2, 3\)",
        ),
        (lambda p: SGD(p + p), "a parameter is in its param group twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_bad_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make([torch.zeros(2, 2, requires_grad=True)])


def test_muon_refuses_vectors_in_later_groups_too():
    optimizer = Muon([torch.zeros(2, 2, requires_grad=True)])
    with pytest.raises(ValueError, match=r"shape \(3,\): give biases"):
        optimizer.add_param_group({"params": [torch.zeros(3, requires_grad=True)]})

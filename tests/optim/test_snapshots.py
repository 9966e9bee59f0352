"""A snapshot of an optimizer loses nothing, is plain enough for files, and fits only what it was taken of."""

import copy
import json
from functools import partial

import pytest
import safetensors.torch
import torch
from torch.testing import assert_close

from course_lib.optim import LAMB, SGD, Adafactor, Adam, AdamW, RMSProp

exact = partial(assert_close, rtol=0, atol=0)


def through_files(state_dict):
    """Tensors through safetensors, the rest through JSON, as bytes; what JSON does to keys stays done."""
    tensors = {
        f"{index}.{name}": value
        for index, state in state_dict["state"].items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    rest = {
        index: {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}
        for index, state in state_dict["state"].items()
    }
    as_text = json.dumps({"state": rest, "param_groups": state_dict["param_groups"]})
    as_bytes = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    result = json.loads(as_text)
    for name, tensor in safetensors.torch.load(as_bytes).items():
        index, _, key = name.partition(".")
        result["state"][index][key] = tensor
    return result


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(("through", "at"), [(copy.deepcopy, 5), (through_files, 1), (through_files, 5)])
def test_a_restored_optimizer_goes_on_with_the_same_bits(case, foreach, at, through, make_walk):
    build = partial(case.build, foreach=foreach)
    never_stopped = make_walk(case.shapes)
    expected = never_stopped.go(build(never_stopped.parameters), stop=10)

    stopped = make_walk(case.shapes)
    first = build(stopped.parameters)
    stopped.go(first, stop=at)
    snapshot = through(first.state_dict())
    second = build(stopped.parameters)
    for group in second.param_groups:
        group["lr"] = 123.0  # must come from the snapshot
    second.load_state_dict(snapshot)
    exact(stopped.go(second, start=at, stop=10), expected[at:])


def test_state_is_plain_enough_for_json_and_safetensors(case, make_walk):
    walk = make_walk(case.shapes)
    optimizer = case.build(walk.parameters)
    walk.go(optimizer, stop=2)

    def kinds(value):
        if isinstance(value, dict | list):
            return set().union({type(value)}, *map(kinds, value.values() if isinstance(value, dict) else value))
        return {type(value)}

    assert kinds(optimizer.state_dict()) <= {dict, list, torch.Tensor, int, float, bool, str, type(None)}


def test_loading_leaves_the_snapshot_alone(case, make_walk):
    walk = make_walk(case.shapes)
    optimizer = case.build(walk.parameters)
    walk.go(optimizer, stop=3)
    snapshot = copy.deepcopy(optimizer.state_dict())
    kept = copy.deepcopy(snapshot)
    optimizer.load_state_dict(snapshot)
    walk.go(optimizer, start=3, stop=6)
    exact(snapshot["state"], kept["state"])


@pytest.mark.parametrize("optimizer_class", [RMSProp, Adam, AdamW, Adafactor, LAMB])
def test_step_is_not_rounded_by_the_dtype_of_the_parameters(optimizer_class):
    weight = torch.zeros(2, dtype=torch.bfloat16, requires_grad=True)
    optimizer = optimizer_class([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    state = optimizer.state_dict()
    state["state"][0]["step"] = 257  # bfloat16 would make it 256
    optimizer.load_state_dict(state)
    optimizer.step()
    assert optimizer.state[weight]["step"] == 258


def test_a_copy_walks_on_by_itself(case, make_walk):
    walk = make_walk(case.shapes)
    walk.optimizer = case.build(walk.parameters)
    walk.go(walk.optimizer, stop=3)
    twin = copy.deepcopy(walk)
    exact(twin.go(twin.optimizer, start=3, stop=8), walk.go(walk.optimizer, start=3, stop=8))


def state_of(build, shape=(2, 3)):
    weight = torch.zeros(shape, requires_grad=True)
    optimizer = build([weight])
    weight.grad = torch.ones(shape)
    optimizer.step()
    return optimizer.state_dict()


def changed(state, **entries):
    state["state"][0] |= entries
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            state_of(SGD),
            r"not of Adam: options \['betas', 'eps'\] are missing and \['dampening', 'momentum', 'nesterov'\]",
        ),
        (
            state_of(Adam, (3, 2)),
            r"parameter 0, of shape \(2, 3\), must hold a tensor of shape \(2, 3\) as 'exp_avg', got a",
        ),
        (changed(state_of(Adam), step=1.5), "must hold one int as 'step', got one float"),
        (changed(state_of(Adam), exp_avg_sq=None), "as 'exp_avg_sq', got one NoneType"),
        (changed(state_of(Adam), more=1), r"must hold \['exp_avg', 'exp_avg_sq', 'step'\], got .*'more'"),
        ({**state_of(Adam), "state": {"7": {}, "weight": {}}}, r"entries \['7', 'weight'\] that are in no param group"),
        (
            state_of(lambda p: Adam([{"params": p}, {"params": [torch.zeros(1, requires_grad=True)]}])),
            "number of param",
        ),
    ],
)
def test_the_state_of_something_else_is_refused_and_changes_nothing(state, message):
    weight = torch.zeros(2, 3, requires_grad=True)
    optimizer = Adam([weight])
    weight.grad = torch.ones(2, 3)
    optimizer.step()
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    exact(optimizer.state_dict()["state"], before["state"])


def test_momentum_that_is_not_there_yet_may_be_loaded_as_none():
    weight = torch.zeros(2, requires_grad=True)
    optimizer = SGD([weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state[weight] == {"momentum_buffer": None}
    with pytest.raises(ValueError, match=r"a tensor of shape \(2,\) as 'momentum_buffer', got one int"):
        optimizer.load_state_dict(changed(optimizer.state_dict(), momentum_buffer=3))

"""The receptive field against the pixels that really reach an output, found by a gradient."""

import pytest
import torch
from torch import nn

from course_lib.nn import receptive_field

STACKS = [
    [(3, 1), (3, 1)],
    [(3, 1), (2, 2), (3, 1), (2, 2)],
    [(5, 2, 1), (3, 1, 2), (1, 1, 1), (2, 3, 4)],
    [(3, 1, 1), (3, 1, 2), (3, 1, 4), (3, 1, 8)],
    [(1, 3), (3, 1)],
]


@pytest.mark.parametrize("layers", STACKS)
def test_is_the_span_of_the_pixels_with_a_gradient(layers):
    stack = nn.Sequential(
        *(
            nn.Conv1d(1, 1, kernel, stride, dilation=dilation, bias=False)
            for kernel, stride, dilation in ((*layer, 1)[:3] for layer in layers)
        )
    )
    for layer in stack:
        nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 200, requires_grad=True)
    seen = torch.autograd.grad(stack(x)[0, 0, 2], x)[0].nonzero()[:, 2]
    assert receptive_field(layers) == seen.max() - seen.min() + 1


def test_values_known_by_thought():
    assert receptive_field([]) == 1
    assert receptive_field([(1, 1)] * 9) == 1
    assert receptive_field([(7, 2)]) == 7  # the first layer's stride is felt by the next only
    assert receptive_field([(3, 1)] * 10) == 21
    assert receptive_field([(3, 1, 2**depth) for depth in range(10)]) == 2**11 - 1
    assert receptive_field([(2, 2)] * 5) == 2**5


def test_a_layer_of_kernel_one_and_stride_one_changes_nothing():
    for layers in STACKS:
        for place in range(len(layers) + 1):
            assert receptive_field([*layers[:place], (1, 1), *layers[place:]]) == receptive_field(layers)


def test_a_generator_of_layers_is_taken_too():
    assert receptive_field(layer for layer in STACKS[0]) == 5


@pytest.mark.parametrize("layer", [(3,), (3, 1, 1, 1), (0, 1), (3, 0), (3, 1, -1)])
def test_bad_layers_are_named(layer):
    with pytest.raises(ValueError, match=f"got \\({layer[0]}"):
        receptive_field([(3, 1), layer])

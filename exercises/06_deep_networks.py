"""Exercises 06.1 and 06.2: the scale of a layer's first weights, and how far a unit sees."""

from __future__ import annotations

import math

from course_lib.study.exercises import Case, Exercise


def initial_std(shape, kind):
    """Return the standard deviation of a layer's weights under He's or Xavier's initialisation."""
    outputs, inputs, *kernel = shape
    positions = math.prod(kernel)
    if kind == "he":
        return math.sqrt(2 / (inputs * positions))
    return math.sqrt(2 / ((inputs + outputs) * positions))


def _std_oracle(shape, kind):
    fan_in, fan_out = shape[1], shape[0]
    for size in shape[2:]:
        fan_in, fan_out = fan_in * size, fan_out * size
    variance = 2 / fan_in if kind == "he" else 2 / (fan_in + fan_out)
    return variance**0.5


def _draw_shape(rng):
    kernel = rng.integers(1, 6, rng.integers(0, 4))
    return tuple(int(n) for n in (*rng.integers(1, 300, 2), *kernel)), str(rng.choice(["he", "xavier"]))


def _explain_std(case, expected, got):
    factor = float(got) / float(expected)
    return f"your standard deviation is {factor:.4g} times the right one, your variance {factor**2:.4g} times"


def _variance(shape, kind):
    return initial_std(shape, kind) ** 2


def _forgets_the_kernel(shape, kind):
    return initial_std(shape[:2], kind)


def _outputs_for_inputs(shape, kind):
    outputs, inputs, *kernel = shape
    return initial_std((inputs, outputs, *kernel), kind)


def _he_without_the_two(shape, kind):
    return initial_std(shape, kind) / (math.sqrt(2) if kind == "he" else 1)


def _xavier_without_the_two(shape, kind):
    return initial_std(shape, kind) / (math.sqrt(2) if kind == "xavier" else 1)


def _square_kernels_only(shape, kind):
    outputs, inputs, *kernel = shape
    return initial_std((outputs, inputs, *[kernel[0]] * len(kernel)) if kernel else shape, kind)


def _kernel_for_inputs_only(shape, kind):
    outputs, inputs, *kernel = shape
    fan_in = inputs * math.prod(kernel)
    return math.sqrt(2 / fan_in) if kind == "he" else math.sqrt(2 / (fan_in + outputs))


def field_and_step(layers):
    """Return the receptive field of one output, and how far apart the fields of two neighbours lie."""
    field = step = 1
    for kernel, stride in layers:
        field += (kernel - 1) * step
        step *= stride
    return field, step


def _field_oracle(layers):
    def first_and_last(output):
        """The input pixels that one output reaches, followed back layer by layer."""
        first = last = output
        for kernel, stride in reversed(layers):
            first, last = first * stride, last * stride + kernel - 1
        return first, last

    (first, last), (next_first, _) = first_and_last(0), first_and_last(1)
    return last - first + 1, next_first - first


def _draw_layers(rng):
    return ([(int(rng.integers(1, 6)), int(rng.integers(1, 4))) for _ in range(rng.integers(1, 6))],)


def _explain_field(case, expected, got):
    names = ("receptive field", "distance")
    wrong = [name for name, e, g in zip(names, expected, got, strict=True) if e != g]
    return f"for the layers {case.args[0]} it is the {' and the '.join(wrong)} that is off"


def _ignores_strides(layers):
    return 1 + sum(kernel - 1 for kernel, _ in layers), field_and_step(layers)[1]


def _adds_the_kernels(layers):
    return sum(kernel for kernel, _ in layers), field_and_step(layers)[1]


def _own_stride_first(layers):
    field = step = 1
    for kernel, stride in layers:
        step *= stride
        field += (kernel - 1) * step
    return field, step


def _multiplies_kernels(layers):
    return math.prod(kernel for kernel, _ in layers), field_and_step(layers)[1]


def _adds_the_strides(layers):
    return field_and_step(layers)[0], max(1, sum(stride for _, stride in layers))


def _from_the_output(layers):
    return field_and_step(layers[::-1])


EXERCISES = (
    Exercise(
        id="06.1",
        title="How wide to draw",
        difficulty=1,
        minutes=10,
        solution=initial_std,
        cases=_draw_shape,
        oracle=_std_oracle,
        edge_cases=(
            Case(((64, 256), "he"), note="a linear layer"),
            Case(((256, 64), "xavier"), note="a linear layer"),
            Case(((32, 16, 3, 3), "he"), note="a 3x3 convolution"),
            Case(((32, 16, 1, 7), "xavier"), note="a kernel that is not square"),
            Case(((8, 4, 5), "he"), note="a convolution in one dimension"),
        ),
        explain=_explain_std,
        hints=(
            "First the fans: how many numbers does one output sum over, and how many does one input reach?",
            "`outputs, inputs, *kernel = shape`, and `math.prod(kernel)` is the number of positions (1 for a linear "
            "layer). Both fans are multiplied by it.",
            "He's variance is 2 / fan_in, Xavier's 2 / (fan_in + fan_out). The standard deviation is the root.",
        ),
        wrong={
            "returns the variance": _variance,
            "forgets the kernel": _forgets_the_kernel,
            "takes outputs for inputs": _outputs_for_inputs,
            "loses He's factor 2": _he_without_the_two,
            "loses Xavier's factor 2": _xavier_without_the_two,
            "takes every kernel for square": _square_kernels_only,
            "counts the kernel for the inputs only": _kernel_for_inputs_only,
        },
    ),
    Exercise(
        id="06.2",
        title="How far a unit sees",
        difficulty=2,
        minutes=15,
        solution=field_and_step,
        cases=_draw_layers,
        oracle=_field_oracle,
        edge_cases=(
            Case(([],), note="no layer at all"),
            Case(([(3, 1), (3, 1)],), note="two 3x3 convolutions"),
            Case(([(3, 1), (2, 2), (3, 1), (2, 2), (3, 1)],), note="the stack of section 7"),
            Case(([(7, 2), (3, 2), (3, 1), (3, 1)],), note="the beginning of a ResNet for photographs"),
        ),
        explain=_explain_field,
        hints=(
            "Go through the layers with two numbers, both 1 at first: how much is seen, and how far apart neighbours "
            "are.",
            "A kernel of k adds k - 1 more neighbours of the layer before, and those lie `step` input pixels apart.",
            "`field += (kernel - 1) * step`, and only then `step *= stride`: a stride spreads what comes after it.",
        ),
        wrong={
            "ignores the strides": _ignores_strides,
            "adds the kernels": _adds_the_kernels,
            "lets a stride act on its own kernel": _own_stride_first,
            "multiplies the kernels": _multiplies_kernels,
            "adds the strides": _adds_the_strides,
            "goes from the output to the input": _from_the_output,
        },
    ),
)

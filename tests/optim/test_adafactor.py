"""Adafactor against torch, against the formula read aloud, and against what thought alone says."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from course_lib.optim import Adafactor

VARIANTS = [
    {},
    {"lr": 0.05, "weight_decay": 0.1},
    {"lr": 2.0, "eps": (1e-3, 0.5), "beta2_decay": -0.5, "d": 1.5},  # a rate above 1 / sqrt(t): that one rules
]


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("foreach", [False, True])
def test_torch_walks_the_same_way(options, foreach, trajectory):
    found = trajectory(partial(Adafactor, foreach=foreach, **options))
    assert_close(found, trajectory(partial(torch.optim.Adafactor, **options)), rtol=0, atol=1e-10)


def slow(theta, gradients, lr, beta2_decay, eps1, eps2, d, decay):
    """One matrix as lists of lists, one number at a time."""
    n, m = len(theta), len(theta[0])
    row, column = [0.0] * n, [0.0] * m

    def rms(matrix):
        return math.sqrt(sum(value**2 for line in matrix for value in line) / (n * m))

    for t, gradient in enumerate(gradients, start=1):
        beta = 1 - t**beta2_decay
        size = max(eps2, rms(theta)) * min(lr, 1 / math.sqrt(t))
        theta = [[value - lr * decay * value for value in line] for line in theta]
        for i in range(n):
            row[i] = beta * row[i] + (1 - beta) * sum(gradient[i][j] ** 2 for j in range(m)) / m
        for j in range(m):
            column[j] = beta * column[j] + (1 - beta) * sum(gradient[i][j] ** 2 for i in range(n)) / n
        floor = max(sum(row) / n, eps1)
        update = [
            [gradient[i][j] / max(math.sqrt(row[i] * column[j] / floor), eps1) for j in range(m)] for i in range(n)
        ]
        cut = max(1, rms(update) / d)
        theta = [[theta[i][j] - size * update[i][j] / cut for j in range(m)] for i in range(n)]
    return theta


def test_the_formula_read_aloud(after, gradients_of):
    gradients = gradients_of((2, 3), steps=20)
    gradients[7] *= 100  # so that an update is cut
    start = gradients_of((2, 3), steps=1, seed=5)[0]
    build = partial(Adafactor, lr=0.1, beta2_decay=-0.7, eps=(1e-4, 1e-2), d=1.2, weight_decay=0.2)
    expected = slow(start.tolist(), gradients.tolist(), 0.1, -0.7, 1e-4, 1e-2, 1.2, 0.2)
    assert_close(after(build, start, gradients), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_squares_of_rank_one_are_remembered_exactly(after):
    rows, columns = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, -4.0])
    gradient = torch.outer(rows, columns).double()[None]
    moved = after(partial(Adafactor, lr=0.5), torch.ones(3, 2, dtype=torch.float64), gradient)
    assert_close(moved, 1 - 0.5 * gradient[0].sign(), rtol=0, atol=1e-12)  # as if every number had its own


def test_an_update_far_longer_than_expected_is_cut(after):
    gradients = torch.tensor([[1.0], [100.0]], dtype=torch.float64)
    build = partial(Adafactor, lr=0.5, eps=(None, 1.0), d=1.0)
    start = torch.zeros(1, dtype=torch.float64)
    first = after(build, start, gradients[:1])
    assert_close(first, -0.5 * torch.ones(1, dtype=torch.float64), rtol=0, atol=1e-12)
    assert_close(after(build, start, gradients), 2 * first, rtol=0, atol=1e-12)  # rms 1 again, times 0.5, times eps2


def test_memory_is_a_row_and_a_column():
    weight = torch.zeros(4, 30, 50, requires_grad=True)
    optimizer = Adafactor([weight])
    weight.grad = torch.ones(4, 30, 50)
    optimizer.step()
    state = optimizer.state[weight]
    assert {key: tuple(value.shape) for key, value in state.items() if key != "step"} == {
        "row_var": (4, 30, 1),
        "col_var": (4, 1, 50),
    }


def test_shuffled_and_transposed_matrices_take_such_walks(after, gradients_of):
    build = partial(Adafactor, lr=0.1, weight_decay=0.1)
    start, gradients = gradients_of((3, 4), steps=1, seed=3)[0], gradients_of((3, 4), steps=10)
    expected = after(build, start, gradients)
    rows, columns = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 0, 2])
    shuffled = after(build, start[rows][:, columns], gradients[:, rows][:, :, columns])
    assert_close(shuffled, expected[rows][:, columns], rtol=0, atol=1e-13)  # sums go in another order
    assert_close(after(build, start.T, gradients.mT), expected.T, rtol=0, atol=1e-13)


def test_the_size_of_the_gradient_does_not_matter(after, gradients_of):
    start, gradients = gradients_of((3, 4), steps=1, seed=3)[0], gradients_of((3, 4), steps=10)
    assert torch.equal(after(Adafactor, start, 1024 * gradients), after(Adafactor, start, gradients))


@pytest.mark.parametrize("foreach", [False, True])
def test_a_row_without_gradient_stays(foreach, after):
    gradients = torch.tensor([[[0.0, 0.0], [1.0, -1.0]]] * 3)
    moved = after(partial(Adafactor, lr=0.1, foreach=foreach), torch.ones(2, 2), gradients)
    assert moved[0].tolist() == [1.0, 1.0]
    assert (moved[1] != 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 1e-3}, r"Adafactor: eps must be two numbers, got 0.001; usual is \(None, 1e-3\)"),
        ({"eps": (-1.0, 1e-3)}, r"Adafactor: eps\[0\] must be .* got -1.0"),
        ({"eps": (None, None)}, r"Adafactor: eps\[1\] must be .* got None"),
        ({"beta2_decay": 0.8}, "Adafactor: beta2_decay must be <= 0, got 0.8; usual is -0.8"),
        ({"d": 0.5}, "Adafactor: d must be >= 1, got 0.5; usual is 1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Adafactor([torch.zeros(1, requires_grad=True)], **options)

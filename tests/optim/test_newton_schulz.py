"""Newton-Schulz against the polynomial read aloud, against singular values, and against torch's own in bfloat16."""

import pytest
import torch
from torch.optim._muon import _zeropower_via_newtonschulz
from torch.testing import assert_close

from course_lib.optim import newton_schulz

USUAL, CONVERGENT = (3.4445, -4.7750, 2.0315), (1.875, -1.25, 0.375)
SHAPES = [(3, 3), (2, 5), (5, 2), (1, 4), (4, 1), (1, 1)]


def product(left, right):
    return [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*right, strict=True)] for row in left
    ]


def slow(matrix, steps, a, b, c, eps):
    """X <- a X + b (X X^T) X + c (X X^T)^2 X, with lists of lists, nothing transposed to save work."""
    norm = max(sum(value**2 for row in matrix for value in row) ** 0.5, eps)
    x = [[value / norm for value in row] for row in matrix]
    for _ in range(steps):
        transposed = [list(column) for column in zip(*x, strict=True)]
        cube = product(product(x, transposed), x)
        fifth = product(product(x, transposed), cube)
        sides = range(len(x)), range(len(x[0]))
        x = [[a * x[i][j] + b * cube[i][j] + c * fifth[i][j] for j in sides[1]] for i in sides[0]]
    return torch.tensor(x, dtype=torch.float64)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def draw(shape, generator):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("coefficients", [USUAL, CONVERGENT])
def test_the_polynomial_read_aloud(shape, steps, coefficients, generator):
    matrix = 10 * draw(shape, generator)
    found = newton_schulz(matrix, steps=steps, coefficients=coefficients)
    assert_close(found, slow(matrix.tolist(), steps, *coefficients, 1e-7), rtol=0, atol=1e-10)


def test_singular_values_come_near_1_and_directions_stay(generator):
    matrix = draw((20, 30), generator)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    assert (s / s.norm()).min() > 0.01
    out = newton_schulz(matrix)
    inside = u.T @ out @ v.T
    assert_close(inside - torch.diag(inside.diag()), torch.zeros(20, 20, dtype=torch.float64), rtol=0, atol=1e-12)
    assert inside.diag().min() > 0.68
    assert inside.diag().max() < 1.14


def test_the_promised_range_holds_for_every_singular_value_from_a_hundredth():
    for smallest in torch.linspace(0.01, 0.7, 40, dtype=torch.float64):
        other = (1 - smallest**2).sqrt()
        out = newton_schulz(torch.diag(torch.stack([smallest, other]))).diag()  # of length 1 already
        assert out.min() > 0.68
        assert out.max() < 1.14


def test_convergent_coefficients_give_the_polar_factor(generator):
    matrix = draw((4, 6), generator)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = newton_schulz(matrix, steps=30, coefficients=CONVERGENT)
    assert_close(found, u @ v, rtol=0, atol=1e-12)
    assert_close(found @ found.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_turning_the_space_turns_the_result(generator):
    matrix = draw((4, 6), generator)
    left, right = torch.linalg.qr(draw((4, 4), generator))[0], torch.linalg.qr(draw((6, 6), generator))[0]
    assert_close(newton_schulz(left @ matrix @ right), left @ newton_schulz(matrix) @ right, rtol=0, atol=1e-12)


def test_scale_does_not_matter_and_transposing_transposes(generator):
    matrix = draw((3, 5), generator)
    assert torch.equal(newton_schulz(1024 * matrix), newton_schulz(matrix))
    assert torch.equal(newton_schulz(-matrix), -newton_schulz(matrix))
    assert_close(newton_schulz(matrix.T), newton_schulz(matrix).T, rtol=0, atol=1e-14)


def test_a_zero_matrix_stays_and_a_tiny_one_is_divided_by_epsilon(generator):
    assert torch.equal(newton_schulz(torch.zeros(3, 4)), torch.zeros(3, 4))
    tiny = draw((2, 2), generator) * 1e-12
    expected = slow(tiny.tolist(), 5, *USUAL, 1e-7)
    assert expected.abs().max() < 0.1
    assert_close(newton_schulz(tiny), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [(7,), (2, 3)])
def test_a_batch_is_as_one_by_one(batch, generator):
    matrices = draw((*batch, 5, 4), generator)
    one_by_one = torch.stack([newton_schulz(matrix) for matrix in matrices.flatten(0, -3)]).view_as(matrices)
    assert_close(newton_schulz(matrices), one_by_one, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_in_bfloat16_it_is_torchs_to_the_bit(shape, generator):
    matrix = draw(shape, generator).float()
    found = newton_schulz(matrix, dtype=torch.bfloat16)
    assert found.dtype == torch.float32
    assert torch.equal(found, _zeropower_via_newtonschulz(matrix, USUAL, 5, 1e-7).float())


def test_gradcheck(generator):
    matrix = draw((2, 3), generator).requires_grad_()
    assert torch.autograd.gradcheck(newton_schulz, (matrix,))


def test_the_input_is_left_alone(generator):
    matrix = draw((3, 2), generator)
    kept = matrix.clone()
    newton_schulz(matrix)
    assert torch.equal(matrix, kept)


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        (torch.ones(3), {}, r"needs a real \(..., rows, columns\), got torch.float32 of shape \(3,\)"),
        (torch.ones(3, 3, dtype=torch.int64), {}, "got torch.int64"),
        (torch.ones(3, 3, dtype=torch.complex64), {}, "got torch.complex64"),
        (torch.ones(3, 3), {"steps": 0}, "steps >= 1 and 3 coefficients, got 0"),
        (torch.ones(3, 3), {"coefficients": (1.5, -0.5)}, r"3 coefficients, got 5 and \(1.5, -0.5\)"),
    ],
)
def test_bad_input_is_named(matrix, options, message):
    with pytest.raises(ValueError, match=message):
        newton_schulz(matrix, **options)

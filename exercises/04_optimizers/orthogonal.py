"""Exercise 04.4: the orthogonal matrix nearest to a given one, by products alone."""

from __future__ import annotations

from contextlib import ExitStack
from unittest import mock

import numpy as np
from numpy.linalg import svd

from course_lib.study.exercises import Case, Exercise, Property

_DECOMPOSITIONS = (
    *("svd", "svdvals", "eig", "eigh", "eigvals", "eigvalsh", "qr", "polar", "sqrtm", "cholesky", "det", "inv", "pinv"),
    *("solve", "lstsq", "tensorinv", "tensorsolve", "fractional_matrix_power"),
)


def orthogonalise(G):
    """Return the matrix with G's singular vectors and all singular values 1."""
    X = G / np.linalg.norm(G)
    for _ in range(40):
        X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


def _polar_oracle(G):
    U, _, V = np.linalg.svd(G, full_matrices=False)
    return U @ V


def _with_singular_values(rng, shape, values):
    basis = [np.linalg.qr(rng.standard_normal((side, len(values))))[0] for side in shape]
    return basis[0] * values @ basis[1].T


def _draw_matrix(rng):
    shape = rng.integers(1, 6, 2)
    values = 10.0 ** rng.uniform(-2.5, 0, min(shape))
    return (_with_singular_values(rng, shape, values) * 10.0 ** rng.integers(-6, 7),)


def _spread_out():
    rng = np.random.default_rng(0)
    return Case((_with_singular_values(rng, (5, 4), np.array([1.0, 0.1, 0.01, 0.001])),), note="values 1 to 0.001")


class _Refused(Exception):
    pass


class _Watched(np.ndarray):
    """An array that refuses all of numpy.linalg but the Frobenius norm, however the function was imported."""

    def __array_function__(self, function, types, args, kwargs):
        if function.__module__.startswith("numpy.linalg"):
            order = args[1] if len(args) > 1 else kwargs.get("ord")
            if function.__name__ != "norm" or order not in (None, "fro"):
                _refuse(function.__name__ + ("" if function.__name__ != "norm" else f" of order {order!r}"))
        return super().__array_function__(function, types, args, kwargs)


_called: list[str] = []


def _refuse(name):
    _called.append(name)
    raise _Refused


def _products_alone(function, case, result):
    import scipy.linalg
    import torch

    _called.clear()
    with ExitStack() as stack:
        for module in (np.linalg, scipy.linalg, torch.linalg, torch):
            found = [name for name in _DECOMPOSITIONS if hasattr(module, name)]
            refusing = {name: lambda *args, name=name, **kwargs: _refuse(name) for name in found}
            stack.enter_context(mock.patch.multiple(module, **refusing))
        try:
            function(case.args[0].view(_Watched))
        except Exception:
            if not _called:
                raise
    return f"it called {_called[0]}, and is to do without" if _called else None


def _explain_values(case, expected, got):
    if not np.isfinite(got).all():
        return "there are numbers in it that are not finite"
    values = np.linalg.svd(np.asarray(got), compute_uv=False)
    return f"its singular values lie between {values.min():.4g} and {values.max():.4g}, and should all be 1"


def _five_steps_of_muon(G):
    X = G / np.linalg.norm(G)
    for _ in range(5):
        A = X @ X.T
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return X


def _fifteen_steps(G):
    X = G / np.linalg.norm(G)
    for _ in range(15):
        X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


def _not_normalised(G):
    X = G
    with np.errstate(all="ignore"):
        for _ in range(40):
            X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


def _by_largest_entry(G):
    X = G / np.abs(G).max()
    with np.errstate(all="ignore"):
        for _ in range(40):
            X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


def _signs(G):
    return np.sign(G)


def _rows_of_length_one(G):
    return G / np.sqrt((G**2).sum(1, keepdims=True))


def _by_decomposition(G):
    return _polar_oracle(G)


def _by_imported_decomposition(G):
    U, _, V = svd(G, full_matrices=False)
    return U @ V


def _by_scipy(G):
    from scipy.linalg import polar

    return polar(G)[0]


def _by_spectral_norm(G):
    X = G / np.linalg.norm(G, 2)
    for _ in range(40):
        X = 1.5 * X - 0.5 * X @ X.T @ X
    return X


def _transposed_and_left_so(G):
    return orthogonalise(G.T) if G.shape[0] > G.shape[1] else orthogonalise(G)


EXERCISES = (
    Exercise(
        id="04.4",
        title="Orthogonal without a decomposition",
        difficulty=4,
        minutes=20,
        solution=orthogonalise,
        cases=_draw_matrix,
        oracle=_polar_oracle,
        edge_cases=(
            _spread_out(),
            Case((np.diag([100.0, 1.0]),), note="diagonal: the answer is the identity"),
            Case((np.array([[3.0, 4.0]]),), note="one row: only its length changes"),
            Case((np.array([[-2e6]]),), note="one number"),
            Case((np.ones((5, 5)) + 0.5 * np.eye(5),), note="many entries, one large singular value"),
        ),
        properties=(Property("works by products, sums and the Frobenius norm alone", _products_alone),),
        tolerance={"float64": (1e-6, 1e-6)},
        explain=_explain_values,
        hints=(
            "Divide by the Frobenius norm first: then all singular values are at most 1, whatever the scale was.",
            "`p(s) = 1.5 s - 0.5 s**3` leaves 1 where it is and moves everything between 0 and 1 towards it. As a "
            "matrix: `1.5 * X - 0.5 * X @ X.T @ X`.",
            "A small singular value grows by a half in each step. From 0.001 that takes some 18 steps, and a few more "
            "to settle: stop when X no longer changes, or take 40.",
        ),
        wrong={
            "takes the five steps of Muon, which do not converge": _five_steps_of_muon,
            "stops too early for small singular values": _fifteen_steps,
            "does not divide by the norm first": _not_normalised,
            "divides by the largest entry": _by_largest_entry,
            "takes signs": _signs,
            "makes rows of length one": _rows_of_length_one,
            "calls a decomposition": _by_decomposition,
            "imports a decomposition by its name": _by_imported_decomposition,
            "takes scipy's polar decomposition": _by_scipy,
            "divides by the largest singular value": _by_spectral_norm,
            "forgets to turn a tall matrix back": _transposed_and_left_so,
        },
    ),
)

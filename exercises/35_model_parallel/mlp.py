"""Exercise 35.5: a column-then-row MLP, forward and backward, on simulated ranks and on real worker processes."""

from __future__ import annotations

import sys

import cloudpickle
import torch

from course_lib.study.exercises import Case, Exercise, Property

_CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-5}, torch.float64: {"rtol": 1e-9, "atol": 1e-12}}
_NAMES = ("y", "the gradient of x", "the gradient of a", "the gradient of b")


def mlp_step(x, a, b, dy, all_sum):
    """Return y and the gradients of x, a and b."""
    hidden = (x @ a).relu()
    y = all_sum(hidden @ b)
    d_hidden = (dy @ b.T) * (hidden > 0)
    return y, all_sum(d_hidden @ a.T), x.T @ d_hidden, hidden.T @ dy


def _oracle(x, a, b, dy, all_sum):
    """One rank alone: autograd on the formula itself."""
    x, a, b = (tensor.clone().requires_grad_() for tensor in (x, a, b))
    y = torch.relu(x @ a) @ b
    return y.detach(), *torch.autograd.grad((y * dy).sum(), (x, a, b))


def _data(size, units, seed, dtype):
    """Rows, whole matrices with ``units`` hidden units on each rank, and the gradient of the output."""
    g = torch.Generator().manual_seed(seed)
    shapes = (3, 2), (2, size * units), (size * units, 2), (3, 2)
    return [torch.randn(shape, generator=g, dtype=dtype) for shape in shapes]


def _mine(data, rank, size):
    """What one rank is given: x and dy as all ranks have them, its columns of a, its rows of b."""
    x, a, b, dy = data
    return x.clone(), a.chunk(size, 1)[rank].clone(), b.chunk(size, 0)[rank].clone(), dy.clone()


def _judged(results, data):
    """Say what is wrong with what the ranks return, or nothing."""
    size, expected = len(results), _oracle(*(tensor.double() for tensor in data), None)
    for rank, result in enumerate(results):
        if not isinstance(result, tuple | list) or len(result) != 4:
            return f"rank {rank} does not return four tensors"
        parts = *expected[:2], expected[2].chunk(size, 1)[rank], expected[3].chunk(size, 0)[rank]
        for name, found, part in zip(_NAMES, result, parts, strict=True):
            if wrong := _off(found, part.to(data[0].dtype)):
                return f"rank {rank} returns {name} as {wrong}"
    return None


def _off(found, expected):
    """Say in which way a tensor is not what it should be, or nothing."""
    if not isinstance(found, torch.Tensor) or found.shape != expected.shape:
        return f"{tuple(getattr(found, 'shape', ()))} where a tensor of {tuple(expected.shape)} should be"
    if found.dtype != expected.dtype:
        return f"{found.dtype} where {expected.dtype} went in"
    if not torch.allclose(found.detach().cpu(), expected, **_CLOSE[expected.dtype]):
        return f"{found.detach().cpu().round(decimals=4).tolist()}, not {expected.round(decimals=4).tolist()}"
    return None


def _simulated(function, ranks):
    """Run the ranks one after another, again and again: each time one more of the sums they ask for is known."""
    known = []
    while True:
        heard, results = [], []
        for arguments in ranks:
            said = []

            def total(tensor, said=said, known=known):
                said.append(tensor.detach().clone())
                return (known[len(said) - 1] if len(said) <= len(known) else tensor.detach()).clone()

            results.append(function(*(tensor.clone() for tensor in arguments), total))
            heard.append(said)
        calls = [len(said) for said in heard]
        if max(calls) == len(known):
            return results, heard[0], None
        if min(calls) == len(known):
            return None, None, f"ranks call all_sum {calls} times: all of them must, or all wait for ever"
        shapes = {tuple(said[len(known)].shape) for said in heard}
        if len(shapes) > 1:
            return None, None, f"ranks call all_sum with tensors of shapes {sorted(shapes)}"
        known.append(sum(said[len(known)] for said in heard))


def _on_simulated(function, case, result):
    seed, dtype = int(case.args[0].abs().sum() * 1000) % 1000, case.args[0].dtype
    for size, units in ((2, 2), (3, 1), (4, 3)):
        data = _data(size, units, seed + size, dtype)
        results, sums, error = _simulated(function, [_mine(data, rank, size) for rank in range(size)])
        if wrong := error or _judged(results, data):
            return f"on {size} simulated ranks: {wrong}"
        most = 2 * data[0].numel()
        if sum(tensor.numel() for tensor in sums) > most:
            return (
                f"on {size} ranks it sums tensors of {[tensor.numel() for tensor in sums]} numbers: the layer's "
                f"output and the gradient of its input, {most} numbers in all, are enough"
            )
    return None


def _bare(function):
    """The learner's own function, out of the wrapper in which a property gets it: wrappers cannot travel."""
    names = function.__code__.co_freevars
    return function.__closure__[names.index("attempt")].cell_contents if "attempt" in names else function


def _worker(function, units, seed):
    """One real rank."""
    from course_lib.collectives import all_sum, rank, world_size
    from course_lib.distributed import device

    def sum_over_ranks(tensor):
        total = tensor.detach().clone()
        all_sum([total])
        return total

    data = _data(world_size(), units, seed, torch.float64)
    mine = (tensor.to(device()) for tensor in _mine(data, rank(), world_size()))
    return [tensor.detach() for tensor in function(*mine, sum_over_ranks)]


def _on_processes(function, case, result):
    if not case.note:
        return None
    from course_lib.distributed import WorkerFailed, WorkersTimedOut, launch

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker can import an exercise
    try:
        results = launch(_worker, _bare(function), 2, 5, num_workers=3, timeout=60, show=False)
    except (WorkerFailed, WorkersTimedOut) as error:
        return f"on three worker processes: {str(error).splitlines()[0]}"
    wrong = _judged(results, _data(3, 2, 5, torch.float64))
    return f"on three worker processes, {wrong}" if wrong else None


def _same(tensor):
    """The sum over one rank alone."""
    return tensor.clone()


def _draw(rng):
    g = torch.Generator().manual_seed(int(rng.integers(2**31)))
    dtype = (torch.float32, torch.float64)[int(rng.integers(2))]
    rows, width, units = (int(rng.integers(1, 5)) for _ in range(3))
    shapes = (rows, width), (width, units), (units, width), (rows, width)
    return *(torch.randn(shape, generator=g).to(dtype) for shape in shapes), _same


def _no_way_in(x, a, b, dy, all_sum):
    return mlp_step(x, a, b, dy, all_sum)[0], *mlp_step(x, a, b, dy, _same)[1:]


def _no_way_out(x, a, b, dy, all_sum):
    return mlp_step(x, a, b, dy, _same)[0], *mlp_step(x, a, b, dy, all_sum)[1:]


def _sums_what_comes_back(x, a, b, dy, all_sum):
    return mlp_step(x, a, b, all_sum(dy), all_sum)


def _sums_weight_gradients(x, a, b, dy, all_sum):
    y, dx, da, db = mlp_step(x, a, b, dy, all_sum)
    return y, dx, all_sum(da), all_sum(db)


def _sums_hidden(x, a, b, dy, all_sum):
    hidden = all_sum((x @ a).relu())
    d_hidden = (dy @ b.T) * (hidden > 0)
    return all_sum(hidden @ b), all_sum(d_hidden @ a.T), x.T @ d_hidden, hidden.T @ dy


def _forgets_relu(x, a, b, dy, all_sum):
    hidden, d_hidden = (x @ a).relu(), dy @ b.T
    return all_sum(hidden @ b), all_sum(d_hidden @ a.T), x.T @ d_hidden, hidden.T @ dy


def _no_relu_at_all(x, a, b, dy, all_sum):
    hidden, d_hidden = x @ a, dy @ b.T
    return all_sum(hidden @ b), all_sum(d_hidden @ a.T), x.T @ d_hidden, hidden.T @ dy


def _gradients_transposed(x, a, b, dy, all_sum):
    y, dx, da, db = mlp_step(x, a, b, dy, all_sum)
    return y, dx, da.T, db.T


def _another_order(x, a, b, dy, all_sum):
    y, dx, da, db = mlp_step(x, a, b, dy, all_sum)
    return y, da, db, dx


def _sum_without_result(x, a, b, dy, all_sum):
    hidden = (x @ a).relu()
    y = hidden @ b
    all_sum(y)  # as if it worked in place
    d_hidden = (dy @ b.T) * (hidden > 0)
    dx = d_hidden @ a.T
    all_sum(dx)
    return y, dx, x.T @ d_hidden, hidden.T @ dy


EXERCISES = (
    Exercise(
        id="35.5",
        title="A layer on many ranks, forward and back",
        difficulty=4,
        minutes=25,
        solution=mlp_step,
        cases=_draw,
        oracle=_oracle,
        properties=(
            Property("gives every simulated rank its part of what one process computes", _on_simulated),
            Property("runs on real worker processes", _on_processes),
        ),
        edge_cases=(
            Case(
                (
                    torch.tensor([[1.0, 2.0]]),
                    torch.tensor([[1.0, -1.0], [1.0, 0.0]]),
                    torch.tensor([[1.0, 0.0], [5.0, 5.0]]),
                    torch.tensor([[1.0, 1.0]]),
                    _same,
                ),
                note="one hidden unit is on, one is off; also tried on three worker processes",
            ),
        ),
        num_draws=10,
        hints=(
            "Write it for one process first, with the backward pass by hand: the gradient of the hidden units, times "
            "where relu let them through, then of a, of x, of b.",
            "Hidden units never leave their rank, and nor do the gradients of a and b. What is a sum over *all* hidden "
            "units?",
            "Two things are: the output, `all_sum(hidden @ b)`, and the gradient of the input, "
            "`all_sum(d_hidden @ a.T)`. The gradient of the output is on all ranks already.",
        ),
        wrong={
            "does not sum the gradient of x": _no_way_in,
            "does not sum y": _no_way_out,
            "sums the gradient of y": _sums_what_comes_back,
            "sums the gradients of the weights": _sums_weight_gradients,
            "sums the hidden units": _sums_hidden,
            "forgets relu going back": _forgets_relu,
            "forgets relu": _no_relu_at_all,
            "gradients transposed": _gradients_transposed,
            "returns them in another order": _another_order,
            "takes all_sum to work in place": _sum_without_result,
        },
    ),
)

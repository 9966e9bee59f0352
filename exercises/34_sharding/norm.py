"""Exercise 34.5: the norm of a gradient that lies in parts, on simulated ranks and on real worker processes."""

from __future__ import annotations

import sys

import cloudpickle
import torch

from course_lib.study.exercises import Case, Exercise, Property

_CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-5}, torch.float64: {"rtol": 1e-9, "atol": 1e-12}}


def whole_norm(shards, replicated, all_sum):
    """Return the norm of the whole gradient, the same on every rank."""
    mine = sum(tensor.square().sum() for tensor in shards)
    alike = sum(tensor.square().sum() for tensor in replicated)
    return (all_sum(mine) + alike).sqrt()


def _bare(function):
    """The learner's own function, out of the wrapper in which a property gets it: wrappers cannot travel."""
    names = function.__code__.co_freevars
    return function.__closure__[names.index("attempt")].cell_contents if "attempt" in names else function


def _on_processes(worker, function, *arguments):
    """Return the results of three real worker processes, or an error in words."""
    from course_lib.distributed import WorkerFailed, WorkersTimedOut, launch

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker can import an exercise
    try:
        return launch(worker, _bare(function), *arguments, num_workers=3, timeout=60, show=False), None
    except (WorkerFailed, WorkersTimedOut) as error:
        return None, str(error).splitlines()[0]


def _off(found, expected):
    """Say in which way a tensor is not what it should be, or nothing."""
    if not isinstance(found, torch.Tensor) or found.shape != expected.shape:
        return f"{getattr(found, 'shape', found)} where a tensor of {tuple(expected.shape)} should be"
    if found.dtype != expected.dtype:
        return f"{found.dtype} where {expected.dtype} went in"
    if not torch.allclose(found.cpu(), expected, **_CLOSE[expected.dtype]):
        return f"{found.tolist()} where {expected.tolist()} is right"
    return None


def _norm_data(size, seed, dtype):
    """Each rank's shards (the last rank's may be empty), what all hold alike, and the norm of all."""
    g = torch.Generator().manual_seed(seed)
    rows = [size, size * 3 + 1, max(1, size - 1)]
    whole = [torch.randn(n, 2, generator=g, dtype=dtype) for n in rows]
    alike = [torch.randn(n, generator=g, dtype=dtype) for n in (3, 1)[: seed % 3]]
    shards = [
        [tensor[-(-len(tensor) // size) * r :][: -(-len(tensor) // size)] for tensor in whole] for r in range(size)
    ]
    return (shards, alike, torch.cat([tensor.double().flatten() for tensor in whole + alike]).norm().to(dtype))


def _simulated(function, shards, alike):
    """Run the ranks one after another, again and again: each time one more of the sums they ask for is known."""
    known = []
    while True:
        heard, results = [], []
        for mine in shards:
            said = []

            def total(tensor, said=said, known=known):
                said.append(tensor.detach().clone())
                return (known[len(said) - 1] if len(said) <= len(known) else tensor).clone()

            results.append(function([t.clone() for t in mine], [t.clone() for t in alike], total))
            heard.append(said)
        calls = [len(said) for said in heard]
        if max(calls) == len(known):
            return results, None
        if min(calls) == len(known):
            return None, f"ranks call all_sum {calls} times: all of them must, or all wait for ever"
        known.append(sum(said[len(known)] for said in heard))


def _norm_on_simulated(function, case, result):
    first, dtype = int(case.args[0][0].abs().sum() * 1000) % 1000, case.args[0][0].dtype
    for size, seed in ((2, first), (3, first + 1), (4, first + 2)):
        shards, alike, expected = _norm_data(size, seed, dtype)
        results, error = _simulated(function, shards, alike)
        if error:
            return f"on {size} simulated ranks: {error}"
        for rank, found in enumerate(results):
            if wrong := _off(found, expected):
                return f"on {size} simulated ranks, {len(alike)} tensors held alike, rank {rank} returns {wrong}"
    return None


def _norm_worker(function, seed):
    from course_lib.collectives import all_sum, rank, world_size
    from course_lib.distributed import device

    def sum_over_ranks(tensor):
        total = tensor.clone()
        all_sum([total])
        return total

    shards, alike, _ = _norm_data(world_size(), seed, torch.float64)
    return function([t.to(device()) for t in shards[rank()]], [t.to(device()) for t in alike], sum_over_ranks)


def _norm_on_processes(function, case, result):
    if not case.note:
        return None
    results, error = _on_processes(_norm_worker, function, 5)
    if error:
        return f"on three worker processes: {error}"
    for rank, found in enumerate(results):
        if wrong := _off(found, _norm_data(3, 5, torch.float64)[2]):
            return f"on three worker processes, rank {rank} returns {wrong}"
    return None


def _same(tensor):
    """The sum over one rank alone."""
    return tensor.clone()


def _draw(rng):
    g = torch.Generator().manual_seed(int(rng.integers(2**31)))
    dtype = (torch.float32, torch.float64)[int(rng.integers(2))]

    def some(least):
        shapes = [(int(rng.integers(1, 4)), int(rng.integers(1, 4))) for _ in range(int(rng.integers(least, 4)))]
        return [torch.randn(shape, generator=g).to(dtype) for shape in shapes]

    return some(1), some(0), _same


def _oracle(shards, replicated, all_sum):
    """One rank alone: the root of all squares."""
    total = torch.zeros((), dtype=shards[0].dtype)
    for tensor in [*shards, *replicated]:
        for number in tensor.flatten():
            total = total + number * number
    return total**0.5


def _own_parts(shards, replicated, all_sum):
    return whole_norm(shards, replicated, lambda tensor: tensor)


def _adds_norms(shards, replicated, all_sum):
    return all_sum(whole_norm(shards, [], _same)) + sum(t.norm() for t in replicated)


def _sums_all(shards, replicated, all_sum):
    return all_sum(sum(t.square().sum() for t in [*shards, *replicated])).sqrt()


def _no_root(shards, replicated, all_sum):
    return whole_norm(shards, replicated, all_sum) ** 2


def _forgets_replicated(shards, replicated, all_sum):
    return whole_norm(shards, [], all_sum)


def _only_where_there_is_some(shards, replicated, all_sum):
    mine = sum(t.square().sum() for t in shards)
    alike = sum(t.square().sum() for t in replicated)
    return ((all_sum(mine) if all(t.numel() for t in shards) else mine) + alike).sqrt()


def _root_before_sum(shards, replicated, all_sum):
    return all_sum(whole_norm(shards, replicated, _same))


def _plain_sum(shards, replicated, all_sum):
    return (all_sum(sum(t.sum() for t in shards)) + sum(t.sum() for t in replicated)).abs()


EXERCISES = (
    Exercise(
        id="34.5",
        title="The norm of what lies in parts",
        difficulty=3,
        minutes=15,
        solution=whole_norm,
        cases=_draw,
        oracle=_oracle,
        properties=(
            Property("gives every simulated rank the norm of the whole", _norm_on_simulated),
            Property("runs on real worker processes", _norm_on_processes),
        ),
        edge_cases=(
            Case(([torch.tensor([3.0])], [torch.tensor([4.0])], _same), note="5; also tried on three worker processes"),
        ),
        num_draws=12,
        hints=(
            "Squares of different numbers add up, wherever the numbers lie. Norms do not.",
            "Sum the squares of your shards, add that sum over ranks, then add squares of what all hold alike, once.",
            "`(all_sum(squares of shards) + squares of replicated).sqrt()`; call `all_sum` on every rank.",
        ),
        wrong={
            "norm of its own parts": _own_parts,
            "adds up norms": _adds_norms,
            "counts what all hold alike once a rank": _sums_all,
            "forgets the root": _no_root,
            "forgets what all hold alike": _forgets_replicated,
            "sums only on ranks that have all shards": _only_where_there_is_some,
            "takes the root before the sum": _root_before_sum,
            "adds numbers instead of squares": _plain_sum,
        },
    ),
)

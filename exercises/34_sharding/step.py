"""Exercise 34.4: a ZeRO-1 step, on simulated ranks and then on real worker processes."""

from __future__ import annotations

import sys
import threading

import cloudpickle
import torch

from course_lib.study.exercises import Case, Exercise, Property

_PATIENCE = 0.5  # seconds that a simulated rank waits for the others
_CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-5}, torch.float64: {"rtol": 1e-9, "atol": 1e-12}}


def sharded_step(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    """Return the new row of all parameters, and the new velocity of my shard."""
    velocity = momentum * velocity + reduce_scatter(gradient)
    shard = row.chunk(size)[rank] - lr * velocity
    return all_gather(shard), velocity


class _Meeting:
    """Collectives of ranks that are threads: all put something down, then all take everything."""

    def __init__(self, size):
        self.size, self.slots = size, [None] * size
        self.calls = [[] for _ in range(size)]
        self.barrier = threading.Barrier(size, timeout=_PATIENCE)

    def exchange(self, rank, kind, tensor):
        self.calls[rank].append((kind, tensor.numel()))
        self.slots[rank] = (kind, tensor.detach().clone())
        self.barrier.wait()
        everything = list(self.slots)
        self.barrier.wait()
        if len({(kind, tensor.shape) for kind, tensor in everything}) > 1:
            raise ValueError("ranks meet in different collectives, or with tensors of different shapes")
        return [tensor for _, tensor in everything]

    def reduce_scatter(self, rank):
        return lambda tensor: sum(self.exchange(rank, "reduce_scatter", tensor)).chunk(self.size)[rank].clone()

    def all_gather(self, rank):
        return lambda tensor: torch.cat(self.exchange(rank, "all_gather", tensor))


def _on_threads(work, size):
    """Return what ``work(rank, meeting)`` gives on each rank, the meeting, and the first error in words."""
    meeting, results, errors = _Meeting(size), [None] * size, []

    def run(rank):
        try:
            results[rank] = work(rank, meeting)
        except threading.BrokenBarrierError:
            errors.append((1, f"rank {rank} waits in a collective that another rank never calls"))
        except Exception as error:
            errors.append((0, f"rank {rank} raises {type(error).__name__}: {error}"))
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, meeting, min(errors)[1] if errors else None


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


def _step_data(size, part, seed, dtype):
    """A row, each rank's gradient, the whole velocity, and the constants of the step."""
    g = torch.Generator().manual_seed(seed)
    row, velocity, *gradients = (torch.randn(size * part, generator=g, dtype=dtype) for _ in range(size + 2))
    return row, velocity, gradients, 0.05 + seed % 7 / 10, 0.5 + seed % 4 / 10


def _judged_step(results, size, part, seed, dtype):
    row, velocity, gradients, lr, momentum = _step_data(size, part, seed, dtype)
    velocity = momentum * velocity.double() + torch.stack(gradients).double().sum(0)
    row = (row.double() - lr * velocity).to(dtype)
    for rank, result in enumerate(results):
        if not isinstance(result, tuple | list) or len(result) != 2:
            return f"rank {rank} of {size} does not return a pair"
        if wrong := _off(result[0], row):
            return f"rank {rank} of {size} returns a row of {wrong}"
        if wrong := _off(result[1], velocity.to(dtype).chunk(size)[rank]):
            return f"rank {rank} of {size} returns a velocity of {wrong}"
    return None


def _step_on_threads(function, case, result):
    function, dtype = _bare(function), case.args[0].dtype
    seed = int(case.args[0].abs().sum() * 1000) % 1000
    for size, part in ((2, 1), (3, 2), (4, 3)):
        row, velocity, gradients, lr, momentum = _step_data(size, part, seed, dtype)

        def work(rank, meeting, row=row, velocity=velocity, gradients=gradients, lr=lr, momentum=momentum, size=size):
            shard = velocity.chunk(size)[rank].clone()
            ways = meeting.reduce_scatter(rank), meeting.all_gather(rank)
            return function(row.clone(), gradients[rank].clone(), shard, lr, momentum, rank, size, *ways)

        results, meeting, error = _on_threads(work, size)
        if wrong := error or _judged_step(results, size, part, seed, dtype):
            return f"on {size} simulated ranks: {wrong}"
        if meeting.calls[0] != [("reduce_scatter", size * part), ("all_gather", part)]:
            return (
                f"on {size} ranks it calls {meeting.calls[0]}: a step needs one reduce-scatter of the gradient's "
                f"{size * part} numbers and one all-gather of {part} parameters"
            )
    return None


def _step_worker(function, part, seed):
    from course_lib.collectives import rank, world_size
    from course_lib.distributed import device, ring_all_gather, ring_reduce_scatter

    size = world_size()
    row, velocity, gradients, lr, momentum = _step_data(size, part, seed, torch.float64)
    mine = [tensor.to(device()) for tensor in (row, gradients[rank()], velocity.chunk(size)[rank()])]
    return function(*mine, lr, momentum, rank(), size, ring_reduce_scatter, ring_all_gather)


def _step_on_processes(function, case, result):
    if not case.note:
        return None
    results, error = _on_processes(_step_worker, function, 4, 5)
    wrong = error or _judged_step(results, 3, 4, 5, torch.float64)
    return f"on three worker processes: {wrong}" if wrong else None


def _same(tensor):
    """Both collectives, for one rank alone."""
    return tensor.clone()


def _draw(rng):
    g = torch.Generator().manual_seed(int(rng.integers(2**31)))
    dtype = (torch.float32, torch.float64)[int(rng.integers(2))]
    row, gradient, velocity = (torch.randn(3, int(rng.integers(1, 7)), generator=g).to(dtype)).unbind()
    return (row, gradient, velocity, float(rng.uniform(0.01, 1)), float(rng.uniform(0, 0.99)), 0, 1, _same, _same)


def _oracle(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    """One rank alone: SGD with momentum."""
    new = torch.stack([momentum * v + g for v, g in zip(velocity, gradient, strict=True)])
    return torch.stack([x - lr * v for x, v in zip(row, new, strict=True)]), new


def _local_gradient(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    velocity = momentum * velocity + gradient.chunk(size)[rank]
    return all_gather(row.chunk(size)[rank] - lr * velocity), velocity


def _mean(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    velocity = momentum * velocity + reduce_scatter(gradient) / size
    return all_gather(row.chunk(size)[rank] - lr * velocity), velocity


def _first_shard(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    velocity = momentum * velocity + reduce_scatter(gradient)
    return all_gather(row.chunk(size)[0] - lr * velocity), velocity


def _gathers_gradients(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    whole = all_gather(reduce_scatter(gradient))
    velocity = all_gather(velocity) * momentum + whole
    return row - lr * velocity, velocity.chunk(size)[rank]


def _no_gather(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    velocity = momentum * velocity + reduce_scatter(gradient)
    new = row.clone()
    new.chunk(size)[rank].sub_(lr * velocity)
    return new, velocity


def _only_rank_0_gathers(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    velocity = momentum * velocity + reduce_scatter(gradient)
    shard = row.chunk(size)[rank] - lr * velocity
    return (all_gather(shard) if rank == 0 else row), velocity


def _whole_velocity(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    velocity = momentum * velocity + reduce_scatter(gradient)
    return all_gather(row.chunk(size)[rank] - lr * velocity), all_gather(velocity)


def _rate_in_velocity(row, gradient, velocity, lr, momentum, rank, size, reduce_scatter, all_gather):
    velocity = momentum * velocity + lr * reduce_scatter(gradient)
    return all_gather(row.chunk(size)[rank] - velocity), velocity


EXERCISES = (
    Exercise(
        id="34.4",
        title="A ZeRO-1 step",
        difficulty=3,
        minutes=20,
        solution=sharded_step,
        cases=_draw,
        oracle=_oracle,
        properties=(
            Property("makes the step of one process on two, three and four simulated ranks", _step_on_threads),
            Property("runs on real worker processes", _step_on_processes),
        ),
        edge_cases=(
            Case(
                (torch.ones(2), torch.ones(2), torch.zeros(2), 0.5, 0.9, 0, 1, _same, _same),
                note="also tried on three worker processes",
            ),
        ),
        num_draws=8,
        hints=(
            "`reduce_scatter(gradient)` is the sum over ranks of just that part of the gradient which your velocity "
            "belongs to.",
            "Your part of the parameters is `row.chunk(size)[rank]`. Step it, and leave `row` itself alone.",
            "All ranks end with `all_gather(my new shard)`; the velocity stays where it is.",
        ),
        wrong={
            "its own gradient": _local_gradient,
            "the mean over ranks": _mean,
            "always the first shard": _first_shard,
            "gathers gradients and velocity instead": _gathers_gradients,
            "gathers nothing": _no_gather,
            "gathers on rank 0 only": _only_rank_0_gathers,
            "returns the whole velocity": _whole_velocity,
            "learning rate inside the velocity": _rate_in_velocity,
        },
    ),
)

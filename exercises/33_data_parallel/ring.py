"""Exercise 33.4: a ring all-reduce, checked on simulated ranks and then on real worker processes."""

from __future__ import annotations

import math
import queue
import sys
import threading
import time

import cloudpickle
import torch

from course_lib.study.exercises import Case, Exercise, Property

_PATIENCE = 1.0  # seconds that a simulated rank waits for its left neighbour
_LONGEST = 5.0  # seconds that all simulated ranks together may take
_WAITS = "it waits for a message that its left neighbour never sends"


def ring_sum(values, rank, size, exchange):
    """Return the sum of all ranks' values, by a ring."""
    total = values.clone()
    chunks = list(total.tensor_split(size))
    for step in range(size - 1):
        arrived = exchange(chunks[(rank - step) % size])
        chunks[(rank - step - 1) % size] += arrived
    for step in range(size - 1):
        arrived = exchange(chunks[(rank + 1 - step) % size])
        chunks[(rank - step) % size].copy_(arrived)
    return total


def _values(size, length, seed, dtype):
    """What each rank has: whole numbers, so that sums are exact in any order."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(-50, 50, (length,), generator=g).to(dtype) for _ in range(size)]


def _simulated(function, values):
    """Run all ranks as threads; return results, the sizes of the messages that each sent, and errors."""
    size = len(values)
    boxes = [queue.Queue() for _ in range(size)]
    results, errors = [None] * size, ["it does not come to an end"] * size
    sent = [[] for _ in range(size)]

    def work(rank):
        def exchange(tensor):
            sent[rank].append(tensor.numel())
            boxes[(rank + 1) % size].put(tensor.detach().clone())
            return boxes[rank].get(timeout=_PATIENCE)

        mine = values[rank].clone()
        try:
            results[rank] = function(mine, rank, size, exchange)
            unchanged = torch.equal(mine, values[rank])
            errors[rank] = None if unchanged else "it changed values, which belong to the caller"
        except queue.Empty:
            errors[rank] = _WAITS
        except Exception as error:
            errors[rank] = f"it raised {type(error).__name__}: {error}"

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _LONGEST
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return results, sent, errors


def _wrong_result(result, expected):
    """Say what is wrong with one rank's result, or nothing."""
    if not isinstance(result, torch.Tensor) or result.shape != expected.shape:
        return f"returns {getattr(result, 'shape', result)} instead of a tensor of {tuple(expected.shape)}"
    if not torch.equal(result, expected):
        return f"returns {result.tolist()} where the sum is {expected.tolist()}"
    return None


def _judged(function, size, length, seed, dtype):
    """Say what is wrong on simulated ranks, or nothing."""
    values = _values(size, length, seed, dtype)
    results, sent, errors = _simulated(function, values)
    for rank in sorted(range(size), key=lambda rank: errors[rank] in (None, _WAITS)):  # whoever broke down first
        place = f"on {size} ranks with {length} elements each, rank {rank}"
        if errors[rank]:
            return f"{place}: {errors[rank]}"
        if wrong := _wrong_result(results[rank], torch.stack(values).sum(0)):
            return f"{place} {wrong}"
        most = math.ceil(length / size)
        if len(sent[rank]) > 2 * (size - 1) or max(sent[rank], default=0) > most:
            return f"{place} sends messages of {sent[rank]} elements: a ring sends {2 * (size - 1)}, of {most} at most"
    return None


def _on_threads(function, case, result):
    rank_values, _, size, _ = case.args
    seed = int(rank_values.abs().sum()) + 7 * len(rank_values)
    for count, length in ((2, 4), (3, 7), (4, 2), (size + 1, len(rank_values) + 1)):
        if complaint := _judged(_bare(function), count, length, seed, rank_values.dtype):
            return complaint
    return None


def _worker(function, length, seed):
    """One real rank: exchange over the process group."""
    import torch.distributed as dist

    from course_lib.distributed import device

    rank, size = dist.get_rank(), dist.get_world_size()
    longest = math.ceil(length / size)

    def exchange(tensor):
        """Lengths differ by one at most: send the length first."""
        numbers = torch.tensor([tensor.numel()], device=device()), torch.zeros(1, dtype=torch.int64, device=device())
        arriving = torch.zeros(longest, dtype=tensor.dtype, device=device())
        parcel = torch.zeros_like(arriving)
        parcel[: tensor.numel()] = tensor
        for out, into in (numbers, (parcel, arriving)):
            jobs = [dist.P2POp(dist.isend, out, (rank + 1) % size), dist.P2POp(dist.irecv, into, (rank - 1) % size)]
            for job in dist.batch_isend_irecv(jobs):
                job.wait()
        return arriving[: int(numbers[1])].clone()

    return function(_values(size, length, seed, torch.float32)[rank].to(device()), rank, size, exchange)


def _on_processes(function, case, result):
    if not case.note:
        return None
    from course_lib.distributed import WorkerFailed, WorkersTimedOut, launch

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker can import an exercise
    try:
        results = launch(_worker, _bare(function), 10, 3, num_workers=3, timeout=30, show=False)
    except (WorkerFailed, WorkersTimedOut) as error:
        return f"on three worker processes: {str(error).splitlines()[0]}"
    expected = torch.stack(_values(3, 10, 3, torch.float32)).sum(0)
    for rank, found in enumerate(results):
        if wrong := _wrong_result(found, expected):
            return f"on three worker processes, rank {rank} {wrong}"
    return None


def _bare(function):
    """The learner's own function, out of the wrapper in which a property gets it.

    The wrapper cannot travel to a process, and copies what it hands on, so that no change of ``values`` would be seen.
    """
    names = function.__code__.co_freevars
    return function.__closure__[names.index("attempt")].cell_contents if "attempt" in names else function


def _draw(rng):
    length = int(rng.integers(1, 12))
    values = torch.tensor(rng.integers(-9, 9, length)).to(torch.float64 if rng.uniform() < 0.5 else torch.float32)
    return values, 0, 1, _nobody


def _nobody(tensor):
    """With one rank, the left neighbour is the rank itself."""
    return tensor.clone()


def _each_to_all(values, rank, size, exchange):
    total, passing = values.clone(), values
    for _ in range(size - 1):
        passing = exchange(passing)
        total = total + passing
    return total


def _reduce_scatter_only(values, rank, size, exchange):
    total = values.clone()
    chunks = list(total.tensor_split(size))
    for step in range(size - 1):
        chunks[(rank - step - 1) % size] += exchange(chunks[(rank - step) % size])
    return total


def _adds_again(values, rank, size, exchange):
    total = values.clone()
    chunks = list(total.tensor_split(size))
    for step in range(2 * (size - 1)):
        chunks[(rank - step - 1) % size] += exchange(chunks[(rank - step) % size])
    return total


def _wrong_chunk_after(values, rank, size, exchange):
    total = values.clone()
    chunks = list(total.tensor_split(size))
    for step in range(size - 1):
        chunks[(rank - step - 1) % size] += exchange(chunks[(rank - step) % size])
    for step in range(size - 1):
        chunks[(rank - step - 1) % size].copy_(exchange(chunks[(rank - step) % size]))
    return total


def _in_place(values, rank, size, exchange):
    values.copy_(ring_sum(values, rank, size, exchange))
    return values


def _only_divisible(values, rank, size, exchange):
    keep = len(values) // size * size
    return torch.cat([ring_sum(values[:keep], rank, size, exchange), values[keep:]])


def _mean(values, rank, size, exchange):
    return ring_sum(values, rank, size, exchange) / size


def _one_step_short(values, rank, size, exchange):
    total = values.clone()
    chunks = list(total.tensor_split(size))
    for step in range(size - 2):
        chunks[(rank - step - 1) % size] += exchange(chunks[(rank - step) % size])
    for step in range(size - 1):
        chunks[(rank - step) % size].copy_(exchange(chunks[(rank + 1 - step) % size]))
    return total


EXERCISES = (
    Exercise(
        id="33.4",
        title="A ring of your own",
        difficulty=4,
        minutes=30,
        solution=ring_sum,
        cases=_draw,
        oracle=lambda values, rank, size, exchange: values + 0.0,
        edge_cases=(Case((torch.tensor([1.0, 2.0, 3.0]), 0, 1, _nobody), note="alone: the sum is what it has"),),
        properties=(
            Property("gives every rank the sum, with no more bytes than a ring", _on_threads),
            Property("does so on real processes", _on_processes),
        ),
        hints=(
            "Cut a copy of the values into `size` chunks: `tensor_split` gives views, also where it does not divide.",
            "Reduce-scatter: in step s send chunk rank - s and add what arrives to chunk rank - s - 1, modulo size. "
            "After size - 1 steps, which chunk is finished on your rank?",
            "Chunk rank + 1 is. All-gather: in step s send chunk rank + 1 - s, "
            "and copy what arrives into chunk rank - s, modulo size.",
        ),
        wrong={
            "whole tensors round the ring": _each_to_all,
            "reduce-scatter alone": _reduce_scatter_only,
            "adds in the second half, too": _adds_again,
            "gathers from the wrong chunk": _wrong_chunk_after,
            "changes the caller's values": _in_place,
            "leaves out what does not divide": _only_divisible,
            "the mean": _mean,
            "one step too few": _one_step_short,
        },
        num_draws=4,
    ),
)

"""How a recipe shares one run among the ranks that torchrun started: the engine, the whole weights, who goes first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives import initialized, rank, world_size
from course_lib.distributed import DDP, FullySharded, TensorParallel, device_mesh, parallelize_transformer
from course_lib.loops import CheckpointError
from course_lib.loops.backprop import Gradients, backprop
from course_lib.loops.checkpoints.between_ranks import gather_bytes
from course_lib.loops.precision import Precision
from course_lib.nn.transformer import Transformer

Parallel = Literal["ddp", "fsdp", "tp"]
_PATIENCE = timedelta(days=7)  # for rank 0, which may tokenise for hours; that it has died is noticed at once

Made = TypeVar("Made")


def check_sharing(parallel: Parallel | None, *, tp: int, batch_size: int, ema: float) -> None:
    """Raise a ValueError if ``parallel`` or ``tp`` does not fit the number of processes or the settings."""
    if not initialized():
        if parallel is not None or tp != 1:
            raise ValueError(
                "--parallel and --tp share the work among processes: start the recipe with torchrun "
                "--nproc-per-node 2 -m in the place of python -m, or leave them out."
            )
        return
    if tp < 1 or world_size() % tp:
        raise ValueError(f"tp must divide the number of processes, {world_size()}, got {tp}.")
    if tp > 1 and parallel != "fsdp":
        raise ValueError("--tp goes with --parallel fsdp; --parallel tp alone shares each layer among all processes.")
    copies = 1 if parallel == "tp" else world_size() // tp
    if batch_size < copies:
        raise ValueError(
            f"batch_size counts the rows of all processes together, got {batch_size}: take {copies} at least, so that "
            "none is left without."
        )
    if parallel in ("fsdp", "tp") and ema:
        raise ValueError(f"with {parallel} no process has the whole weights to be averaged: take ddp, or ema 0.")


def engine_for(parallel: Parallel | None, model: Transformer, *, tp: int = 1, precision: Precision) -> Gradients:
    """Return what computes gradients: an engine for several processes, which may change ``model``, else backprop.

    Its ``over_ranks.group`` are the processes among which rows are dealt out.

    Args:
        parallel: ``"ddp"``: each process has the whole model; ``"fsdp"``: parameters, gradients and the optimizer's
            state are cut up among them, and put together a block at a time to compute; ``"tp"``: all processes share
            each layer's arithmetic, on the same rows. By default ddp where there are several processes.
        model: On its device. Make the optimizer afterwards.
        tp: With fsdp: so many neighbouring processes share each layer, and fsdp goes over the groups of them.
        precision: With bf16, fsdp gathers parameters in bf16, and sums gradients in float32.
    """
    if not initialized():
        return backprop
    mesh = None
    if parallel == "tp" or tp > 1:
        mesh = device_mesh(tp=world_size() if parallel == "tp" else tp)
        parallelize_transformer(model, mesh)
        if mesh["dp"].size() == 1:
            return TensorParallel(model, mesh)
    if parallel == "fsdp":
        low = torch.bfloat16 if precision == "bf16" else None
        copies = None if mesh is None else mesh["dp"]
        return FullySharded(model, mesh=copies, param_dtype=low, reduce_dtype=torch.float32 if low else None)
    return DDP(model)


def whole_state(model: Transformer) -> dict[str, Tensor]:
    """Return the state of ``model`` with its sharded tensors put together, on every rank; every rank calls this."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state: dict[str, Any] = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    return state


def first_alone(first: Callable[[], Made], others: Callable[[], Made] | None = None) -> Made:
    """Return what ``first`` makes on rank 0 and, when that is done, what ``others`` makes elsewhere.

    Whatever rank 0 leaves in files is there for the others.

    Args:
        first: Called on rank 0, and in a single process.
        others: Called on the other ranks afterwards; by default ``first``.

    Raises:
        ValueError: On all ranks, if ``first`` raised one.
        CheckpointError: On the other ranks, if ``first`` raised anything else.
    """
    if world_size() == 1:
        return first()
    waiting = dist.new_group(backend="gloo", timeout=_PATIENCE)
    failure, made = b"", []
    try:
        if rank() == 0:
            made.append(first())
    except Exception as error:
        failure = f"{isinstance(error, ValueError):d}{error}".encode(errors="replace")
        raise
    finally:
        report = gather_bytes(failure, torch.device("cpu"), waiting)[0]
        dist.destroy_process_group(waiting)
    if report:
        raise (ValueError if report.startswith(b"1") else CheckpointError)(f"rank 0: {report[1:].decode()}")
    return made[0] if made else (others or first)()

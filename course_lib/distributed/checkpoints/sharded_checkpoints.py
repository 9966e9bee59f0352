"""Saving a sharded run without ever having it whole in one place, and going on from it on any number of ranks."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_lib.collectives import rank, world_size
from course_lib.distributed.checkpoints.sharded_state import put_back, read_into, room_for, take_out
from course_lib.loops import CheckpointError, Checkpoints, Run
from course_lib.loops.checkpoints import checkpoint_files, durable_files
from course_lib.loops.checkpoints.between_ranks import all_or_none, gather_bytes
from course_lib.loops.checkpoints.checkpoints import Stateful, differences, part_of_rank
from course_lib.loops.checkpoints.state import pack


class ShardedCheckpoints(Checkpoints):
    """`Checkpoints` for a run whose tensors lie in parts on several ranks: every rank writes its own parts.

    The parts are written and read by torch's distributed checkpoints, as safetensors files (nothing is pickled);
    everything else, the manifest of hashes, and that a checkpoint is there as a whole or not at all, is as in
    `Checkpoints`. On as many ranks as it was saved on, a run goes on to the same bits. On more or fewer the parts are
    cut anew: the loss goes on as it would have, up to rounding, if the batches are split from one common order
    (`course_lib.data.Batches`) and the model draws no random numbers. The engine may be another one as well: copies
    (`DDP`, or none), `FullySharded`, `TensorParallel`, `Pipeline` with any number of stages. `Zero` alone, whose parts
    do not end where parameters do, is resumed with the same stage only.

    Args:
        folder: Must be one that all ranks see.
        keep: How many to keep.

    Raises:
        ValueError: As `Checkpoints`.

    Example:
        >>> import tempfile
        >>> import torch.distributed as dist
        >>> from course_lib.distributed import FullySharded
        >>> from course_lib.loops import regression
        >>> def new_run():
        ...     model = torch.nn.Linear(1, 1)
        ...     engine = FullySharded(model)
        ...     return Run(model, regression, torch.optim.Adam(model.parameters()), gradients=engine)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 1), rank=0, world_size=1)
        ...     run = new_run()
        ...     _ = run.step((torch.ones(2, 1), torch.ones(2, 1)))
        ...     path = ShardedCheckpoints(f"{folder}/run").save(run)
        ...     again = ShardedCheckpoints(f"{folder}/run").resume(new_run())
        ...     print(again, *sorted(file.name for file in path.iterdir()))
        ...     dist.destroy_process_group()
        True manifest.json shard-00001-model-00001-of-00001.safetensors state.json tensors.safetensors
    """

    def save(self, run: Run, **others: Stateful) -> Path:
        """Save ``run`` and ``others``, and return the new checkpoint; every rank calls this, and writes its parts.

        Args:
            run: As for `Checkpoints.save`.
            others: Likewise; they must not hold sharded tensors.

        Raises:
            ValueError: As `Checkpoints.save`.
            CheckpointError: If any rank could not write. Earlier checkpoints are as they were.
        """
        with all_or_none(run.device):
            if rank() == 0:
                self._refuse_another_run()
            self._known = True
            own, shards = take_out(run)
            shared = {"run": own, "others": {name: other.state_dict() for name, other in others.items()}}
            packed = pack(shared)
        apart = differences(*packed, run.device) if world_size() > 1 else []
        path = self.folder
        with all_or_none(run.device):
            if rank() == 0:
                state = {"world_size": world_size(), "shared": shared, "ranks": apart}
                path = self._write(run, state, shards)
                checkpoint_files.remove_oldest(self.folder, keep=self.keep, besides=self._refused)
            elif name := gather_bytes(b"", run.device)[0].decode():
                _write_parts(self.folder / name, shards, run.device)
        return self.folder / gather_bytes(path.name.encode(), run.device)[0].decode()

    def resume(self, run: Run, **others: Stateful) -> bool:
        """Put ``run`` and ``others`` where the newest whole checkpoint left them; return False if there is none at all.

        Args:
            run: Built as it was when it was saved, on any number of ranks.
            others: As given to `save`, by the same names.

        Raises:
            ValueError: As `Checkpoints.resume`, but for the number of ranks; ``run`` is as it was.
            CheckpointError: If there are checkpoints, but none of them is whole.

        Warns:
            UserWarning: If it was saved on another number of ranks: what each had of its own (random generators, a
                batch norm's averages) is dealt out in turn. And as `Checkpoints.resume`.
        """
        path = None
        with all_or_none(run.device):
            if rank() == 0:
                path = self._newest_whole(refusing=self._refused)
        name = gather_bytes(path.name.encode() if path else b"", run.device)[0].decode()
        if name:
            with all_or_none(run.device):
                part = _part(self.folder / name)
                if (saved := set(part["others"])) != set(others):
                    raise ValueError(f"{name} holds besides the run {sorted(saved)}, resume got {sorted(others)}.")
                state, room = room_for(run, part["run"], self.folder / name)
            with all_or_none(run.device):
                if room:
                    read_into(room, self.folder / name)
            with all_or_none(run.device):
                state = put_back(run, state, room)
                for key, other in others.items():
                    other.load_state_dict(part["others"][key])
                run.load_state_dict(state)
        self._known = True
        return bool(name)

    def _write(self, run: Run, state: Any, shards: dict[str, Tensor]) -> Path:
        called = False

        def add(temporary: Path) -> dict[str, dict[str, Any]]:
            nonlocal called
            called = True
            gather_bytes(temporary.name.encode(), run.device)  # where the others are to write
            return _write_parts(temporary, shards, run.device)

        try:
            return checkpoint_files.write(self.folder, run.index, state, add=add)
        finally:
            if not called:
                gather_bytes(b"", run.device)  # it failed before: the others need not write


def _write_parts(folder: Path, shards: dict[str, Tensor], device: torch.device) -> dict[str, dict[str, Any]]:
    """Write this rank's parts into ``folder``; return the manifest's entries of all ranks' files."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    own: dict[str, dict[str, Any]] = {}
    if shards:
        try:
            save(dict(shards), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
        except CheckpointException as error:  # raised on all ranks
            raise CheckpointError(f"the parts of a checkpoint could not be written into {folder}: {error}") from error
        with all_or_none(device):
            try:
                for file in sorted(folder.glob(f"shard-{rank() + 1:05d}-*")):
                    durable_files.sync_file(file)
                    own[file.name] = checkpoint_files.file_entry(file)
            except OSError as error:
                raise CheckpointError(f"{folder} could not be written to: {error}.") from error
    entries: dict[str, dict[str, Any]] = {}
    for message in gather_bytes(json.dumps(own).encode(), device):
        entries |= json.loads(message)
    return entries


def _part(path: Path) -> Any:
    """What a checkpoint holds for this rank, but for the sharded tensors."""
    state = checkpoint_files.read(path, checked=True)  # rank 0 has chosen it
    if not isinstance(state, dict) or set(state) != {"world_size", "shared", "ranks"}:
        raise CheckpointError(f"{path} was not saved by ShardedCheckpoints.save: read it with checkpoint_files.read.")
    if (saved := state["world_size"]) != world_size() and rank() == 0:
        warnings.warn(
            f"{path} was saved on {saved} ranks, this run has {world_size()}: sharded tensors are cut anew; random "
            "generators and what else each rank had of its own is dealt out in turn.",
            stacklevel=4,
        )
    return part_of_rank(state, rank() % saved)

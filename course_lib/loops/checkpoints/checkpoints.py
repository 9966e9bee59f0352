"""Saving a run and going on from where it was, in one process or under torchrun."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor

from course_lib.collectives import rank, world_size
from course_lib.loops.checkpoints import checkpoint_files
from course_lib.loops.checkpoints.between_ranks import all_or_none, gather_bytes
from course_lib.loops.checkpoints.checkpoint_files import CheckpointError
from course_lib.loops.checkpoints.state import pack, unpack
from course_lib.loops.run import Run


class Stateful(Protocol):
    """Whatever gives its state as nested data and takes it back: a second Run, a module, early stopping."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from a state."""


class Checkpoints:
    """The checkpoints of one run, in one folder: the newest are kept, and the newest whole one is found by itself.

    Killed at any moment and resumed, a run gives the same bits as one that was never stopped, on the same machine,
    torch build and number of threads. The stream of batches is the caller's: start it at ``run.consumed``.

    Under torchrun every rank calls `save` and `resume`. Rank 0 writes what all have in common, and of each other rank
    what differs there (random generators, a batch norm's averages); the folder must be one that all ranks see.

    Args:
        folder: Made by the first save.
        keep: How many to keep. The oldest goes only when a newer one is safely on disk.

    Raises:
        ValueError: If ``keep`` is less than 1, or ``folder`` is a file.

    Example:
        >>> import tempfile
        >>> from course_lib.loops import regression
        >>> def new_run():
        ...     model = torch.nn.Linear(1, 1)
        ...     return Run(model, regression, torch.optim.Adam(model.parameters()))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = new_run()
        ...     _ = run.step((torch.ones(2, 1), torch.ones(2, 1)))
        ...     print(Checkpoints(folder).save(run).name)
        ...     again = new_run()
        ...     print(Checkpoints(folder).resume(again), again.index, torch.equal(again.model.weight, run.model.weight))
        000001_step_1
        True 1 True
    """

    def __init__(self, folder: str | Path, *, keep: int = 2) -> None:
        self.folder = Path(folder)
        if keep < 1:
            raise ValueError(f"keep must be at least 1 checkpoint, got {keep}.")
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"checkpoints are saved in a folder, but {self.folder} is a file.")
        self.keep = keep
        self._known = False  # whether what is in the folder belongs to this run
        self._refused: set[Path] = set()

    def save(self, run: Run, **others: Stateful) -> Path:
        """Save ``run`` and ``others``, and return the new checkpoint; training goes on as if nothing had happened.

        Once this returns, the checkpoint survives a crash. Under torchrun it returns when it does so on every rank.

        Args:
            run: Its index becomes part of the name.
            others: More state of the same training, by the name under which `resume` gets it: a GAN's second Run,
                early stopping.

        Raises:
            ValueError: If the folder holds checkpoints that this run was not resumed from (they would be removed in
                time), or a state holds what cannot be saved; the message gives its path.
            CheckpointError: If it could not be written. Earlier checkpoints are as they were.
        """
        with all_or_none(run.device):
            if rank() == 0:
                self._refuse_another_run()
            self._known = True
            shared = {"run": run.state_dict(), "others": {name: other.state_dict() for name, other in others.items()}}
            packed = pack(shared) if world_size() > 1 else None
        apart = [] if packed is None else differences(*packed, run.device)
        path = self.folder
        with all_or_none(run.device):
            if rank() == 0:
                state = {"world_size": world_size(), "shared": shared, "ranks": apart}
                path = checkpoint_files.write(self.folder, run.index, state)
                checkpoint_files.remove_oldest(self.folder, keep=self.keep, besides=self._refused)
        return self.folder / gather_bytes(path.name.encode(), run.device)[0].decode()

    def resume(self, run: Run, **others: Stateful) -> bool:
        """Put ``run`` and ``others`` where the newest whole checkpoint left them; return False if there is none at all.

        Args:
            run: Built as it was when it was saved: the same model, optimizer, precision and number of processes.
            others: As given to `save`, by the same names.

        Raises:
            ValueError: If the checkpoint belongs to another model, optimizer or number of processes; the message
                names the difference, and ``run`` is as it was.
            CheckpointError: If there are checkpoints, but none of them is whole: starting anew would lose them.

        Warns:
            UserWarning: If a newer checkpoint is damaged and an older one is taken, or if another version of torch
                saved it, whose results may differ in the last bits.
        """
        path = None
        with all_or_none(run.device):
            if rank() == 0:
                path = self._newest_whole(refusing=self._refused)
        name = gather_bytes(path.name.encode() if path else b"", run.device)[0].decode()
        if name:
            with all_or_none(run.device):
                state = _own_part(self.folder / name)
                if (saved := set(state["others"])) != set(others):
                    raise ValueError(f"{name} holds besides the run {sorted(saved)}, resume got {sorted(others)}.")
                for key, other in others.items():
                    other.load_state_dict(state["others"][key])
                run.load_state_dict(state["run"])  # last: whatever is refused, the run is as it was
        self._known = True
        return bool(name)

    def newest(self) -> Path | None:
        """Return the newest whole checkpoint, every byte of it checked, or None if there is none at all.

        Raises:
            CheckpointError: If there are checkpoints, but none of them is whole.

        Warns:
            UserWarning: If a newer one is damaged.
        """
        return self._newest_whole(refusing=set())

    def _refuse_another_run(self) -> None:
        if not self._known and (there := checkpoint_files.listed(self.folder)):
            raise ValueError(
                f"{self.folder} holds {there[-1].name} of an earlier run: call resume(run) first to go on from it, "
                "or take another folder."
            )

    def _newest_whole(self, *, refusing: set[Path]) -> Path | None:
        problems = []
        for path in reversed(checkpoint_files.listed(self.folder)):
            try:
                manifest = checkpoint_files.check(path)
            except CheckpointError as problem:
                problems.append(str(problem))
                refusing.add(path)
                continue
            if problems:
                warnings.warn(f"going on from the older {path}, because {' '.join(problems)}", stacklevel=4)
            if (one := manifest["saved_with"]["torch"]) != (other := checkpoint_files.versions()["torch"]):
                warnings.warn(
                    f"{path} was saved with torch {one}, this is {other}: results may differ in their last bits.",
                    stacklevel=4,
                )
            return path
        if problems:
            raise CheckpointError(
                f"none of the checkpoints in {self.folder} is whole: {' '.join(problems)} To start anew, take another "
                "folder."
            )
        return None


def _own_part(path: Path) -> Any:
    """What a checkpoint holds for this rank."""
    state = checkpoint_files.read(path, checked=rank() == 0)  # rank 0 has chosen it
    if not isinstance(state, dict) or set(state) != {"world_size", "shared", "ranks"}:
        raise CheckpointError(f"{path} was not saved by Checkpoints.save: read it with checkpoint_files.read.")
    if (saved := state["world_size"]) != world_size():
        raise ValueError(
            f"{path} was saved by {saved} process{'es' * (saved > 1)}, this run has {world_size()}: start as many, "
            "since each had its own random generators and its own part of every batch."
        )
    return part_of_rank(state, rank())


def part_of_rank(state: Any, place: int) -> Any:
    """Return a checkpoint's ``state`` as rank ``place`` had it: what all have in common, and what differs there."""
    if place == 0:
        return state["shared"]
    tree, tensors = pack(state["shared"])
    apart = state["ranks"][place - 1]
    return unpack(tree if apart["tree"] is None else json.loads(apart["tree"]), {**tensors, **apart["tensors"]})


def differences(tree: Any, tensors: dict[str, Tensor], device: torch.device) -> list[dict[str, Any]]:
    """Return, for each rank from 1 on, the part of its packed state that is not as on rank 0; all ranks call this."""
    values = json.dumps(tree)
    hashes = {name: _tensor_hash(tensor) for name, tensor in tensors.items()}
    common = json.loads(gather_bytes(json.dumps([values, hashes]).encode() if rank() == 0 else b"", device)[0])
    own = {name: tensor for name, tensor in tensors.items() if common[1].get(name) != hashes[name]}
    own_values = "" if values == common[0] else values
    messages = gather_bytes(own_values.encode() + b"\n" + save(own), device)
    apart = []
    for message in messages[1:]:
        text, _, numbers = message.partition(b"\n")
        apart.append({"tree": text.decode() or None, "tensors": load(numbers)})
    return apart


def _tensor_hash(tensor: Tensor) -> str:
    numbers = tensor.reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + numbers.tobytes()).hexdigest()

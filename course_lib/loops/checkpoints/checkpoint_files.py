"""One checkpoint, one folder: written so that a crash at any moment leaves the ones before, and checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import warnings
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import course_lib
from course_lib.loops.checkpoints import durable_files
from course_lib.loops.checkpoints.state import pack, unpack

FORMAT, VERSION = "course_lib checkpoint", 1
MANIFEST, VALUES, TENSORS = "manifest.json", "state.json", "tensors.safetensors"
_NAME = re.compile(r"(\d{6,})_step_(\d+)")  # numbered in the order of saving
_LEFTOVER = re.compile(r"\.(saving|removing)_\d{6,}_step_\d+")


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or cannot be trusted; the message names the file and what is wrong with it."""


def write(
    folder: Path, step: int, state: Any, *, add: Callable[[Path], dict[str, dict[str, Any]]] | None = None
) -> Path:
    """Save ``state`` as a new checkpoint in ``folder``; once this returns, it survives a crash.

    Everything goes into a hidden folder beside its final place: tensors, values, and at last a manifest with the
    hashes of both. Each file is synced, then the folder, which is then renamed. So a checkpoint is there as a
    whole or not at all, and no earlier one is touched. Saving the same step again makes another checkpoint.

    Args:
        folder: Holds the checkpoints of one run; made if it is not there.
        step: Steps made so far; part of the name.
        state: What `course_lib.loops.checkpoints.state.pack` takes.
        add: Puts more files into the folder it is given, syncs them, and returns the `file_entry` of each by its name.

    Returns:
        The new checkpoint, such as ``folder/000003_step_1200``: the third that was saved here, after step 1200.

    Raises:
        ValueError: If ``state`` holds what cannot be saved, with its path; nothing has been written.
        CheckpointError: If the disk is full, the folder read-only or a file, or another process keeps it locked.
            Earlier checkpoints are as they were.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write(Path(folder), 5, {"weight": torch.ones(2), "loss": 0.5})
        ...     print(path.name, read(path))
        000001_step_5 {'weight': tensor([1., 1.]), 'loss': 0.5}
    """
    tree, tensors = pack(state)
    try:
        durable_files.make_folder(folder)
        with durable_files.locked(folder):
            sweep_locked(folder)
            number = max((_number(path) for path in listed(folder)), default=0) + 1
            target = folder / f"{number:06d}_step_{step}"
            temporary = folder / f".saving_{target.name}"
            try:
                _fill(temporary, tree, tensors, add)
                durable_files.rename(temporary, target)
            except BaseException:
                if temporary.exists():
                    with suppress(OSError):  # a full disk gets its space back; what stays is swept next time
                        durable_files.remove_folder(temporary)
                raise
            return target
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"step {step} could not be saved in {folder}: {error}. {_situation(folder)}") from error


def file_entry(file: Path) -> dict[str, Any]:
    """Return what a manifest says of a file: its size and its hash."""
    return {"bytes": file.stat().st_size, "sha256": _file_hash(file)}


def _fill(
    temporary: Path,
    tree: Any,
    tensors: dict[str, torch.Tensor],
    add: Callable[[Path], dict[str, dict[str, Any]]] | None,
) -> None:
    os.mkdir(temporary)
    save_file(tensors, temporary / TENSORS)
    values = json.dumps(tree, allow_nan=False, separators=(",", ":")).encode()
    with ThreadPoolExecutor(max_workers=1) as pool:  # the disk and the hash need not wait for each other
        tensors_hash = pool.submit(_file_hash, temporary / TENSORS)
        durable_files.sync_file(temporary / TENSORS)
        durable_files.write_file(temporary / VALUES, values)
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": temporary.name.removeprefix(".saving_"),
        "files": {
            TENSORS: {"bytes": (temporary / TENSORS).stat().st_size, "sha256": tensors_hash.result()},
            VALUES: {"bytes": len(values), "sha256": hashlib.sha256(values).hexdigest()},
            **({} if add is None else add(temporary)),
        },
        "saved_with": versions(),
    }
    sealed = {**content, "sha256": _seal(content)}
    durable_files.write_file(temporary / MANIFEST, (json.dumps(sealed, indent=2) + "\n").encode())
    durable_files.sync_folder(temporary)


def read(path: Path, *, checked: bool = False) -> Any:
    """Return the state that was saved in ``path``, tensors on the CPU; nothing is unpickled.

    Args:
        path: A checkpoint, wherever it was copied to.
        checked: Whether `check` has just been called, so that the bytes need not be compared again.

    Raises:
        CheckpointError: If ``path`` is no checkpoint, has been cut short, changed or mixed with another, or was made
            by a newer format.
    """
    if not checked:
        check(path)
    try:
        tree = json.loads((path / VALUES).read_bytes())
        with safe_open(path / TENSORS, framework="pt") as file:
            return unpack(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def check(path: Path) -> dict[str, Any]:
    """Compare every byte of a checkpoint with its manifest, and return the manifest.

    Raises:
        CheckpointError: As `read` does.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path} is no checkpoint: there is no such folder.")
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is no checkpoint: it has no {MANIFEST}, which is written last.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / MANIFEST} is damaged: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(
            f'{path / MANIFEST} is not of a checkpoint of this library: its format is not "{FORMAT}".'
        )
    version = manifest.get("version")
    if isinstance(version, int) and version > VERSION:
        raise CheckpointError(f"{path} has format {version}, this library reads up to {VERSION}: update course_lib.")
    if manifest.pop("sha256", None) != _seal(manifest):
        raise CheckpointError(f"{path / MANIFEST} is damaged: its content does not have the hash that it states.")
    for name, expected in manifest["files"].items():
        _check_file(path / name, expected)
    return manifest


def _check_file(file: Path, expected: dict[str, Any]) -> None:
    try:
        size = file.stat().st_size
        if size != expected["bytes"]:
            cause = "cut short" if size < expected["bytes"] else "extended"
            raise CheckpointError(
                f"{file} has {size} bytes instead of {expected['bytes']}: it was {cause}, or is another checkpoint's."
            )
        if _file_hash(file) != expected["sha256"]:
            raise CheckpointError(f"{file} is damaged, or another checkpoint's: its hash is not the manifest's.")
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing, though the manifest lists it.") from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}.") from error


def listed(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder`` by their names, in the order of saving, without looking into them."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()), key=_number)


def whole(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder`` of which every byte is as it was saved, oldest first."""
    found = []
    for path in listed(folder):
        with suppress(CheckpointError):
            check(path)
            found.append(path)
    return found


def remove_oldest(folder: Path, *, keep: int, besides: Collection[Path] = ()) -> None:
    """Remove all but the ``keep`` newest checkpoints, and those in ``besides``, which do not count.

    Each is renamed first, so that a crash leaves no half-removed checkpoint under its name. What cannot be
    removed is warned about and tried again by the next save.
    """
    try:
        with durable_files.locked(folder):
            for path in [path for path in listed(folder) if path not in besides][:-keep]:
                leftover = folder / f".removing_{path.name}"
                durable_files.rename(path, leftover)
                durable_files.remove_folder(leftover)
    except OSError as error:
        warnings.warn(f"old checkpoints in {folder} could not be removed: {error}.", stacklevel=3)


def sweep(folder: Path) -> None:
    """Remove what saves and removals that were killed have left in ``folder``; every save does so first."""
    if folder.is_dir():
        with durable_files.locked(folder):
            sweep_locked(folder)


def sweep_locked(folder: Path) -> None:
    """As `sweep`, for who holds the lock: whatever is temporary now belongs to nobody alive."""
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            try:
                durable_files.remove_folder(path)
            except OSError as error:
                warnings.warn(f"the leftover {path} could not be removed: {error}.", stacklevel=4)


def versions() -> dict[str, str]:
    """Return the versions that bits may depend on."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "safetensors": safetensors.__version__,
        "course_lib": course_lib.__version__,
    }


def _number(path: Path) -> int:
    return int(path.name.partition("_")[0])


def _file_hash(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _situation(folder: Path) -> str:
    """What is left after a failed save, for its message."""
    try:
        earlier, free = listed(folder), shutil.disk_usage(folder).free
    except OSError:
        return "No checkpoint was there before."
    newest = f"The newest checkpoint there is {earlier[-1].name}" if earlier else "There is no earlier checkpoint"
    return f"{newest}; {free / 1e6:,.0f} MB are free."

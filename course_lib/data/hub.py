"""Public data sets by name, and a quick, clear answer where there is no network."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

_PATIENCE_SECONDS = 4.5  # `datasets` itself would try again and again, for 25 s
_OWN_TEXT = "from_files(folder, kind='text') for text of your own"
_STAND_INS = {
    "mnist": "mnist_small()",
    "fashion_mnist": "mnist_small()",
    "cifar10": "mnist_small() or digits()",
    "tinystories": _OWN_TEXT,
    "fineweb_edu": _OWN_TEXT,
    "ultrafeedback": _OWN_TEXT,
    "ultrafeedback_binarized": _OWN_TEXT,
}


class HubUnavailable(ConnectionError):
    """A public data set cannot be had: there is no way to the hub, and no copy in the local cache."""


@overload
def from_hub(
    name: str, *, split: str = "train", streaming: Literal[False] = False, config: str | None = None
) -> Dataset: ...


@overload
def from_hub(
    name: str, *, split: str = "train", streaming: Literal[True], config: str | None = None
) -> IterableDataset: ...


def from_hub(
    name: str, *, split: str = "train", streaming: bool = False, config: str | None = None
) -> Dataset | IterableDataset:
    """Load a public data set of the Hugging Face hub through ``datasets``.

    A folder on this machine laid out like one of the hub (a ``README.md`` with its configurations, Parquet files
    under ``data/``) is read the same way. Without a network, or with ``HF_HUB_OFFLINE=1``, a set that was loaded
    before comes from the local cache. Needs ``datasets`` (extra ``learn``).

    Args:
        name: ``owner/name`` on the hub, or a local folder.
        split: Which part, such as ``"train"``, ``"test"``, ``"train[:1000]"``.
        streaming: Read rows while iterating, rather than fetch the whole set first.
        config: Which configuration, for sets that have several.

    Returns:
        A ``datasets.Dataset``, or a ``datasets.IterableDataset`` when streaming.

    Raises:
        HubUnavailable: Within seconds, when the hub cannot be reached and the cache has no copy; the message names
            what can be used instead without a network.
        ValueError: If the name is a path and there is no such folder; from ``datasets`` also for an unknown split
            or configuration.

    Example:
        >>> from_hub("./no-such-folder")
        Traceback (most recent call last):
        ValueError: expected a folder at './no-such-folder', found none; a set on the hub is named 'owner/name'.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    folder = Path(name).expanduser()
    if folder.is_file():
        raise ValueError(f"expected a folder at {name!r}, found a file: read it with from_files(path, kind='text').")
    if not name or (_looks_like_a_path(name) and not folder.is_dir()):
        raise ValueError(f"expected a folder at {name!r}, found none; a set on the hub is named 'owner/name'.")
    import datasets

    if folder.is_dir():
        return datasets.load_dataset(str(folder.resolve()), config, split=split, streaming=streaming)
    obstacle = (
        "offline mode is on (HF_HUB_OFFLINE)" if datasets.config.HF_HUB_OFFLINE else _why_unreachable(name, deadline)
    )
    if obstacle is None:
        return datasets.load_dataset(name, config, split=split, streaming=streaming)
    return _from_cache(name, split=split, streaming=streaming, config=config, obstacle=obstacle)


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1


def _from_cache(
    name: str, *, split: str, streaming: bool, config: str | None, obstacle: str
) -> Dataset | IterableDataset:
    from datasets.packaged_modules.cache.cache import Cache

    try:
        builder = Cache(dataset_name=name.split("/")[-1], repo_id=name, config_name=config, version="auto", hash="auto")
        return builder.as_streaming_dataset(split=split) if streaming else builder.as_dataset(split=split)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise HubUnavailable(
            f"cannot load {name!r}: {obstacle}, and the local cache has no fitting copy ({reason}). "
            f"Without a network course_lib.data has {_stand_in(name)}; what is loaded once with a network is kept "
            "for later."
        ) from error


def _stand_in(name: str) -> str:
    key = name.split("/")[-1].lower().replace("-", "_").replace("cifar_10", "cifar10")
    return _STAND_INS.get(key, "digits(), mnist_small(), table(name) or from_files(folder, kind=...)")


def _why_unreachable(name: str, deadline: float) -> str | None:
    """Return None when the hub answers, otherwise why it does not, by ``deadline`` on the monotonic clock."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi()
    patience_seconds = max(1.0, deadline - time.monotonic())
    obstacles: list[str | None] = []

    def ask() -> None:
        try:
            api.dataset_info(name, timeout=patience_seconds)
        except (HfHubHTTPError, HFValidationError):
            obstacles.append(None)  # there is an answer, if a refusal: `datasets` words it better
        except Exception as error:  # whatever the network stack raises; its classes differ between versions
            obstacles.append(f"no network ({type(error).__name__}: {error})")
        else:
            obstacles.append(None)

    # Looking up a host can hang far beyond any timeout. A daemon thread is waited for no longer than we like,
    # not even when the interpreter exits.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience_seconds)
    return obstacles[0] if obstacles else f"the hub did not answer within {patience_seconds:.1f} s"

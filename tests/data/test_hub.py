"""from_hub: the hub's layout on disk, the local cache, and a quick answer without a network."""

import http.server
import json
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest

from course_lib.data import HubUnavailable, from_hub, hub

CARD = """---
license: cc0-1.0
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
  - {split: test, path: data/test-*}
- config_name: short
  data_files: short/train-*
---
# Tiny stories
"""


@pytest.fixture
def stories(tmp_path):
    """A folder laid out as on the hub, with two configurations."""
    folder = tmp_path / "stories"
    for name, rows in {
        "data/train-00000-of-00002": ["Once", "upon"],
        "data/train-00001-of-00002": ["a", "time"],
        "data/test-00000-of-00001": ["The end"],
        "short/train-00000-of-00001": ["Fin"],
    }.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict({"text": rows}).to_parquet(path)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """The hub's address leads to a port of this machine where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        point_at(monkeypatch, f"http://127.0.0.1:{unused.getsockname()[1]}")


def point_at(monkeypatch, address):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", address)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


class TestLocalFolder:
    def test_splits_and_configurations_are_those_of_its_card(self, stories):
        assert list(from_hub(str(stories))["text"]) == ["Once", "upon", "a", "time"]
        assert list(from_hub(str(stories), split="test")["text"]) == ["The end"]
        assert list(from_hub(str(stories), split="train[1:3]")["text"]) == ["upon", "a"]
        assert list(from_hub(str(stories), config="short")["text"]) == ["Fin"]

    def test_it_streams(self, stories):
        stream = from_hub(str(stories), streaming=True)
        assert isinstance(stream, datasets.IterableDataset)
        assert [row["text"] for row in stream.skip(1).take(2)] == ["upon", "a"]

    def test_a_relative_folder_is_found(self, stories, monkeypatch):
        monkeypatch.chdir(stories.parent)
        assert len(from_hub("stories")) == 4
        assert len(from_hub("./stories")) == 4

    def test_images_come_as_images(self, tmp_path):
        pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
        features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["no", "yes"]))
        (tmp_path / "set" / "data").mkdir(parents=True)
        datasets.Dataset.from_dict({"image": [pixels], "label": [1]}, features=features).to_parquet(
            tmp_path / "set" / "data" / "train-00000-of-00001.parquet"
        )
        data = from_hub(str(tmp_path / "set"))
        assert np.array_equal(np.asarray(data[0]["image"]), pixels)
        assert data.features["label"].int2str(data[0]["label"]) == "yes"

    def test_a_split_or_configuration_that_is_not_there_lists_those_that_are(self, stories):
        with pytest.raises(ValueError, match=r"dev.*train.*test"):
            from_hub(str(stories), split="dev")
        with pytest.raises(ValueError, match=r"long.*default.*short"):
            from_hub(str(stories), config="long")

    @pytest.mark.parametrize("name", ["", "./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c", "..\\nowhere"])
    def test_a_path_that_leads_nowhere_is_named(self, name):
        with pytest.raises(ValueError, match=r"expected a folder at .* found none; a set on the hub is named"):
            from_hub(name)

    def test_a_file_is_sent_to_from_files(self, stories):
        with pytest.raises(ValueError, match="found a file: read it with from_files"):
            from_hub(str(stories / "README.md"))


class TestWithoutNetwork:
    @pytest.mark.parametrize(
        ("name", "stand_in"),
        [
            ("ylecun/mnist", r"mnist_small\(\)"),
            ("zalando-datasets/fashion_mnist", r"mnist_small\(\)"),
            ("fashion-mnist", r"mnist_small\(\)"),
            ("uoft-cs/cifar10", r"mnist_small\(\) or digits\(\)"),
            ("roneneldan/TinyStories", "from_files.*text of your own"),
            ("HuggingFaceFW/fineweb-edu", "from_files.*text of your own"),
            ("HuggingFaceH4/ultrafeedback_binarized", "from_files.*text of your own"),
            ("someone/something", r"digits\(\), mnist_small\(\), table\(name\) or from_files"),
        ],
    )
    def test_the_message_names_what_can_be_used_instead(self, no_network, name, stand_in):
        with pytest.raises(HubUnavailable, match=f"cannot load '{name}': no network .*course_lib.data has {stand_in}"):
            from_hub(name)

    def test_it_is_a_connection_error(self, no_network):
        with pytest.raises(ConnectionError):
            from_hub("ylecun/mnist")

    def test_every_stand_in_exists(self):
        from course_lib import data

        for offer in hub._STAND_INS.values():
            for call in offer.split(" or "):
                assert callable(getattr(data, call.split("(")[0]))

    def test_being_told_to_stay_offline_asks_nobody(self, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(hub, "_why_unreachable", lambda *_: pytest.fail("the network was asked"))
        with pytest.raises(HubUnavailable, match=r"offline mode is on \(HF_HUB_OFFLINE\)"):
            from_hub("ylecun/mnist")

    def test_a_name_server_that_hangs_is_not_waited_for(self, monkeypatch):
        release = threading.Event()

        def hang(*_args, **_kwargs):
            release.wait()
            raise OSError("released")

        point_at(monkeypatch, "http://hub.invalid")
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        monkeypatch.setattr(hub, "_PATIENCE_SECONDS", 0.0)  # then the shortest wait there is, one second
        try:
            with pytest.raises(HubUnavailable, match=r"did not answer within 1\.0 s"):
                from_hub("ylecun/mnist")
            asking = [thread for thread in threading.enumerate() if "ask" in thread.name]
            assert [thread.daemon for thread in asking] == [True]  # others would be waited for at exit
        finally:
            release.set()


def keep_in_cache(folder: Path, name: str, cache: Path) -> None:
    """Put what `folder` holds where `datasets` keeps a set of the hub that it has loaded before."""
    prepared = Path(from_hub(str(folder)).cache_files[0]["filename"]).parent
    kept = cache / name.replace("/", "___") / "default" / "0.0.0" / "0123abcd"
    shutil.copytree(prepared, kept)
    for path in kept.glob("*.arrow"):
        path.rename(kept / path.name.replace(folder.name, name.split("/")[1]))
    info = json.loads((kept / "dataset_info.json").read_text())
    (kept / "dataset_info.json").write_text(json.dumps(info | {"dataset_name": name.split("/")[1]}))


class TestCache:
    def test_what_was_loaded_before_loads_without_network(self, stories, datasets_cache, no_network):
        keep_in_cache(stories, "acme/tales", datasets_cache)
        assert list(from_hub("acme/tales")["text"]) == ["Once", "upon", "a", "time"]
        assert list(from_hub("acme/tales", split="test")["text"]) == ["The end"]
        assert [row["text"] for row in from_hub("acme/tales", split="test", streaming=True)] == ["The end"]

    def test_what_the_cache_lacks_is_told(self, stories, datasets_cache, no_network):
        keep_in_cache(stories, "acme/tales", datasets_cache)
        with pytest.raises(HubUnavailable, match=r"no fitting copy .*short.*default"):
            from_hub("acme/tales", config="short")
        with pytest.raises(HubUnavailable, match=r"no fitting copy .*dev"):
            from_hub("acme/tales", split="dev")


class Refusing(http.server.BaseHTTPRequestHandler):
    """A hub that answers, but has nothing."""

    def do_GET(self):
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.mark.parametrize("name", ["acme/nothing", "not a name"])
def test_when_the_hub_answers_datasets_takes_over(monkeypatch, name):
    calls = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: calls.append((args, options)))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        try:
            from_hub(name, split="test", streaming=True, config="short")
        finally:
            server.shutdown()
    assert calls == [((name, "short"), {"split": "test", "streaming": True})]


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, course_lib.data; "
        "print([m for m in ('sklearn', 'mlxtend', 'datasets', 'huggingface_hub', 'pandas', 'PIL') if m in sys.modules])"
    )
    root = Path(hub.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

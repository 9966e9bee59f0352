"""TensorBoard shows the log's rows, all of them and no others: its event files are read back with its own reader."""

import sys

import numpy as np
import pytest

from course_lib.loops.log.logged_run import read_log
from course_lib.loops.log.run_log import RunLog
from course_lib.loops.log.tensorboard import TensorBoardMirror, write_tensorboard

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
servers = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_accumulator")  # what the pages show


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "board"


def read_back(folder):
    return accumulators.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def scalars(folder):
    """Each column as TensorBoard has it, steps and values; its library and its server must agree."""
    board, server = (
        read_back(folder),
        servers.EventAccumulator(str(folder), tensor_size_guidance={"scalars": 0}).Reload(),
    )
    found = {}
    for name in board.Tags()["scalars"]:
        found[name] = [event.step for event in board.Scalars(name)], [event.value for event in board.Scalars(name)]
        served = server.Tensors(name)
        assert ([event.step for event in served], [event.tensor_proto.float_val[0] for event in served]) == found[name]
    return found


def expected(path):
    """The same from the log, rounded to TensorBoard's float32."""
    rows = read_log(path).rows
    names = {name for row in rows for name, value in row.items() if not isinstance(value, str)}
    columns = {}
    for name in names - {"step", "wall_seconds"}:
        points = [(row["step"], float(np.float32(row[name]))) for row in rows if name in row]
        columns[name] = tuple(map(list, zip(*points, strict=True)))
    return columns


def text(event):
    return event.tensor_proto.string_val[0].decode()


def test_a_whole_log_is_there_with_its_steps_and_values(path, folder):
    generator = np.random.default_rng(0)
    with RunLog(path, settings={"lr": 0.1, "model": {"width": 8, "sizes": [1, 2]}}) as log:
        for step in range(1, 40):
            log.record(step, loss=float(generator.normal()), tokens=step * 1000, better=step % 2 == 0)
        log.record(50, loss=float("inf"), **{"grad_norm/0.weight": 0.1}, note="the end")
    write_tensorboard(path, folder)
    assert scalars(folder) == expected(path)
    board = read_back(folder)
    (note,) = board.Tensors("note/text_summary")
    assert (note.step, text(note)) == (50, "the end")
    (settings,) = board.Tensors("settings/text_summary")
    assert "| settings/model/width | 8 |\n| settings/model/sizes | [1, 2] |\n| started | " in text(settings)


def test_wall_time_is_the_start_of_the_run_and_the_seconds_it_took(path, folder):
    with RunLog(path) as log:
        log.record(1, loss=1.0)
        log.record(2, loss=0.5)
    write_tensorboard(path, folder)
    events = read_back(folder).Scalars("loss")
    seconds = [row["wall_seconds"] for row in read_log(path).rows]
    assert events[1].wall_time - events[0].wall_time == pytest.approx(seconds[1] - seconds[0], abs=1e-6)


def test_settings_and_columns_reach_the_hparams_tab(path, folder):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    with RunLog(path, settings={"lr": 0.1, "fused": True, "optimizer": {"name": "sgd"}, "ema": None}) as log:
        log.record(1, loss=1.0, note="no number")
        log.record(2, accuracy=0.5)
    write_tensorboard(path, folder)
    contents = read_back(folder).PluginTagToContent("hparams")
    data = {tag: HParamsPluginData.FromString(content) for tag, content in contents.items()}
    hparams = data["_hparams_/session_start_info"].session_start_info.hparams
    assert hparams["lr"].number_value == 0.1
    assert hparams["fused"].number_value == 1  # torch writes truth values as numbers
    assert (hparams["optimizer/name"].string_value, hparams["ema"].string_value) == ("sgd", "null")
    metrics = [info.name.tag for info in data["_hparams_/experiment"].experiment.metric_infos]
    assert metrics == ["loss", "accuracy"]


def test_void_rows_are_not_written(path, folder):
    with RunLog(path) as log:
        for step in range(1, 8):
            log.record(step, loss=1.0)
        log.resumed(3)
        log.record(4, loss=2.0)
    write_tensorboard(path, folder)
    assert scalars(folder) == {"loss": ([1, 2, 3, 4], [1.0, 1.0, 1.0, 2.0])}


def test_following_a_log_purges_what_a_resumption_makes_void(path, folder):
    with RunLog(path) as log, TensorBoardMirror(path, folder) as mirror:
        assert mirror.update() == 0
        for step in range(1, 8):
            log.record(step, loss=1.0)
        assert mirror.update() == 7
        assert scalars(folder) == expected(path)
        log.record(8, loss=1.0)
        log.resumed(3)
        for step in (4, 5):
            log.record(step, loss=2.0)
        assert mirror.update() == 2
        assert scalars(folder) == expected(path) == {"loss": ([1, 2, 3, 4, 5], [1.0, 1.0, 1.0, 2.0, 2.0])}
        log.resumed(5)  # voids nothing
        log.record(6, loss=3.0)
    assert scalars(folder) == expected(path)
    assert len(list(folder.iterdir())) == 2


def test_writing_again_does_not_double_anything(path, folder):
    with RunLog(path) as log:
        log.record(0, loss=3.0, note="first")
        log.record(1, loss=2.0)
    write_tensorboard(path, folder)
    with RunLog(path) as log:
        log.record(2, loss=1.0)
    write_tensorboard(path, folder)
    assert scalars(folder) == expected(path) == {"loss": ([0, 1, 2], [3.0, 2.0, 1.0])}
    board = servers.EventAccumulator(str(folder)).Reload()
    assert [(event.step, text(event)) for event in board.Tensors("note/text_summary")] == [(0, "first")]
    assert len(board.Tensors("settings/text_summary")) == 1
    seconds = sorted(file.name.split(".")[3] for file in folder.iterdir())
    assert seconds[0] < seconds[1]  # what decides in which order the files are read


def test_a_training_process_and_its_mirror_need_not_be_one(path, folder):
    log = RunLog(path)
    log.record(1, loss=1.0)
    mirror = TensorBoardMirror(path, folder)
    with path.open("ab") as file:
        file.write(b'{"step": 2, "wall')  # a row that is being written
        file.flush()
        assert mirror.update() == 1
        file.write(b'_seconds": 0.5, "loss": 0.5}\n')
    assert mirror.update() == 1
    mirror.close()
    log.close()
    assert scalars(folder) == {"loss": ([1, 2], [1.0, 0.5])}


def test_without_tensorboard_it_says_what_to_install(path, folder, monkeypatch):
    RunLog(path).close()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"TensorBoard is not installed .*pip install tensorboard"):
        write_tensorboard(path, folder)


@pytest.mark.parametrize("content", ["", "step,loss\n"])
def test_what_is_no_log_is_refused(path, folder, content):
    path.write_text(content)
    with pytest.raises(ValueError, match="line 1: this is no run log"):
        write_tensorboard(path, folder)
    assert not folder.exists()

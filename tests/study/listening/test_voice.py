"""The voice: what is asked of the package that speaks, and what is said where nothing can speak."""

import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from course_lib.study.cli.main import app
from course_lib.study.listening import voice


class Engine:
    """Stands for pyttsx3's engine: notes what it is told, and writes what it would say."""

    def __init__(self, voices=(), current="default", name="espeak"):
        self.told, self.voices, self.current, self.name = [], voices, current, name
        self.finished = lambda **_: None

    def __str__(self):
        return self.name

    def connect(self, topic, callback):
        assert topic == "finished-utterance"
        self.finished = callback

    def getProperty(self, name):
        return {"voices": self.voices, "voice": self.current}[name]

    def setProperty(self, name, value):
        self.told.append((name, value))

    def say(self, text):
        self.told.append(("say", text))

    def save_to_file(self, text, path):
        Path(path).write_text(text)

    def runAndWait(self):
        print("chatter of the package")
        self.finished(completed=True)


def a_voice(name, *languages):
    return SimpleNamespace(id=name, languages=list(languages))


@pytest.fixture
def engine(monkeypatch):
    made = Engine()
    monkeypatch.setitem(sys.modules, "pyttsx3", SimpleNamespace(init=lambda: made))
    monkeypatch.setattr(voice.shutil, "which", lambda program: f"/usr/bin/{program}")
    return made


def test_it_speaks_at_the_rate_asked_for_and_quietly(engine, capsys):
    voice.speak("Hello.", words_a_minute=120)
    assert engine.told == [("rate", 120), ("say", "Hello.")]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("voices", "current", "chosen"),
    [
        ([a_voice("de", "de"), a_voice("scots", "en-gb-scotland"), a_voice("plain", "en")], "de", "plain"),
        ([a_voice("mac", b"\x05en_US"), a_voice("fr", "fr_FR")], "fr", "mac"),
        ([a_voice("uk", "en-gb"), a_voice("plain", "en")], "uk", None),
        ([a_voice("ena", "ena"), a_voice("de", "de")], "de", None),
        ([], "de", None),
    ],
)
def test_it_takes_an_english_voice_where_the_systems_own_is_none(engine, voices, current, chosen):
    engine.voices, engine.current = voices, current
    voice.speak("Hello.")
    assert [value for name, value in engine.told if name == "voice"] == ([chosen] if chosen else [])


def test_it_waits_for_a_voice_that_speaks_on_after_its_run(engine):
    over = []

    def end():
        over.append(True)
        engine.finished(completed=True)

    engine.runAndWait = lambda: threading.Timer(0.3, end).start()
    voice.speak("Hello.")
    assert over == [True]


def test_it_saves_to_a_file(engine, tmp_path):
    voice.save("Hello.", tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_text() == "Hello."


def test_a_file_that_was_not_written_is_told(engine, tmp_path):
    engine.save_to_file = lambda text, path: None
    with pytest.raises(voice.NoVoice, match="wrote nothing to"):
        voice.save("Hello.", tmp_path / "a.wav")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyttsx3", None)
    with pytest.raises(voice.NoVoice, match=r"pyttsx3 is missing: pip install 'course-lib\[listen\]'"):
        voice.speak("Hello.")


@pytest.mark.parametrize(
    ("system", "cure"), [("linux", "espeak-ng"), ("darwin", "Spoken Content"), ("plan9", "install one")]
)
def test_a_system_without_a_voice_is_told_the_cure(engine, monkeypatch, system, cure):
    def no_driver():
        raise RuntimeError("no eSpeak\ninstalled")

    monkeypatch.setattr(sys.modules["pyttsx3"], "init", no_driver)
    monkeypatch.setattr(voice.sys, "platform", system)
    with pytest.raises(voice.NoVoice, match=rf"there is no voice to read with \(no eSpeak installed\): .*{cure}"):
        voice.speak("Hello.")


def test_linux_without_a_player_is_told_so(engine, monkeypatch):
    monkeypatch.setattr(voice.sys, "platform", "linux")
    monkeypatch.setattr(voice.shutil, "which", lambda program: None)
    with pytest.raises(voice.NoVoice, match="aplay, which is missing"):
        voice.speak("Hello.")


def test_the_verb_prints_reads_and_saves(engine, tmp_path):
    run = CliRunner().invoke
    printed = run(app, ["listen", "00", "--text"])
    assert printed.exit_code == 0
    assert printed.output.startswith("How AI models are trained, in one sitting.\n\n")
    read = run(app, ["listen", "00"])
    assert read.output.strip() == "How AI models are trained, in one sitting: 4 minutes; Ctrl-C stops it."
    assert engine.told[-1] == ("say", printed.output.strip())
    saved = run(app, ["listen", "00", "--save", str(tmp_path / "a.wav")])
    assert saved.output.strip().endswith("a.wav written.")


def test_the_verb_ends_with_a_line_and_2_where_there_is_no_voice(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyttsx3", None)
    done = CliRunner().invoke(app, ["listen", "00"])
    assert done.exit_code == 2
    assert "the package pyttsx3 is missing" in done.output + getattr(done, "stderr", "")

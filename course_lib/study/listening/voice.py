"""Reads a text aloud, or into a file, with the voice that the system has."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

_CURE = {
    "linux": "install one, for example `sudo apt install espeak-ng`",
    "darwin": "macOS has voices of its own: System Settings, Accessibility, Spoken Content",
    "win32": "Windows has voices of its own: Settings, Time & language, Speech",
}


class NoVoice(RuntimeError):
    """This machine cannot speak; the message says what is missing, and what to do."""


def speak(text: str, *, words_a_minute: int = 165) -> None:
    """Read ``text`` aloud and return when it is over.

    Raises:
        NoVoice: If the package or the system's voice is missing, or there is no sound.
    """
    _run(text, None, words_a_minute)


def save(text: str, path: Path, *, words_a_minute: int = 165) -> None:
    """Read ``text`` into a sound file; its format is the voice's own, mostly WAV (AIFF on macOS).

    Raises:
        NoVoice: If the package or the system's voice is missing, or nothing was written.
    """
    _run(text, path, words_a_minute)
    if not path.is_file() or path.stat().st_size == 0:
        raise NoVoice(f"the voice wrote nothing to {path}: is its folder there?")


def _run(text: str, path: Path | None, words_a_minute: int) -> None:
    try:
        import pyttsx3
    except ModuleNotFoundError as error:
        raise NoVoice("the package pyttsx3 is missing: pip install 'course-lib[listen]'.") from error
    if path is None and sys.platform == "linux" and shutil.which("aplay") is None:
        raise NoVoice("the voice plays its sound with aplay, which is missing: `sudo apt install alsa-utils`.")
    finished = threading.Event()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the package prints what it does
            engine: Any = pyttsx3.init()
            engine.connect("finished-utterance", lambda **_: finished.set())
            engine.setProperty("rate", words_a_minute)
            english = _english(engine)
            if english is not None:
                engine.setProperty("voice", english)
            if path is None:
                engine.say(text)
            else:
                engine.save_to_file(text, str(path))
            engine.runAndWait()
            if str(engine) == "espeak":  # its run ends at once, and a thread of its own goes on
                while not finished.wait(0.1):
                    pass
    except Exception as error:  # each system's driver has exceptions of its own
        cure = _CURE.get(sys.platform, "install one")
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NoVoice(f"there is no voice to read with ({reason}): {cure}.") from error


def _english(engine: Any) -> str | None:
    """Return the id of an English voice, the plainest there is, or ``None`` where the system's own choice is one."""
    tags = {str(voice.id): _languages(voice) for voice in engine.getProperty("voices") or []}
    english = {name: min(found, key=len) for name, found in tags.items() if found}
    if not english or str(engine.getProperty("voice")) in english:
        return None
    return min(english, key=lambda name: (len(english[name]), name))


def _languages(voice: Any) -> list[str]:
    """Return a voice's tags of English: ``en``, ``en-us``; systems write them as text or as bytes, with _ or -."""
    found = [tag.decode(errors="ignore") if isinstance(tag, bytes) else str(tag) for tag in voice.languages or []]
    tags = [tag.strip("\x05").lower().replace("_", "-") for tag in found]
    return [tag for tag in tags if tag == "en" or tag.startswith("en-")]

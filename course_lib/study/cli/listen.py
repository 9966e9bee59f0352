"""The verb that reads an episode aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from course_lib.study.cli.shared import NotebookName, number_of


def listen(
    notebook: NotebookName,
    text: Annotated[bool, typer.Option("--text", help="Print it instead.")] = False,
    save: Annotated[Path | None, typer.Option(help="Read it into this sound file instead.")] = None,
    rate: Annotated[int, typer.Option(min=60, max=400, help="Words a minute.")] = 165,
) -> None:
    """Listen to a notebook's episode, read by your computer's own voice."""
    from course_lib.study.listening import voice
    from course_lib.study.listening.episodes import load_episode

    episode = load_episode(number_of(notebook))
    if text:
        print(episode.text)
        return
    try:
        if save is not None:
            voice.save(episode.text, save, words_a_minute=rate)
            print(f"{save} written.")
        else:
            print(f"{episode.title}: {episode.minutes} minutes; Ctrl-C stops it.")
            voice.speak(episode.text, words_a_minute=rate)
    except voice.NoVoice as error:
        raise ValueError(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None

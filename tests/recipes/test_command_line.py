"""What all recipes do as commands: exit codes, one line for what went wrong, the device that is chosen."""

import sys
from typing import Annotated

import pytest
import torch
import typer

from course_lib.loops import CheckpointError, NonFiniteStep
from course_lib.recipes.command_line import chosen_device, new_app, recipe_line, run_app, telling_interruption


@pytest.fixture
def ending(monkeypatch, capsys):
    """A function that runs a recipe named bake, which does ``act``; returns its exit code, output and complaints."""

    def start(act, *words):
        app = new_app()

        @app.command()
        def bake(loaves: Annotated[int, typer.Option()] = 1):
            with telling_interruption("bake"):
                act(loaves)

        monkeypatch.setattr(sys, "argv", ["bake", *words])
        with pytest.raises(SystemExit) as ended:
            run_app(app, "bake")
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return start


def raising(error):
    def act(loaves):
        raise error

    return act


def test_done_is_0_and_the_card_can_say_how(ending):
    code, out, err = ending(lambda loaves: print(loaves, recipe_line("bake")), "--loaves", "3")
    assert (code, out, err) == (0, "3 python -m course_lib.recipes.bake --loaves 3\n", "")


def test_the_words_of_a_recipe_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bake", "--out", "my loaf"])
    assert recipe_line("bake") == "python -m course_lib.recipes.bake --out 'my loaf'"


@pytest.mark.parametrize("kind", [ValueError, ConnectionError, FileNotFoundError, PermissionError, NotADirectoryError])
def test_a_mistake_is_one_line_and_code_2(ending, kind):
    assert ending(raising(kind("no flour."))) == (2, "", "bake: no flour.\n")


@pytest.mark.parametrize("error", [CheckpointError("burnt."), NonFiniteStep("burnt.")])
def test_a_training_that_failed_is_code_1(ending, error):
    assert ending(raising(error)) == (1, "", "bake: burnt.\n")


def test_an_unknown_option_is_code_2(ending):
    code, _, err = ending(raising(AssertionError), "--bread", "3")
    assert code == 2
    assert "--bread" in err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt("half baked."), "bake: half baked."),
        (KeyboardInterrupt(), "bake: interrupted before the first update."),
    ],
)
def test_an_interruption_is_code_130(ending, error, said):
    code, _, err = ending(raising(error))
    assert (code, err.splitlines()[0]) == (130, said)


def test_other_errors_are_not_hidden(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bake"])
    app = new_app()
    app.command()(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_app(app, "bake")


@pytest.mark.parametrize(
    ("cuda", "mps", "fastest"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_the_fastest_device_there_is_or_the_one_asked_for(monkeypatch, cuda, mps, fastest):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert chosen_device("auto") == torch.device(fastest)
    assert chosen_device("cpu") == torch.device("cpu")
    if not cuda:
        with pytest.raises(ValueError, match="finds no cuda device here: take --device cpu, or install another"):
            chosen_device("cuda")

"""The scale dial: who decides, what is printed, and which values are in force."""

import pytest
import torch

from course_lib.notebook import device, scale, setting

SIZES = {"cpu": {"width": 64, "steps": 100}, "gpu": {"width": 1024, "steps": 5000}}


@pytest.mark.parametrize("wanted", ["cpu", "gpu", "gpu-small"])
def test_the_environment_decides(wanted, monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", wanted)
    assert scale() == wanted


@pytest.mark.parametrize("unset", [None, ""])
@pytest.mark.parametrize("cuda", [False, True])
def test_otherwise_the_machine_decides(unset, cuda, monkeypatch):
    monkeypatch.delenv("COURSE_SCALE", raising=False)
    if unset is not None:
        monkeypatch.setenv("COURSE_SCALE", unset)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert scale() == ("gpu" if cuda else "cpu")


def test_another_value_is_refused(monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", "GPU")
    with pytest.raises(ValueError, match="must be cpu or gpu, got 'GPU'; unset it"):
        scale()


@pytest.mark.parametrize(
    ("wanted", "cuda", "mps", "expected"),
    [
        ("cpu", True, True, "cpu"),
        ("gpu", True, False, "cuda"),
        ("gpu", False, True, "mps"),
        ("gpu", False, False, "cpu"),
        ("gpu-small", True, True, "cpu"),
    ],
)
def test_the_device_follows_the_scale(wanted, cuda, mps, expected, monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", wanted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device() == torch.device(expected)


def test_both_settings_are_shown_and_the_one_in_force_returned(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", "cpu")
    values = setting(**SIZES)
    assert (values.width, values.steps) == (64, 100)
    assert capsys.readouterr().out.splitlines() == [
        "setting  cpu (this run)  gpu",
        "width    64              1024",
        "steps    100             5000",
    ]
    monkeypatch.setenv("COURSE_SCALE", "gpu")
    assert setting(**SIZES, quiet=True).width == 1024
    assert capsys.readouterr().out == ""


def test_a_cut_replaces_values_only_where_a_test_asks_for_it(monkeypatch):
    found = {}
    for wanted in ("cpu", "gpu", "gpu-small"):
        monkeypatch.setenv("COURSE_SCALE", wanted)
        values = setting(**SIZES, cut={"steps": 1}, quiet=True)
        found[wanted] = (values.width, values.steps)
    assert found == {"cpu": (64, 100), "gpu": (1024, 5000), "gpu-small": (1024, 1)}


def test_settings_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"only one has \['depth', 'width'\]"):
        setting(cpu={"width": 1}, gpu={"depth": 1})
    with pytest.raises(ValueError, match=r"cut names \['stepz'\], which gpu does not have"):
        setting(**SIZES, cut={"stepz": 1})

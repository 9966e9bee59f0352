"""The gpu setting of each notebook is built at full size on the meta device, and stepped once, cut down, on the CPU."""

import json
import math
from pathlib import Path

import pytest
import torch

from course_lib.content import notebook_paths
from course_lib.study.checks import Page
from course_lib.study.checks.tags import GPU_BUILD, GPU_STEP, uses_setting

ROOT = Path(__file__).parents[2]
PAGES = [page for page in map(Page.read, notebook_paths(ROOT).values()) if uses_setting(page)]
BUILD = """\
import torch
from course_lib.notebook import setting
from course_lib.loops import Run, regression
s = setting(cpu={"width": 4}, gpu={"width": 10**6}, cut={"width": 3})
x = torch.ones(2, s.width)
model = torch.nn.Linear(s.width, 1)"""
STEP = "step = Run(model, regression, torch.optim.SGD(model.parameters(), lr=1e-3)).step((x, x[:, :1]))"


@pytest.fixture
def scale(monkeypatch):
    def scale(name, folder=ROOT):
        monkeypatch.chdir(folder)  # notebooks run in their folder
        monkeypatch.setenv("COURSE_SCALE", name)

    return scale


def run_cells(page, *tags):
    """Run the cells with one of the tags, in their order, and return what they define."""
    namespace = {"__name__": "__main__"}
    for cell in page.code:
        if set(tags) & set(cell.tags):
            exec(compile(cell.tree(), f"{page.where}, {cell.label}", "exec"), namespace)
    return namespace


def full_size(page):
    """Build the model, see that it takes no memory, and return how many parameters it has."""
    with torch.random.fork_rng(), torch.device("meta"):
        found = run_cells(page, GPU_BUILD)
    assert isinstance(found.get("model"), torch.nn.Module), f"the cells tagged {GPU_BUILD} define no 'model'"
    parameters = list(found["model"].parameters())
    assert parameters
    assert all(parameter.is_meta for parameter in parameters), "the model does not follow torch's default device"
    return sum(parameter.numel() for parameter in parameters)


def loss_of_one_step(page):
    """Build the cut-down model and update it."""
    with torch.random.fork_rng():
        found = run_cells(page, GPU_BUILD, GPU_STEP)
    assert "step" in found or "history" in found, f"the cells tagged {GPU_STEP} define no 'step' and no 'history'"
    return float(found["step"].loss if "step" in found else found["history"].losses[-1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.stem)
def test_the_full_size_is_built(page, scale):
    scale("gpu", page.path.parent)
    full_size(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.stem)
def test_the_cut_down_size_is_stepped(page, scale):
    scale("gpu-small", page.path.parent)
    assert math.isfinite(loss_of_one_step(page))


def sample(build):
    cells = [
        {"cell_type": "code", "source": source, "metadata": {"tags": [tag]}}
        for tag, source in ((GPU_BUILD, build), ("other", "1 / 0"), (GPU_STEP, STEP))
    ]
    return Page(ROOT / "notebooks/99_sample.ipynb", json.dumps({"cells": cells, "metadata": {}}))


def test_only_the_tagged_cells_run_each_at_its_size(scale):
    scale("gpu")
    assert full_size(sample(BUILD)) == 10**6 + 1
    scale("gpu-small")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight, bias = torch.nn.Linear(3, 1).parameters()
        torch.manual_seed(0)
        assert loss_of_one_step(sample(BUILD)) == pytest.approx((weight.sum() + bias - 1).item() ** 2)


def test_a_model_put_on_a_fixed_device_is_noticed(scale):
    scale("gpu")
    with pytest.raises(AssertionError, match="does not follow torch's default device"):
        full_size(sample(BUILD.replace("s.width, 1)", "8, 1, device='cpu')")))

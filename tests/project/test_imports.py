"""Importing the library costs about what importing torch costs: heavy packages wait until they are used."""

import json
import subprocess
import sys

MODULES = (
    "course_lib",
    "course_lib.alignment",
    "course_lib.collectives",
    "course_lib.data",
    "course_lib.diffusion",
    "course_lib.distributed",
    "course_lib.evaluation",
    "course_lib.loops",
    "course_lib.losses",
    "course_lib.ngrams",
    "course_lib.nn",
    "course_lib.nn.adapters",
    "course_lib.nn.transformer",
    "course_lib.notebook",
    "course_lib.optim",
    "course_lib.rl",
    "course_lib.scaling",
    "course_lib.study",
    "course_lib.tokenization",
    "course_lib.zoo",
)
HEAVY = (
    "IPython",
    "datasets",
    "diffusers",
    "gymnasium",
    "ipywidgets",
    "matplotlib",
    "pandas",
    "peft",
    "scipy",
    "sklearn",
    "tensorboard",
    "tokenizers",
    "transformers",
    "trl",
)
PROBE = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
seen = {}
for module in modules:
    importlib.import_module(module)
    for package in heavy:
        if package in sys.modules:
            seen.setdefault(package, module)
print(json.dumps(seen))
"""


def heavy_imports(modules, heavy):
    """Which of ``heavy`` a fresh process has loaded after importing ``modules``, and after which of them first."""
    command = [sys.executable, "-c", PROBE, json.dumps([modules, heavy])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_heavy_is_imported():
    assert heavy_imports(MODULES, HEAVY) == {}


def test_the_probe_sees_what_is_imported():
    assert heavy_imports(["json", "fractions"], ["fractions", "sklearn"]) == {"fractions": "fractions"}

"""The runs over many seeds behind a notebook's claims: making them, storing them, showing them."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import course_lib
from course_lib.content import content_path

MIN_SEEDS = 8
# Course pages and study tools may change without any number changing; everything else in course_lib may not.
NOT_HASHED = ("course_lib.study", "course_lib.notebook", "course_lib.content")

Measured = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """One number that a notebook states.

    Args:
        name: Short name, unique in the notebook, such as ``"gap-slope"``.
        what: What the number is, in words, with its unit.
        above: For a comparison (a difference or a ratio to a baseline): the value it must exceed in every live run,
            and, with 99 % confidence, on average over seeds.
        limits: What the number can be at all, such as ``(0, 1)`` for an accuracy; the band ends there.
    """

    name: str
    what: str
    above: float | None = None
    limits: tuple[float, float] = (-math.inf, math.inf)


def prediction_interval(values: Sequence[float], confidence: float = 0.99) -> tuple[float, float]:
    """Return where one more value should fall: mean -+ t s sqrt(1 + 1/n), for roughly normal values.

    Args:
        values: At least two finite numbers, one a seed.
        confidence: Probability that a further value falls inside.

    Returns:
        Lower and upper end. Values that do not vary at all still get room for rounding (1e-6 of their size).

    Example:
        >>> low, high = prediction_interval([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)  # 2 -+ 9.925 * sqrt(4/3)
        (-9.46, 13.46)
    """
    from scipy.stats import t

    n, mean = len(values), statistics.fmean(values)
    if n < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"a band needs two or more finite values, got {list(values)}.")
    half = float(t.ppf(0.5 + confidence / 2, n - 1)) * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    half = max(half, 1e-6 * abs(mean), 1e-12)
    return mean - half, mean + half


def record(
    script: str, experiment: Callable[[int], Measured], claims: Sequence[Claim], *, seeds: Sequence[int] = range(8)
) -> None:
    """Run ``experiment`` once a seed and store the outcome beside ``script``, as ``.json``.

    Args:
        script: The calling file (``__file__``), ``results/NN_slug.py``.
        experiment: Maps a seed to the value of each claim, and, under ``"series"``, to lists worth drawing.
        claims: What is claimed; each needs a value from every run.
        seeds: Fixed beforehand; at least eight.

    Raises:
        ValueError: If there are too few seeds, a value is missing, or a comparison does not hold over the seeds.
    """
    if len(set(seeds)) < MIN_SEEDS:
        raise ValueError(f"a claim needs at least {MIN_SEEDS} different seeds, got {list(seeds)}.")
    if len({claim.name for claim in claims}) < len(claims):
        raise ValueError(f"two claims share a name: {[claim.name for claim in claims]}.")
    os.environ["COURSE_SCALE"] = "cpu"
    import torch

    started, runs = time.perf_counter(), []
    for seed in seeds:
        runs.append(experiment(seed))
        if missing := [claim.name for claim in claims if claim.name not in runs[-1]]:
            raise ValueError(f"the run with seed {seed} gave no value for {', '.join(missing)}.")
        print(f"seed {seed}: " + ", ".join(f"{claim.name} {runs[-1][claim.name]:.4g}" for claim in claims), flush=True)
    stored: dict[str, Any] = {
        "notebook": Path(script).name[:2],
        "command": f"python results/{Path(script).name}",
        "seeds": list(seeds),
        "claims": {claim.name: _outcome(claim, [float(run[claim.name]) for run in runs]) for claim in claims},
        "series": {name: [run["series"][name] for run in runs] for name in runs[0].get("series", {})},
        "compute": {
            "seconds": round(time.perf_counter() - started, 1),
            "threads": torch.get_num_threads(),
            "machine": f"{platform.machine()} CPU, {platform.system()}",
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
        "code": code_hash(Path(script), _loaded_modules()),
    }
    path = Path(script).with_suffix(".json")
    path.write_text(json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    print(f"wrote {path.name}")


def _outcome(claim: Claim, values: list[float]) -> dict[str, Any]:
    (low, high), (least, most) = prediction_interval(values), claim.limits
    outcome: dict[str, Any] = {"what": claim.what, "values": values, "band": [max(low, least), min(high, most)]}
    if claim.above is not None:
        from scipy.stats import t

        n = len(values)
        low = statistics.fmean(values) - float(t.ppf(0.99, n - 1)) * statistics.stdev(values) / math.sqrt(n)
        if not low > claim.above:
            raise ValueError(
                f"{claim.name} is not above {claim.above}: over {n} seeds its mean may be as low as {low:.4g} (99 %, "
                "one-sided). Report that, or claim something else."
            )
        outcome |= {"above": claim.above, "mean_at_least": low}
    return outcome


def _loaded_modules() -> list[str]:
    """Modules of the library that the experiment used, as far as importing tells."""
    return sorted(name for name in sys.modules if name.startswith("course_lib.") and not name.startswith(NOT_HASHED))


def code_hash(script: Path, modules: Sequence[str]) -> dict[str, Any]:
    """Return ``{"modules": [...], "sha256": ...}`` of the script and modules; comments and docstrings do not count."""
    package = Path(course_lib.__file__).parent
    digest = hashlib.sha256(_essence(script).encode())
    kept = []
    for name in modules:
        base = package.joinpath(*name.split(".")[1:])
        source = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if source.is_file():
            digest.update(_essence(source).encode())
            kept.append(name)
    return {"modules": kept, "sha256": digest.hexdigest()}


def _essence(path: Path) -> str:
    """The file's syntax tree as text, without docstrings, so that rewording does not count as change."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node) is not None :]
    return _written(tree)


def _written(node: Any) -> str:
    """Like ``ast.dump``, whose text differs between Python versions in how it shows what is not there."""
    if isinstance(node, list):
        return "[" + ", ".join(map(_written, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    return f"{type(node).__name__}({', '.join(f'{name}={_written(value)}' for name, value in fields)})"


def stale(root: Path) -> list[str]:
    """Return the numbers of notebooks whose stored results were made by code that has changed since."""
    found = []
    for path in sorted((root / "results").glob("[0-9][0-9]_*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        script, made_by = path.with_suffix(".py"), stored["code"]
        if not script.is_file() or code_hash(script, made_by["modules"]) != made_by:
            found.append(stored["notebook"])
    return found


def run_results(root: Path, number: str) -> int:
    """Run ``results/NN_slug.py`` anew in a fresh process; return its exit code."""
    script = content_path("results", number, ".py", root)
    return subprocess.run([sys.executable, str(script)], cwd=root, check=False).returncode


def render_results(root: Path) -> str:
    """Return RESULTS.md: every claim of every notebook with its band, and how the runs were made."""
    lines = [
        "# Results",
        "",
        "Every headline number of the course, over the seeds of `results/`. The band is the 99 % prediction interval:",
        "where one more run with another seed should fall. A notebook's live run fails if it falls outside.",
        "Made by `course results`; do not edit.",
    ]
    for path in sorted((root / "results").glob("[0-9][0-9]_*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        compute, versions = stored["compute"], stored["versions"]
        lines += [
            "",
            f"## {path.stem}",
            "",
            f"`{stored['command']}`: {len(stored['seeds'])} seeds in {compute['seconds']:.0f} s, "
            f"{compute['threads']} thread(s) of {compute['machine']}, "
            f"Python {versions['python']}, torch {versions['torch']}.",
            "",
            "| claim | what | mean | band | must exceed |",
            "| --- | --- | ---: | ---: | ---: |",
        ]
        for name, outcome in stored["claims"].items():
            low, high = outcome["band"]
            floor = f"{outcome['above']:g}" if "above" in outcome else ""
            mean = statistics.fmean(outcome["values"])
            what = outcome["what"].replace("|", "\\|")
            lines.append(f"| {name} | {what} | {mean:.4g} | {low:.4g} to {high:.4g} | {floor} |")
    return "\n".join(lines) + "\n"

"""A headline number that is checked: it must fall into the band that many seeds gave."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from course_lib.content import content_path
from course_lib.notebook.scale import scale


class ClaimFailed(AssertionError):
    """A headline number fell outside the band of the stored runs."""


def claim(name: str, value: float, *, digits: int = 3) -> None:
    """Check one headline number against its band, and print it in one line.

    The band is the 99 % prediction interval of the stored runs: where one more run with another seed should
    fall 99 times in 100. With ``COURSE_CLAIMS`` set to a folder, the number is also appended to
    ``claims.jsonl`` there. At gpu scale, for which no runs are stored, the number is printed and not checked.

    Args:
        name: The notebook's number, a dot, and the claim's name in ``results/NN_*.json``: ``"01.gap-slope"``.
        value: What this run gave.
        digits: Digits after the point in the printed line.

    Raises:
        ClaimFailed: If the value is outside its band, or does not beat what it is compared with.
        ValueError: If there is no such claim.
        FileNotFoundError: If that notebook has no stored results.
    """
    value, number = float(value), name.partition(".")[0]
    stored = stored_claim(name)
    low, high = stored["band"]
    seeds = len(stored["values"])
    if folder := os.environ.get("COURSE_CLAIMS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with (Path(folder) / "claims.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"claim": name, "value": value, "band": [low, high], "scale": scale()}) + "\n")
    line = f"{name}: {value:.{digits}f}"
    if scale() != "cpu":
        print(f"{line} (the stored runs are at cpu scale: {low:.{digits}f} to {high:.{digits}f})")
        return
    floor = stored.get("above")
    if floor is not None and not value > floor:
        raise ClaimFailed(f"{name}: this run gave {value:.6g}, which does not exceed {floor:.6g}: {stored['what']}.")
    if not low <= value <= high:
        raise ClaimFailed(
            f"{name}: this run gave {value:.6g}, outside {low:.6g} to {high:.6g}, where {seeds} stored runs say it "
            f"falls 99 times in 100. Something that matters has changed; compare with `course results run {number}`."
        )
    print(f"{line} (band of {seeds} seeds: {low:.{digits}f} to {high:.{digits}f})")


def stored_claim(name: str) -> dict[str, Any]:
    """Return what is stored for one claim: ``what``, ``values`` by seed, ``band``, and ``above`` for a comparison.

    Raises:
        ValueError: If there is no such claim; the message lists the claims of that notebook.
    """
    number, _, short = name.partition(".")
    claims = stored_results(number)["claims"]
    if short not in claims:
        raise ValueError(f"no claim {name!r}: the stored results of notebook {number} have {', '.join(claims)}.")
    found: dict[str, Any] = claims[short]
    return found


def stored_results(number: str) -> dict[str, Any]:
    """Return all that is stored for notebook ``number``, with its ``series`` for drawing.

    Raises:
        FileNotFoundError: If that notebook has no stored results.
    """
    found: dict[str, Any] = json.loads(content_path("results", number, ".json").read_text(encoding="utf-8"))
    return found

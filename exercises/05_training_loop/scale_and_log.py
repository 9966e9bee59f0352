"""Exercises 05.3 and 05.4: a loss scale that finds itself, reading a log with a kill in it."""

from __future__ import annotations

import json

from course_lib.study.exercises import Case, Exercise


def scales(overflows, start, interval):
    """Return the loss scale used by each update."""
    scale, good, used = start, 0, []
    for overflow in overflows:
        used.append(scale)
        if overflow:
            scale, good = max(1.0, scale / 2), 0
        else:
            good += 1
            if good == interval:
                scale, good = scale * 2, 0
    return used


def _scales_oracle(overflows, start, interval):
    used = []
    for update in range(len(overflows)):
        scale, since = float(start), 0
        for earlier in range(update):
            since += 1
            if overflows[earlier]:
                scale, since = (scale / 2 if scale >= 2 else 1.0), 0
            elif since % interval == 0:
                scale *= 2
        used.append(scale)
    return used


def _draw_overflows(rng):
    length = int(rng.integers(5, 25))
    return (
        [bool(value) for value in rng.random(length) < rng.choice([0.1, 0.3, 0.6])],
        float(2 ** rng.integers(0, 6)),
        int(rng.integers(1, 5)),
    )


def _explain_scales(case, expected, got):
    if len(got) != len(expected):
        return f"one number for each of the {len(expected)} updates, got {len(got)}"
    for update, (want, have) in enumerate(zip(expected, got, strict=True)):
        if want != have:
            return f"update {update} uses {want:g}, you gave {float(have):g}; what happened in updates before it?"
    return None


def _one_update_late(overflows, start, interval):
    return [*scales(overflows, start, interval)[1:], scales([*overflows, False], start, interval)[-1]]


def _never_counts_anew(overflows, start, interval):
    scale, good, used = start, 0, []
    for overflow in overflows:
        used.append(scale)
        if overflow:
            scale = max(1.0, scale / 2)
        else:
            good += 1
            if good == interval:
                scale, good = scale * 2, 0
    return used


def _no_floor(overflows, start, interval):
    scale, good, used = start, 0, []
    for overflow in overflows:
        used.append(scale)
        scale, good = (scale / 2, 0) if overflow else (scale, good + 1)
        if good == interval:
            scale, good = scale * 2, 0
    return used


def _grows_every_update(overflows, start, interval):
    scale, good, used = start, 0, []
    for overflow in overflows:
        used.append(scale)
        scale, good = (max(1.0, scale / 2), 0) if overflow else (scale, good + 1)
        if good >= interval:
            scale *= 2
    return used


def _goes_on_counting_at_the_floor(overflows, start, interval):
    scale, good, used = start, 0, []
    for overflow in overflows:
        used.append(scale)
        if not overflow:
            good += 1
            if good == interval:
                scale, good = scale * 2, 0
        elif scale > 1:
            scale, good = scale / 2, 0
    return used


def _grows_by_the_clock(overflows, start, interval):
    scale, used = start, []
    for update, overflow in enumerate(overflows):
        used.append(scale)
        if overflow:
            scale = max(1.0, scale / 2)
        elif (update + 1) % interval == 0:
            scale *= 2
    return used


def counted(lines):
    """Return the rows of a run log that count, and the numbers of damaged lines."""
    rows, damaged = [], []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            if number < len(lines):
                damaged.append(number)
            continue
        if "resumed" in entry:
            rows = [row for row in rows if row["step"] <= entry["resumed"]]
        else:
            rows.append(entry)
    return rows, damaged


def _parsed(line):
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _log_oracle(lines):
    entries = [_parsed(line) for line in lines]
    damaged = [place + 1 for place, entry in enumerate(entries[:-1]) if entry is None]
    found = []
    for place, entry in enumerate(entries):
        later = [mark["resumed"] for mark in entries[place + 1 :] if mark and "resumed" in mark]
        if entry and "step" in entry and all(entry["step"] <= step for step in later):
            found.append(entry)
    return found, damaged


def _draw_log(rng):
    lines, step = [], 0
    for _ in range(int(rng.integers(1, 5))):
        for _ in range(int(rng.integers(1, 6))):
            step += 1
            line = json.dumps({"step": step, "loss": round(float(rng.uniform(0, 3)), 3)})
            lines.append(line[: int(rng.integers(1, 12))] if rng.random() < 0.1 else line)
        step = int(rng.integers(max(0, step - 4), step + 1))
        lines.append(json.dumps({"resumed": step}))
    if rng.random() < 0.5:
        lines.pop()
    if rng.random() < 0.5:
        lines.append(json.dumps({"step": step + 1, "loss": 1.25})[: int(rng.integers(1, 20))])
    return (lines,)


def _explain_log(case, expected, got):
    if not (isinstance(got, (tuple, list)) and len(got) == 2 and isinstance(got[0], list)):
        return "a pair is wanted: the rows, and the numbers of damaged lines"
    wanted, given = ([row.get("step") for row in rows if isinstance(row, dict)] for rows in (expected[0], got[0]))
    if wanted != given:
        return f"the steps that count are {wanted}, you gave {given}"
    return f"the damaged lines are {expected[1]}, you gave {got[1]}" if expected[1] != got[1] else None


def _keeps_marks(lines):
    rows, damaged = counted(lines)
    return [*rows, *[entry for entry in map(_parsed, lines) if entry and "resumed" in entry]], damaged


def _ignores_marks(lines):
    rows = [entry for entry in map(_parsed, lines) if entry and "step" in entry]
    return rows, counted(lines)[1]


def _last_row_of_a_step(lines):
    latest = {row["step"]: row for row in _ignores_marks(lines)[0]}
    return [latest[step] for step in sorted(latest)], counted(lines)[1]


def _voids_the_step_itself(lines):
    rows = []
    for entry in map(_parsed, lines):
        if entry and "resumed" in entry:
            rows = [row for row in rows if row["step"] < entry["resumed"]]
        elif entry:
            rows.append(entry)
    return rows, counted(lines)[1]


def _stops_at_damage(lines):
    for number, line in enumerate(lines, 1):
        if _parsed(line) is None:
            return counted(lines[: number - 1])[0], counted(lines)[1]
    return counted(lines)


def _calls_a_cut_line_damaged(lines):
    return counted(lines)[0], [number for number, line in enumerate(lines, 1) if _parsed(line) is None]


def _compares_with_the_last_text(lines):
    damaged = [number for number, line in enumerate(lines, 1) if _parsed(line) is None and line != lines[-1]]
    return counted(lines)[0], damaged


def _looks_for_the_brace_only(lines):
    rows = counted([line for line in lines if line.endswith("}")])[0]
    return rows, [number for number, line in enumerate(lines[:-1], 1) if not line.endswith("}")]


def _excuses_a_line_before_a_mark(lines):
    rows, damaged = counted(lines)
    return rows, [number for number in damaged if "resumed" not in (_parsed(lines[number]) or {})]


EXERCISES = (
    Exercise(
        id="05.3",
        title="A loss scale that finds itself",
        difficulty=3,
        minutes=15,
        solution=scales,
        cases=_draw_overflows,
        oracle=_scales_oracle,
        edge_cases=(
            Case(([True, True, True, False], 2.0, 3), note="never below 1"),
            Case(([False] * 7, 4.0, 3), note="doubled twice"),
            Case(([False, False, True, False, False, False], 8.0, 3), note="an overflow begins the count anew"),
            Case(([True, False, True, False, False], 1.0, 2), note="an overflow at a scale of 1, too, begins it anew"),
            Case(([], 8.0, 3), note="no update"),
            Case(([False], 8.0, 1), note="one update"),
        ),
        explain=_explain_scales,
        hints=(
            "Two variables: the scale, and how many good updates there were in a row. Write down the scale first.",
            "After an overflow: halve (`max(1.0, ...)`), and the count is 0. Otherwise the count grows by 1.",
            "When the count reaches `interval`: double, and the count is 0 again.",
        ),
        wrong={
            "writes the scale down after the update": _one_update_late,
            "does not begin the count anew after an overflow": _never_counts_anew,
            "halves below 1": _no_floor,
            "doubles in every update once it may": _grows_every_update,
            "doubles by the clock": _grows_by_the_clock,
            "does not begin the count anew after an overflow at 1": _goes_on_counting_at_the_floor,
        },
    ),
    Exercise(
        id="05.4",
        title="Reading a log with a kill in it",
        difficulty=4,
        minutes=20,
        solution=counted,
        cases=_draw_log,
        oracle=_log_oracle,
        edge_cases=(
            Case(([],), note="an empty log"),
            Case((['{"step": 1, "loss": 2.0}', '{"resumed": 0}'],), note="killed before the first checkpoint"),
            Case(
                (['{"step": 1}', '{"step": 2}', '{"step": 3}', '{"resumed": 1}', '{"step": 2}', '{"resumed": 1}'],),
                note="killed twice",
            ),
            Case((['{"step": 1}', '{"st', '{"step": 3}'],), note="the second of three lines is damaged"),
            Case((['{"step": 1}', '{"st'],), note="the last line was cut short"),
            Case((['{"st', '{"step": 2}', '{"st'],), note="the first line is damaged, the last was cut short alike"),
            Case((['{"step": }', '{"step": 2}'],), note="the first line has both braces and is no JSON"),
            Case((['{"step": 1}', '{"st', '{"resumed": 1}', '{"step": 2}'],), note="a damaged line before a mark"),
        ),
        explain=_explain_log,
        hints=(
            "Go through the lines once, with a list of the rows so far.",
            "At a mark keep only the rows so far whose step is not larger than the mark's.",
            "Wrap `json.loads(line)` in `try`, `except json.JSONDecodeError`. Was it the last? `enumerate(lines, 1)`.",
        ),
        wrong={
            "returns the marks as well": _keeps_marks,
            "ignores the marks": _ignores_marks,
            "keeps the last row of each step": _last_row_of_a_step,
            "voids the step of the mark itself": _voids_the_step_itself,
            "stops reading at the first damaged line": _stops_at_damage,
            "calls a last line that was cut short damaged": _calls_a_cut_line_damaged,
            "compares the text with the last line's, not the place": _compares_with_the_last_text,
            "takes every line that ends in a brace for valid": _looks_for_the_brace_only,
            "excuses a broken line before a mark": _excuses_a_line_before_a_mark,
        },
    ),
)

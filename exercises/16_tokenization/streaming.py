"""Exercise 16.3: text from chunks of bytes, each character as soon as it is whole."""

from __future__ import annotations

from course_lib.study.exercises import Case, Exercise


def stream(chunks):
    """Return, for each chunk of bytes, the text that it completes."""
    out, waiting = [], b""
    for chunk in chunks:
        waiting += chunk
        try:
            whole = len(waiting)
            waiting.decode()
        except UnicodeDecodeError as error:
            whole = error.start  # where the character begins that is not whole yet
        out.append(waiting[:whole].decode())
        waiting = waiting[whole:]
    return out


def _stream_oracle(chunks):
    out, shown = [], 0
    for k in range(len(chunks)):
        so_far = b"".join(chunks[: k + 1]).decode(errors="ignore")  # all but a character that is not whole
        out.append(so_far[shown:])
        shown = len(so_far)
    return out


def _draw_chunks(rng):
    text = "".join(rng.choice(list("ab λé你ह𝄞"), rng.integers(0, 12)))
    data = text.encode()
    cuts = sorted(int(cut) for cut in rng.integers(0, len(data) + 1, rng.integers(0, 8)))
    return ([data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)],)


def _explain_stream(case, expected, got):
    if "".join(got) == "".join(expected):
        return "all the text is there, but some of it comes with another chunk than the one that completes it"
    return "joined, your strings are not the text"


def _each_by_itself(chunks):
    return [chunk.decode(errors="replace") for chunk in chunks]


def _drops_what_is_cut(chunks):
    return [chunk.decode(errors="ignore") for chunk in chunks]


def _all_or_nothing(chunks):
    out, waiting = [], b""
    for chunk in chunks:
        waiting += chunk
        try:
            out.append(waiting.decode())
            waiting = b""
        except UnicodeDecodeError:
            out.append("")
    return out


def _all_at_the_end(chunks):
    return [""] * (len(chunks) - 1) + [b"".join(chunks).decode()] if chunks else []


def _never_empty(chunks):
    return [text for text in stream(chunks) if text]


def _text_so_far(chunks):
    return [b"".join(chunks[: k + 1]).decode(errors="ignore") for k in range(len(chunks))]


def _with_the_first_byte(chunks):
    out, data, done = [], b"".join(chunks), 0
    for chunk in chunks:
        end = done + len(chunk)
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        out.append(data[done:end].decode(errors="ignore"))
        done += len(chunk)
    return out


def _holds_two_bytes_at_most(chunks):
    out, waiting = [], b""
    for chunk in chunks:
        waiting += chunk
        for held in range(3):
            whole = waiting[: len(waiting) - held]
            try:
                out.append(whole.decode())
                waiting = waiting[len(whole) :]
                break
            except UnicodeDecodeError:
                continue
        else:
            out.append(waiting.decode(errors="replace"))
            waiting = b""
    return out


def _looks_back_two_bytes(chunks):
    out, waiting = [], b""
    for chunk in chunks:
        waiting += chunk
        text = ""  # if three bytes are to be held, all waits
        for held in range(3):
            try:
                text = waiting[: len(waiting) - held].decode()
                break
            except UnicodeDecodeError:
                continue
        out.append(text)
        waiting = waiting[len(text.encode()) :]
    return out


_CLEF = "𝄞".encode()

EXERCISES = (
    Exercise(
        id="16.3",
        title="Show text while it arrives",
        difficulty=3,
        minutes=20,
        solution=stream,
        cases=_draw_chunks,
        oracle=_stream_oracle,
        edge_cases=(
            Case(([],), note="no chunk at all"),
            Case(([b"", b"a", b""],), note="empty chunks"),
            Case(([_CLEF[:1], _CLEF[1:2], _CLEF[2:3], _CLEF[3:]],), note="four bytes, one at a time"),
            Case(([_CLEF[:3], _CLEF[3:]],), note="three bytes of four, then the last"),
            Case(([b"so " + _CLEF[:2], _CLEF[2:] + b" on"],), note="text around a character that is cut"),
            Case(([b"so " + _CLEF[:3], _CLEF[3:]],), note="text before three bytes of four"),
            Case(([b"a" + _CLEF[:1], b"", _CLEF[1:] + "λ".encode()[:1], "λ".encode()[1:]],), note="cut twice"),
        ),
        explain=_explain_stream,
        hints=(
            "Keep the bytes that are not shown yet in a variable. Add each chunk to them, show what you can, keep the "
            "rest.",
            "A `UnicodeDecodeError` says where the trouble begins: `error.start`. Everything before is whole.",
            "Decode and append the bytes before that place, maybe none, and keep those from there on.",
        ),
        wrong={
            "decodes each chunk by itself": _each_by_itself,
            "drops bytes that are cut off": _drops_what_is_cut,
            "shows nothing while anything is cut": _all_or_nothing,
            "waits until the end": _all_at_the_end,
            "leaves out empty strings": _never_empty,
            "repeats the text so far": _text_so_far,
            "shows a character with its first byte": _with_the_first_byte,
            "holds back two bytes at most": _holds_two_bytes_at_most,
            "holds back two bytes or everything": _looks_back_two_bytes,
        },
    ),
)

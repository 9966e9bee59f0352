r"""LaTeX formulas as a terminal can show them: ``$\frac{1}{n}\sum_i L_i$`` as 1/n ∑ᵢ Lᵢ."""

from __future__ import annotations

import re
import unicodedata

_SYMBOLS = {
    "cdot": "·", "times": "×", "div": "÷", "pm": "±", "mp": "∓", "ast": "*", "star": "⋆", "circ": "∘", "odot": "⊙",
    "oplus": "⊕", "otimes": "⊗", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "ll": "≪",
    "gg": "≫", "approx": "≈", "sim": "~", "simeq": "≃", "equiv": "≡", "propto": "∝", "in": "∈", "notin": "∉",
    "subset": "⊂", "subseteq": "⊆", "cup": "∪", "cap": "∩", "setminus": "∖", "emptyset": "∅", "forall": "∀",
    "exists": "∃", "neg": "¬", "land": "∧", "lor": "∨", "to": "→", "rightarrow": "→", "leftarrow": "←", "gets": "←",
    "Rightarrow": "⇒", "Leftrightarrow": "⇔", "mapsto": "↦", "infty": "∞", "partial": "∂", "nabla": "∇", "ell": "ℓ",
    "top": "⊤", "perp": "⊥", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "Vert": "‖", "lVert": "‖",
    "rVert": "‖", "parallel": "‖", "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈",
    "rceil": "⌉", "ldots": "…", "dots": "…", "cdots": "⋯", "prime": "′", "colon": ":", "quad": "  ", "qquad": "    ",
    "sum": "∑", "prod": "∏", "int": "∫", "varepsilon": "ε", "epsilon": "ϵ", "varphi": "φ", "phi": "ϕ", "vartheta": "ϑ",
}  # fmt: skip
_ESCAPED = {"{": "{", "}": "}", "_": "_", "%": "%", "$": "$", "&": "&", "#": "#", "|": "‖", " ": " ",
            ",": " ", ";": " ", ":": " ", ">": " ", "!": ""}  # fmt: skip
_NAMES = {"log", "ln", "exp", "max", "min", "arg", "argmax", "argmin", "sup", "inf", "lim", "sin", "cos", "tan", "tanh",
          "det", "dim", "ker", "Pr", "softmax"}  # fmt: skip
_PLAIN = {"text", "textbf", "textit", "texttt", "textrm", "mathrm", "mathbf", "mathit", "mathsf", "mathtt",
          "boldsymbol", "bm", "operatorname"}  # fmt: skip
_NOTHING = {"left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "displaystyle", "textstyle", "limits",
            "nolimits"}  # fmt: skip
_ACCENTS = {"hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304", "tilde": "\u0303",
            "widetilde": "\u0303", "vec": "\u20d7", "dot": "\u0307"}  # fmt: skip
_RAISED = dict(zip("0123456789+-−=()abcdefghijklmnoprstuvwxyzTABDEGHIJKLMNOPRUVW⊤′*",
                   "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵁⱽᵂᵀ′*", strict=True))  # fmt: skip
_LOWERED = dict(zip("0123456789+-−=()aehijklmnoprstuvxβγρφχ",
                    "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ", strict=True))  # fmt: skip
_TOKEN = re.compile(r"\\[a-zA-Z]+\*?|\\.|\s+|.", re.DOTALL)
_SEGMENT = re.compile(
    r"(?P<code>```.*?```|(?P<ticks>`+).+?(?P=ticks)|\\.)"
    r"|\$\$(?P<display>.+?)\$\$|\$(?P<inline>(?=\S)(?:\\.|[^$\\])+?(?<=\S))\$",
    re.DOTALL,
)


class _UnknownLatex(ValueError):
    """A command that has no place on a terminal's line."""


def readable(markdown: str) -> str:
    r"""Replace the formulas of a Markdown text by Unicode; one that has no such form stays as it is written.

    Example:
        >>> readable(r"the loss $L = -\log p_\theta(y \mid x)$ of `$HOME`")
        'the loss L = −log p\\_θ(y \\| x) of `$HOME`'
    """
    return _SEGMENT.sub(_without_latex, markdown)


def to_unicode(latex: str) -> str | None:
    r"""Return a formula in Unicode on one line, or ``None`` if it uses something that has no such form.

    Example:
        >>> to_unicode(r"\hat{R}_n = \frac{1}{n} \sum_{i=1}^n \ell(x_i)")
        'R̂ₙ = 1/n ∑ᵢ₌₁ⁿ ℓ(xᵢ)'
    """
    tokens = _TOKEN.findall(latex.strip())
    try:
        return re.sub(r"(?<=\S) {3,}", "  ", _sequence(tokens, closing=None))
    except _UnknownLatex:
        return None


def _without_latex(match: re.Match[str]) -> str:
    if match["code"]:
        return match[0]
    formula = to_unicode(match["display"] or match["inline"])
    if formula is None:
        return re.sub(r"([\\`*_\[\]<>~])", r"\\\1", match[0])
    shown = re.sub(r"([\\`*_\[\]<>~|#$])", r"\\\1", formula)
    return f"\n\n{shown}\n\n" if match["display"] else shown


def _sequence(tokens: list[str], *, closing: str | None) -> str:
    """Consume ``tokens`` up to ``closing``; the list shrinks as it is read."""
    done = ""
    while tokens:
        token = tokens.pop(0)
        if token == closing:
            return done
        if token in "^_":
            done += _script(_argument(tokens), raised=token == "^")
        elif token in (r"\sum", r"\prod", r"\int") and done[-1:].isalnum():
            done += f" {_one(token, tokens)}"
        else:
            done += _one(token, tokens)
    if closing is not None:
        raise _UnknownLatex(f"no {closing}")
    return done


def _argument(tokens: list[str]) -> str:
    while tokens and tokens[0].isspace():
        tokens.pop(0)
    if not tokens:
        raise _UnknownLatex("a command without its argument")
    return _one(tokens.pop(0), tokens)


def _one(token: str, tokens: list[str]) -> str:
    """Return what ``token`` stands for, with the arguments that it takes from ``tokens``."""
    if token == "{":
        return _sequence(tokens, closing="}")
    if token.isspace() or token == "~":
        return " "
    if not token.startswith("\\"):
        if token in "}&":
            raise _UnknownLatex(token)
        return {"-": "−", "'": "′"}.get(token, token)
    return _command(token[1:], tokens)


def _command(name: str, tokens: list[str]) -> str:
    if not name[:1].isalpha():
        if name not in _ESCAPED:
            raise _UnknownLatex(name)
        return _ESCAPED[name]
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    if name.rstrip("*") in _NAMES:
        return name.rstrip("*")
    if name in _NOTHING:
        if name in ("left", "right") and tokens[:1] == ["."]:
            tokens.pop(0)
        return ""
    if name.rstrip("*") in _PLAIN:
        return _argument(tokens)
    if name in ("frac", "tfrac", "dfrac"):
        return f"{_grouped(_argument(tokens))}/{_grouped(_argument(tokens))}"
    if name == "sqrt":
        return f"√{_grouped(_argument(tokens))}"
    if name in _ACCENTS:
        inner = _argument(tokens)
        return inner + _ACCENTS[name] if len(inner) == 1 else f"{name.removeprefix('wide')}({inner})"
    if name in ("mathbb", "mathcal", "mathscr"):
        return "".join(
            _letter(letter, "DOUBLE-STRUCK" if name == "mathbb" else "SCRIPT") for letter in _argument(tokens)
        )
    return _greek(name)


def _grouped(text: str) -> str:
    simple = re.fullmatch(r"[\w.\u0300-\u036f′ᵀ-ᵿ⁰-ₜ]+|\([^()]*\)", text)
    return text if simple else f"({text})"


def _script(text: str, *, raised: bool) -> str:
    table, mark = (_RAISED, "^") if raised else (_LOWERED, "_")
    compact = text.replace(" ", "")
    if compact and all(letter in table for letter in compact):
        return "".join(table[letter] for letter in compact)
    return f"{mark}{text}" if len(text) == 1 else f"{mark}({text})"


def _letter(letter: str, style: str) -> str:
    for name in (f"MATHEMATICAL {style} CAPITAL {letter}", f"{style} CAPITAL {letter}"):
        try:
            return unicodedata.lookup(name)
        except KeyError:
            continue
    return letter


def _greek(name: str) -> str:
    size = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {size} LETTER {'LAMDA' if name.lower() == 'lambda' else name.upper()}")
    except KeyError as error:
        raise _UnknownLatex(name) from error

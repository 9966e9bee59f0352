"""What the words in braces become: forms of the hero, the wish, the friend and whoever needs help, all in agreement."""

from __future__ import annotations

from collections.abc import Mapping

# Story-wide choices and the forms under which sentences mention them. The first group names the value itself, so a
# reader learns it from there; the second group only has to agree with it.
NAMING = {
    "at": ("at",),
    "hero": ("hero", "a_hero"),
    "name": ("name",),
    "trait": ("trait", "a_trait"),
    "wish": ("a_wish", "wish", "do", "did"),
    "use": ("use", "used"),
    "friend": ("friend",),
    "kind": ("kind", "a_kind"),
    "needy": ("a_needy", "the_needy"),
    "trouble": ("trouble",),
    "spot": ("spot",),
}
AGREEING = {
    "name": ("she", "her", "him", "herself"),
    "wish": ("it", "them", "was"),
    "needy": ("me", "i", "am", "have", "was_n"),
}
# Choices made anew by each sentence, with the story-wide choice whose list they are drawn from.
LOCAL = {
    "food": "hero",
    "habit": "hero",
    "sights": "at",
    "path": "at",
    "night": "at",
    "made": "wish",
    "way": "wish",
    "instead": "wish",
    "ruin": "wish",
    "fail": "wish",
    "help": "trouble",
    "saying": None,
    "weather": None,
    "time": None,
    "manner": None,
    "said": None,
    "begging": None,
    "season": None,
    "feast": None,
    "bravery": None,
}


def a_or_an(noun: str) -> str:
    """Return ``noun`` after its article.

    Example:
        >>> a_or_an("owl"), a_or_an("young owl")
        ('an owl', 'a young owl')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def is_deed(wish: str) -> bool:
    """Return whether a wish is something to do, rather than something to have."""
    return "|" in wish


def verb_forms(phrase: str) -> tuple[str, str]:
    """Return present and past of a phrase such as ``cut|cut the net``.

    Example:
        >>> verb_forms("bind|bound the wing")
        ('bind the wing', 'bound the wing')
    """
    present, _, rest = phrase.partition("|")
    _, space, tail = rest.partition(" ")
    return f"{present}{space}{tail}", rest


def forms(choice: str, value: str, plurals: frozenset[str]) -> Mapping[str, str]:
    """Return every form of one choice: of the hero "fox" both "fox" and "a fox".

    Args:
        choice: A story-wide or local choice, such as ``"hero"``.
        value: What was chosen.
        plurals: The plural wishes and needies, and the names that are "he".
    """
    many = value in plurals
    words: tuple[str, ...]
    if choice in ("hero", "trait", "kind"):
        return {choice: value, f"a_{choice}": a_or_an(value)}
    if choice == "name":
        words = ("he", "his", "him", "himself") if many else ("she", "her", "her", "herself")
        return {"name": value, **dict(zip(AGREEING["name"], words, strict=True))}
    if choice == "wish":
        if is_deed(value):
            return dict(zip(("do", "did"), verb_forms(value), strict=True))
        words = ("they", "them", "were") if many else ("it", "it", "was")
        bare = value if many else value.partition(" ")[2]
        return {"a_wish": value, "wish": bare, **dict(zip(AGREEING["wish"], words, strict=True))}
    if choice in ("use", "help"):
        present, past = verb_forms(value)
        return {choice: present, "used" if choice == "use" else "helped": past}
    if choice == "needy":
        words = ("us", "we", "are", "have", "were") if many else ("me", "I", "am", "have", "was")
        return {
            "a_needy": value if many else a_or_an(value),
            "the_needy": f"the {value}",
            **dict(zip(AGREEING["needy"], words, strict=True)),
        }
    return {choice: value}


def capital(phrase: str) -> str:
    """Return ``phrase`` with a capital first letter."""
    return phrase[0].upper() + phrase[1:]

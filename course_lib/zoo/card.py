"""The card of a model of text: what it is, how it was made, how good it is, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, MISSING, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_lib.zoo.image_card import ImageCard

Scores = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Card:
    """What whoever uses a model has to know of it, for programs (`to_json`) and for people (`markdown`).

    Args:
        name: A short one, without spaces.
        summary: What it is, in a sentence or two.
        architecture: The fields of its `TransformerConfig`; of a reward model also ``pooling``.
        num_parameters: All of them, embeddings included.
        tokenizer: Its kind and size, in words.
        data: What it was trained on, in words.
        data_licence: Under what terms that data may be used.
        licence: Under what terms the weights may be used.
        limits: What it cannot do, and what it must not be used for.
        recipe: The command that makes it anew.
        seed: That of weights, data order and samples.
        training: Steps, tokens, settings, seconds: name -> number or text.
        versions: Package -> version it was trained with.
        validation: ``nats_per_token`` and ``bits_per_byte`` of these very weights on text held out, ``num_tokens`` and
            ``num_bytes`` of that text; empty for a model that writes no text.
        baselines: The same two figures of simpler models on the same text, by name.
        samples: What it writes, not chosen.
        kind: ``"language model"`` or ``"reward model"``.
        measured: On what ``scores`` were measured, in words.
        scores: Of these very weights and of what they are to be compared with, beside the figures of ``validation``:
            row -> column -> number.
        files: Name -> SHA-256 of the files beside the card; filled in when they are written.

    Reference: Mitchell et al. 2019, *Model Cards for Model Reporting*, https://arxiv.org/abs/1810.03993
    """

    name: str
    summary: str
    _: KW_ONLY
    architecture: dict[str, Any]
    num_parameters: int
    tokenizer: str
    data: str
    data_licence: str
    licence: str
    limits: str
    recipe: str
    seed: int
    training: dict[str, float | int | str]
    versions: dict[str, str]
    validation: dict[str, float]
    baselines: Scores = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    kind: str = "language model"
    measured: str = ""
    scores: Scores = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the card as dictionaries, lists, numbers and texts."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Card:
        """Build a card from what `to_json` gave.

        Raises:
            ValueError: If fields are missing that have no default, or unknown; they are named.
        """
        check_fields(cls, content, called="a model card")
        return cls(**content)

    def markdown(self) -> str:
        """Return the card as a page for people.

        Figures of validation come with those of the baselines, so that they can be judged.
        """
        return "\n".join(
            [
                f"# {self.name}",
                f"\n{self.summary}\n",
                f"- **Parameters:** {self.num_parameters:,}",
                *([f"- **Kind:** {self.kind}"] if self.kind != "language model" else []),
                f"- **Tokenizer:** {self.tokenizer}",
                f"- **Data:** {self.data}",
                f"- **Licence of the data:** {self.data_licence}",
                f"- **Licence of the weights:** {self.licence}",
                "\n## How good it is\n",
                *(self._lines_of_validation() if self.validation else []),
                *([""] if self.validation and self.scores else []),
                *(lines_of_scores(self.measured, self.scores) if self.scores else []),
                "\n## Limits of use\n",
                self.limits,
                *lines_of_making(self),
                *(["\n## Samples, not chosen"] if self.samples else []),
                *(f"\n```\n{sample}\n```" for sample in self.samples),
                *lines_of_files(self),
            ]
        )

    def _lines_of_validation(self) -> list[str]:
        rows = {"this model": self.validation, **self.baselines}
        num_tokens, num_bytes = self.validation["num_tokens"], self.validation["num_bytes"]
        return [
            f"On text held out, {num_tokens:,.0f} tokens, {num_bytes:,.0f} bytes:\n",
            "| model | nats a token | bits a byte |",
            "| --- | --- | --- |",
            *(
                f"| {label} | {score['nats_per_token']:.3f} | {score['bits_per_byte']:.3f} |"
                for label, score in rows.items()
            ),
            "\nBits a byte can be compared across tokenizers, nats a token cannot.",
        ]


def check_fields(card: type[Card | ImageCard], content: Mapping[str, Any], *, called: str) -> None:
    """Raise a ValueError that names the fields of ``card`` that ``content`` lacks and should not, or has too many."""
    known = {each.name for each in fields(card)}
    needed = {each.name for each in fields(card) if each.default is MISSING and each.default_factory is MISSING}
    if wrong := (needed - content.keys()) | (content.keys() - known):
        raise ValueError(f"{called} has the fields {', '.join(sorted(known))}; wrong: {', '.join(sorted(wrong))}.")


def lines_of_scores(measured: str, scores: Scores) -> list[str]:
    """Return the part of a page that says how good a model is beside others, with how that was measured."""
    columns = list(dict.fromkeys(column for row in scores.values() for column in row))
    return [
        f"{measured}\n",
        f"| model | {' | '.join(columns)} |",
        f"| --- |{' --- |' * len(columns)}",
        *(
            f"| {label} | {' | '.join(f'{row[column]:.4g}' if column in row else '' for column in columns)} |"
            for label, row in scores.items()
        ),
    ]


def lines_of_making(card: Card | ImageCard) -> list[str]:
    """Return the part of a page that says how a model was made, and its architecture."""
    return [
        "\n## How it was made\n",
        f"```\n{card.recipe}\n```\n",
        *_items(card.training),
        f"- seed: {card.seed}",
        f"- versions: {', '.join(f'{name} {version}' for name, version in card.versions.items())}",
        "\n## Architecture\n",
        *_items(card.architecture),
    ]


def lines_of_files(card: Card | ImageCard) -> list[str]:
    """Return the end of a page: the files beside it."""
    return ["\n## Files\n", *(f"- `{name}`: SHA-256 {digest}" for name, digest in card.files.items()), ""]


def shown(value: object) -> str:
    """Return a setting as people write it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "default"}[value]
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _items(settings: Mapping[str, object]) -> list[str]:
    return [f"- {name.replace('_', ' ')}: {shown(value)}" for name, value in settings.items()]

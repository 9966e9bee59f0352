"""The card of an image model: what it is, how it was made, how good it is, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Any

from course_lib.zoo.card import Scores, check_fields, lines_of_files, lines_of_making, lines_of_scores


@dataclass(frozen=True, slots=True)
class ImageCard:
    """What whoever uses an image model has to know of it; `Card` is the one for language models.

    Args:
        name: A short one, without spaces.
        summary: What it is, in a sentence or two.
        kind: ``"classifier"`` or ``"generator"``.
        architecture: The arguments of its network.
        num_parameters: All of them.
        images: What images it takes or makes: size, channels, range.
        classes: What is told apart -> the names of its classes, in order.
        data: What it was trained on, in words, and what was held out.
        data_licence: Under what terms that data may be used.
        licence: Under what terms the weights may be used.
        limits: What it cannot do, and what it must not be used for.
        recipe: The command that makes it anew.
        seed: That of weights, data order and samples.
        training: Steps, settings, seconds: name -> number or text.
        versions: Package -> version it was trained with.
        measured: On what ``scores`` were measured, in words.
        scores: Of these very weights and of what they are to be compared with: row -> column -> number.
        files: Name -> SHA-256 of the files beside the card; filled in when they are written.

    Reference: Mitchell et al. 2019, *Model Cards for Model Reporting*, https://arxiv.org/abs/1810.03993
    """

    name: str
    summary: str
    _: KW_ONLY
    kind: str
    architecture: dict[str, Any]
    num_parameters: int
    images: str
    classes: dict[str, list[str]]
    data: str
    data_licence: str
    licence: str
    limits: str
    recipe: str
    seed: int
    training: dict[str, float | int | str]
    versions: dict[str, str]
    measured: str
    scores: Scores
    files: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the card as dictionaries, lists, numbers and texts."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ImageCard:
        """Build a card from what `to_json` gave.

        Raises:
            ValueError: If fields are missing or unknown; they are named.
        """
        check_fields(cls, content, called="an image model's card")
        return cls(**content)

    def markdown(self) -> str:
        """Return the card as a page for people."""
        return "\n".join(
            [
                f"# {self.name}",
                f"\n{self.summary}\n",
                f"- **Kind:** {self.kind}",
                f"- **Parameters:** {self.num_parameters:,}",
                f"- **Images:** {self.images}",
                *(f"- **Classes ({head}):** {', '.join(names)}" for head, names in self.classes.items()),
                f"- **Data:** {self.data}",
                f"- **Licence of the data:** {self.data_licence}",
                f"- **Licence of the weights:** {self.licence}",
                "\n## How good it is\n",
                *lines_of_scores(self.measured, self.scores),
                "\n## Limits of use\n",
                self.limits,
                *lines_of_making(self),
                *lines_of_files(self),
            ]
        )

"""A model card: what a model is, how it was made, how good it is, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Card:
    """What whoever uses a model has to know of it, for programs (`to_json`) and for people (`markdown`).

    Args:
        name: A short one, without spaces.
        summary: What it is, in a sentence or two.
        architecture: The fields of its `TransformerConfig`.
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
            ``num_bytes`` of that text.
        baselines: The same two figures of simpler models on the same text, by name.
        samples: What it writes, not chosen.
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
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the card as dictionaries, lists, numbers and texts."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Card:
        """Build a card from what `to_json` gave.

        Raises:
            ValueError: If fields are missing or unknown; they are named.
        """
        known = {each.name for each in fields(cls)}
        if wrong := known.symmetric_difference(content):
            raise ValueError(
                f"a model card has the fields {', '.join(sorted(known))}; wrong: {', '.join(sorted(wrong))}."
            )
        return cls(**content)

    def markdown(self) -> str:
        """Return the card as a page for people.

        Figures of validation come with those of the baselines, so that they can be judged.
        """
        scores = {"this model": self.validation, **self.baselines}
        rows = [
            f"| {label} | {score['nats_per_token']:.3f} | {score['bits_per_byte']:.3f} |"
            for label, score in scores.items()
        ]
        return "\n".join(
            [
                f"# {self.name}",
                f"\n{self.summary}\n",
                f"- **Parameters:** {self.num_parameters:,}",
                f"- **Tokenizer:** {self.tokenizer}",
                f"- **Data:** {self.data}",
                f"- **Licence of the data:** {self.data_licence}",
                f"- **Licence of the weights:** {self.licence}",
                "\n## How good it is\n",
                f"On text held out, {self.validation['num_tokens']:,.0f} tokens, "
                f"{self.validation['num_bytes']:,.0f} bytes:\n",
                "| model | nats a token | bits a byte |",
                "| --- | --- | --- |",
                *rows,
                "\nBits a byte can be compared across tokenizers, nats a token cannot.",
                "\n## Limits of use\n",
                self.limits,
                "\n## How it was made\n",
                f"```\n{self.recipe}\n```\n",
                *(f"- {name.replace('_', ' ')}: {shown(value)}" for name, value in self.training.items()),
                f"- seed: {self.seed}",
                f"- versions: {', '.join(f'{name} {version}' for name, version in self.versions.items())}",
                "\n## Architecture\n",
                *(f"- {name.replace('_', ' ')}: {shown(value)}" for name, value in self.architecture.items()),
                "\n## Samples, not chosen",
                *(f"\n```\n{sample}\n```" for sample in self.samples),
                "\n## Files\n",
                *(f"- `{name}`: SHA-256 {digest}" for name, digest in self.files.items()),
                "",
            ]
        )


def shown(value: object) -> str:
    """Return a setting as people write it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "default"}[value]
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

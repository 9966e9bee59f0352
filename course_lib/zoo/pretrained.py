"""A trained language model with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import torch

from course_lib.alignment import Chat
from course_lib.nn.transformer import Transformer, TransformerConfig, generate
from course_lib.tokenization import BPETokenizer
from course_lib.zoo.card import Card

END_OF_TEXT = "<|endoftext|>"  # follows every document, and precedes the first


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """A model, the tokenizer it was trained with, and its card.

    Args:
        model: Maps token ids to logits.
        tokenizer: Has the special token ``<|endoftext|>``.
        card: What is known of it.

    Raises:
        ValueError: If the three do not fit together.
    """

    model: Transformer
    tokenizer: BPETokenizer
    card: Card

    def __post_init__(self) -> None:
        check_parts(self.model, self.tokenizer, self.card.architecture)

    @property
    def separator(self) -> int:
        """The id of ``<|endoftext|>``: what every document begins after, and ends with."""
        return self.tokenizer.special[END_OF_TEXT]

    @property
    def chat(self) -> Chat:
        """The model as one that is talked to: ``load("stories_sft").chat.reply(["Tell a story about a fox."])``.

        Raises:
            ValueError: If its tokenizer has no marks of a chat, because it was never taught to answer.
        """
        return Chat(self.model, self.tokenizer)

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[str]:
        """Return how the model goes on after each prompt, as after the beginning of a document.

        Args:
            prompts: Texts; ``""`` lets it begin by itself.
            max_new_tokens: Where to stop when the document does not end before.
            temperature: 0 takes the likeliest token each time, 1 draws from the model's own distribution.
            top_k: Draw only from so many of the likeliest tokens.
            top_p: Draw only from the likeliest tokens that together have this probability.
            seed: The same seed gives the same texts.

        Raises:
            ValueError: If ``prompts`` is a single text, a prompt holds the name of a special token, or a prompt and
                what is to follow exceed the model's context.
        """
        if isinstance(prompts, str):
            raise ValueError('complete takes a list of prompts: write complete(["Once"]) for one.')
        if held := [(prompt, name) for prompt in prompts for name in self.tokenizer.special if name in prompt]:
            raise ValueError(f'{held[0][1]} in prompt {held[0][0]!r} is no text: leave it out; "" begins a document.')
        device = next(self.model.parameters()).device
        generated = generate(
            self.model,
            [[self.separator, *self.tokenizer.encode(prompt)] for prompt in prompts],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            stop_tokens=(self.separator,),
            generator=torch.Generator(device).manual_seed(seed),
        )
        return [self.tokenizer.decode(ids, skip_special=True) for ids in generated.lists()]


def check_parts(model: Transformer, tokenizer: BPETokenizer, architecture: dict[str, Any]) -> None:
    """Raise a ValueError if a model, its tokenizer and the architecture on its card do not fit together."""
    if END_OF_TEXT not in tokenizer.special:
        raise ValueError(f"the tokenizer needs the special token {END_OF_TEXT}, it has {list(tokenizer.special)}.")
    if (rows := model.config.vocab_size) != tokenizer.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.vocab_size} tokens, the model {rows}.")
    built = asdict(model.config)
    stated = {each.name: each.default for each in fields(TransformerConfig)} | architecture
    if differing := [name for name, value in stated.items() if built.get(name, MISSING) != value]:
        changes = ", ".join(f"{name} ({stated[name]!r}, not {built.get(name)!r})" for name in differing)
        raise ValueError(f"the card's architecture is not the model's: it differs in {changes}.")

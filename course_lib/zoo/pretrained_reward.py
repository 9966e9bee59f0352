"""A trained reward model with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from course_lib.alignment import ChatTemplate, RewardModel, score_completions
from course_lib.tokenization import BPETokenizer
from course_lib.zoo.card import Card
from course_lib.zoo.pretrained import END_OF_TEXT, check_parts


@dataclass(frozen=True, slots=True, eq=False)
class PretrainedReward:
    """A reward model, the tokenizer it was trained with, and its card.

    Args:
        model: Maps token ids to one number a text.
        tokenizer: Has the special token ``<|endoftext|>``.
        card: What is known of it.

    Raises:
        ValueError: If the three do not fit together.
    """

    model: RewardModel
    tokenizer: BPETokenizer
    card: Card

    def __post_init__(self) -> None:
        stated = dict(self.card.architecture)
        if (pooling := stated.pop("pooling", None)) != self.model.pooling:
            raise ValueError(f"the card speaks of pooling {pooling!r}, the model has {self.model.pooling!r}.")
        check_parts(self.model.transformer, self.tokenizer, stated)

    def score(self, texts: Sequence[str], requests: Sequence[str] | None = None) -> Tensor:
        """Return the reward of each text, as a whole document or as the answer to a request.

        Args:
            texts: What is judged. The token that ends it is put behind each.
            requests: What each of them answers, for a model that was trained on chats; None for one that was not.

        Shape:
            - output: ``(N,)``, in the model's dtype; differences are log-odds of being preferred

        Raises:
            ValueError: If ``texts`` is a single text, there is not one request each, requests are given to a model
                that knows no chat or missing for one that does, or a text holds the name of a special token.
        """
        if isinstance(texts, str):
            raise ValueError("score takes a list of texts: write score([text]) for one.")
        template = ChatTemplate()
        chats = set(template.marks) <= set(self.tokenizer.special)
        if chats != (requests is not None):
            wanted = "answers: give their requests" if chats else "texts alone: leave requests out"
            raise ValueError(f"{self.card.name} judges {wanted}.")
        if requests is None:
            end = self.tokenizer.special[END_OF_TEXT]
            prompts = [[end]] * len(texts)
            completions = [[*self.tokenizer.encode(text), end] for text in texts]
        else:
            prompts = [template.prompt(self.tokenizer, [{"role": "user", "content": each}]) for each in requests]
            completions = [template.completion(self.tokenizer, text) for text in texts]
        return score_completions(self.model, prompts, completions)

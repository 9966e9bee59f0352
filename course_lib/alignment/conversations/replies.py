"""Talking with a model: requests in, answers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from course_lib.alignment.conversations.template import ChatTemplate, MarkNames, Messages
from course_lib.nn.transformer import Transformer, generate
from course_lib.tokenization import BPETokenizer


@dataclass(frozen=True, slots=True, eq=False)
class Chat:
    """A language model that is spoken to in a chat's marks.

    Args:
        model: Has a row for each of the tokenizer's ids.
        tokenizer: Has the template's marks.
        template: Writes the conversation.

    Raises:
        ValueError: If model, tokenizer and template do not fit together.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> template = ChatTemplate()
        >>> tokenizer = BPETokenizer([]).with_special(template.marks)
        >>> config = gpt(vocab_size=tokenizer.vocab_size, width=16, num_layers=1, num_heads=2, context_length=64)
        >>> chat = Chat(Transformer(config, generator=torch.Generator().manual_seed(0)), tokenizer, template)
        >>> len(chat.reply(["Hello?", "Who are you?"], max_new_tokens=8))
        2
    """

    model: Transformer
    tokenizer: BPETokenizer
    template: ChatTemplate = field(default_factory=ChatTemplate)

    def __post_init__(self) -> None:
        if (rows := self.model.config.vocab_size) != self.tokenizer.vocab_size:
            raise ValueError(
                f"the model has {rows} tokens, the tokenizer {self.tokenizer.vocab_size}: marks that were added to the "
                "tokenizer need rows in the model (course_lib.nn.transformer.grow_vocabulary)."
            )
        self.template.completion(self.tokenizer, "")  # says which marks are missing

    def reply(
        self,
        prompts: Sequence[str | Messages],
        *,
        max_new_tokens: int = 200,
        temperature: float = 0.7,
        top_p: float | None = None,
        seed: int = 0,
        special: MarkNames = "refuse",
    ) -> list[str]:
        """Return the model's answer to each prompt.

        An answer ends with the first special token, whichever it is: the end mark as a rule, the end of a document
        from a model that was never taught to chat. It is not part of what is returned.

        Args:
            prompts: A text is a user's only message; a list of messages is a conversation so far.
            max_new_tokens: Where an answer without an end is broken off.
            temperature: 0 takes the likeliest token each time, 1 draws from the model's own distribution.
            top_p: Draw only from the likeliest tokens that together have this probability.
            seed: The same seed gives the same answers.
            special: What a special token's name in a message means, see `ChatTemplate.encode`.

        Raises:
            ValueError: If ``prompts`` is a single text or conversation, a message is malformed, or a prompt and its
                answer exceed the model's context.
        """
        if isinstance(prompts, str) or (prompts and isinstance(prompts[0], Mapping)):
            raise ValueError("reply takes a list of prompts: write reply([prompt]) for one.")
        asked: list[Messages] = [
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt for prompt in prompts
        ]
        generated = generate(
            self.model,
            [self.template.prompt(self.tokenizer, messages, special=special) for messages in asked],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            stop_tokens=tuple(self.tokenizer.special.values()),
            generator=torch.Generator(self.model.embedding.weight.device).manual_seed(seed),
        )
        return [self.tokenizer.decode(ids, skip_special=True) for ids in generated.lists()]

"""The chat template: a conversation as tokens, with a note of which of them the assistant says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from course_lib.tokenization import BPETokenizer

Messages = Sequence[Mapping[str, str]]  # [{"role": "user", "content": "Tell a story."}, ...]
MarkNames = Literal["refuse", "text"]

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class ChatExample:
    """A conversation to learn from.

    Args:
        tokens: Ids of the whole conversation.
        trained: For each token, whether it is learnt: True for what the assistant says and for the mark that ends it,
            False for the system's and the user's words and for all marks that only lead up to an answer.

    Raises:
        ValueError: If the two differ in length.
    """

    tokens: list[int]
    trained: list[bool]

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.trained):
            raise ValueError(
                f"trained must say yes or no for each token, got {len(self.trained)} for {len(self.tokens)} tokens."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """How a conversation is written for a language model: each message between a mark of its role and an end mark.

    A language model knows one stream of tokens and nothing of turns. Special tokens make turns of it:
    ``<|user|>Tell a story.<|end|><|assistant|>Once upon a time...<|end|>``. The model is asked by ending the stream
    with the assistant's mark, and has answered when it writes the end mark.

    Marks are single tokens, and only this class writes them: a mark's name inside a message never becomes the mark, so
    nobody can speak as somebody else. It is refused, or, with ``special="text"``, taken as the characters it is made
    of. Nothing else is changed: no white space is added or removed.

    Args:
        system: Mark of the message that sets the assistant's manner; it may come first, and only there.
        user: Mark of a request.
        assistant: Mark of an answer.
        end: Ends every message.

    Raises:
        ValueError: If two marks have the same name, or one has none.

    Example:
        >>> from course_lib.tokenization import BPETokenizer
        >>> template = ChatTemplate()
        >>> tokenizer = BPETokenizer([]).with_special(template.marks)
        >>> talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
        >>> template.render(talk)
        '<|user|>Hi<|end|><|assistant|>Ho<|end|>'
        >>> example = template.encode(tokenizer, talk)
        >>> tokenizer.decode([token for token, learnt in zip(example.tokens, example.trained) if learnt])
        'Ho<|end|>'
        >>> tokenizer.decode(template.prompt(tokenizer, talk[:1]))
        '<|user|>Hi<|end|><|assistant|>'
    """

    system: str = "<|system|>"
    user: str = "<|user|>"
    assistant: str = "<|assistant|>"
    end: str = "<|end|>"

    def __post_init__(self) -> None:
        if len(set(self.marks)) < len(self.marks) or not all(self.marks):
            raise ValueError(f"the four marks need names of their own, got {self.marks}.")

    @property
    def marks(self) -> tuple[str, str, str, str]:
        """The names of all marks, for `course_lib.tokenization.BPETokenizer.with_special`."""
        return self.system, self.user, self.assistant, self.end

    def render(self, messages: Messages) -> str:
        """Return the conversation as one text, to read or to hand to another tokenizer.

        Raises:
            ValueError: If the messages are malformed, or one holds a mark's name: in a text the two look the same.
        """
        parts = []
        for role, content in _checked(messages):
            if held := [mark for mark in self.marks if mark in content]:
                raise ValueError(_holds_mark(held[0], role))
            parts.append(f"{self._mark(role)}{content}{self.end}")
        return "".join(parts)

    def encode(self, tokenizer: BPETokenizer, messages: Messages, *, special: MarkNames = "refuse") -> ChatExample:
        """Return the tokens of a conversation, and which of them are learnt: every answer and its end mark.

        Args:
            tokenizer: Has the marks among its special tokens.
            messages: Dictionaries with ``"role"`` (system, user or assistant) and ``"content"``. The contents may be
                empty; without an answer nothing is learnt.
            special: What the name of a special token in a message means. ``"refuse"``: an error. ``"text"``: text.

        Raises:
            ValueError: If the messages are malformed, the tokenizer lacks a mark, or a name is refused.
        """
        end = self._ids(tokenizer)[self.end]
        example = ChatExample([], [])
        for role, content in _checked(messages):
            said = [*_encoded(tokenizer, content, role, special), end]
            example.tokens.extend((tokenizer.special[self._mark(role)], *said))
            example.trained.extend((False, *[role == "assistant"] * len(said)))
        return example

    def prompt(self, tokenizer: BPETokenizer, messages: Messages, *, special: MarkNames = "refuse") -> list[int]:
        """Return the tokens that ask for an answer: the conversation so far and the assistant's mark.

        With `completion` of the answer behind it, it is `encode` of the conversation with the answer, token by token.

        Raises:
            ValueError: As in `encode`, or if the last message is the assistant's own.
        """
        tokens = self.encode(tokenizer, messages, special=special).tokens
        if messages[-1]["role"] == "assistant":
            raise ValueError("the assistant has spoken last: a prompt ends with a message of the user or the system.")
        return [*tokens, tokenizer.special[self.assistant]]

    def completion(self, tokenizer: BPETokenizer, text: str, *, special: MarkNames = "refuse") -> list[int]:
        """Return the tokens of an answer and its end mark: what the model should write after `prompt`."""
        end = self._ids(tokenizer)[self.end]
        return [*_encoded(tokenizer, text, "assistant", special), end]

    def _mark(self, role: str) -> str:
        return {"system": self.system, "user": self.user, "assistant": self.assistant}[role]

    def _ids(self, tokenizer: BPETokenizer) -> Mapping[str, int]:
        if missing := [mark for mark in self.marks if mark not in tokenizer.special]:
            raise ValueError(
                f"the tokenizer has no special token {', '.join(missing)}: take tokenizer.with_special(...) of it, and "
                "give the model rows for them (course_lib.nn.transformer.grow_vocabulary)."
            )
        return tokenizer.special


def _checked(messages: Messages) -> list[tuple[str, str]]:
    """Return role and content of each message."""
    if isinstance(messages, (str, Mapping)) or len(messages) == 0:
        raise ValueError(
            f"messages must be a list of one dictionary or more, such as [{{'role': 'user', 'content': 'Hello'}}], "
            f"got {messages!r}."
        )
    checked = []
    for place, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.keys() != {"role", "content"}:
            raise ValueError(f"message {place} must be a dictionary of 'role' and 'content', got {message!r}.")
        role, content = message["role"], message["content"]
        if role not in _ROLES:
            raise ValueError(f"the role of message {place} must be one of {', '.join(_ROLES)}, got {role!r}.")
        if role == "system" and place > 0:
            raise ValueError(f"message {place} is the system's: only the first may be.")
        if not isinstance(content, str):
            raise ValueError(f"the content of message {place} must be a text, got {type(content).__name__}.")
        checked.append((role, content))
    return checked


def _encoded(tokenizer: BPETokenizer, content: str, role: str, special: MarkNames) -> list[int]:
    if special not in ("refuse", "text"):
        raise ValueError(f"special must be 'refuse' or 'text' (never the mark itself), got {special!r}.")
    if special == "refuse" and (held := [name for name in tokenizer.special if name in content]):
        raise ValueError(f"{_holds_mark(held[0], role)} special='text' takes it as ordinary characters.")
    return tokenizer.encode(content, special="text")


def _holds_mark(mark: str, role: str) -> str:
    return f"a message of the {role} holds the name of the special token {mark!r}, which would be one to some readers."

"""Requests for stories with the tales that fulfil them, and how well a model does what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from course_lib.alignment import (
    Chat,
    ChatExample,
    ChatTemplate,
    chat_batch,
    demonstrations,
    follows,
    pack_chats,
    story_instructions,
    story_taste,
)
from course_lib.alignment.stories.instructions import Split
from course_lib.alignment.stories.told import ATTRIBUTES
from course_lib.data import Batches
from course_lib.loops import evaluate, next_token
from course_lib.nn.transformer import Transformer
from course_lib.tokenization import BPETokenizer, bits_per_byte
from course_lib.zoo.card import Scores

_PACKED_TOGETHER = 500  # conversations; the rows that the shipped model learnt from are these
_BATCH = 50  # rows or requests at a time
_TEMPERATURE = 0.7

Reply = Callable[[Sequence[str]], list[str]]


def story_examples(
    num: int, tokenizer: BPETokenizer, *, template: ChatTemplate, length: int, seed: int, split: Split = "train"
) -> list[ChatExample]:
    """Draw demonstrations, see `course_lib.alignment.demonstrations`, and join them into rows of like length.

    Args:
        num: Conversations.
        tokenizer: Has the template's marks.
        template: Writes the conversations.
        length: Columns of the batches to be made of them.
        seed: Decides which conversations.
        split: "train" or "evaluation".

    Raises:
        ValueError: If a conversation is longer than the rows.
    """
    drawn = demonstrations(num, seed=seed, split=split)
    examples = [template.encode(tokenizer, conversation) for conversation in drawn]
    parts = (examples[first : first + _PACKED_TOGETHER] for first in range(0, num, _PACKED_TOGETHER))
    return [row for part in parts for row in pack_chats(part, length=length)]


def answered(model: Transformer, examples: Sequence[ChatExample], tokenizer: BPETokenizer) -> dict[str, float]:
    """Return the figures of a card's ``validation``, on the answers alone, each with its end mark.

    In a process group all ranks call this, and share the work.

    Args:
        model: Measured in float32.
        examples: Held out.
        tokenizer: What they were encoded with.
    """
    batches = Batches(chat_batch(examples), batch_size=_BATCH, seed=0, shuffle=False, epochs=1)
    device = model.embedding.weight.device
    loss = evaluate(model, lambda model, batch: next_token(model, tuple(part.to(device) for part in batch)), batches)
    tokens = [token for each in examples for token, learnt in zip(each.tokens, each.trained, strict=True) if learnt]
    num_bytes = len(tokenizer.decode(tokens, skip_special=True).encode())
    bits = bits_per_byte(loss["loss"], num_tokens=len(tokens), num_bytes=num_bytes)
    return {
        "nats_per_token": round(loss["loss"], 4),
        "bits_per_byte": round(bits, 4),
        "num_tokens": len(tokens),
        "num_bytes": num_bytes,
    }


def replier(model: Transformer, tokenizer: BPETokenizer, *, seed: int = 0) -> Reply:
    """Return how ``model`` answers requests at temperature 0.7."""
    chat = Chat(model, tokenizer)

    def reply(requests: Sequence[str]) -> list[str]:
        parts = [requests[first : first + _BATCH] for first in range(0, len(requests), _BATCH)]
        drawn = [chat.reply(part, temperature=_TEMPERATURE, seed=seed + number) for number, part in enumerate(parts)]
        return [text for texts in drawn for text in texts]

    return reply


def following(repliers: Mapping[str, Reply], *, num: int, seed: int) -> tuple[str, Scores]:
    """Return how well answers follow requests, and in words how that was measured.

    Args:
        repliers: Row -> who answers.
        num: How many requests of the evaluation split.
        seed: Decides which.

    Returns:
        The measurement in words, and row -> column -> number. Below the rows asked for stand the best and what comes of
        ignoring what is asked: the tale behind each request, and the tale behind another one.
    """
    requests = story_instructions(num, seed=seed, split="evaluation")
    answers = {label: reply([request.text for request in requests]) for label, reply in repliers.items()}
    tales = [talk[-1]["content"] for talk in demonstrations(num, seed=seed, split="evaluation")]
    answers |= {"the tale behind the request": tales, "the tale behind another": [*tales[1:], tales[0]]}
    scores: Scores = {}
    for label, texts in answers.items():
        found = [follows(text, request) for text, request in zip(texts, requests, strict=True)]
        marks = {
            "met of what was asked": [each.share for each in found],
            **{
                name: [float(name in each.met) for each in found if name in each.met + each.missed]
                for name in ATTRIBUTES
            },
            "met in every point": [float(not each.missed) for each in found],
            "whole tales": [float(each.whole) for each in found],
            "gold reward": story_taste(texts, requests).tolist(),
        }
        scores[label] = {column: round(sum(some) / len(some), 3) for column, some in marks.items() if some}
    measured = (
        f"Answers to {num} requests held out, at temperature {_TEMPERATURE}, read by course_lib.alignment.follows; "
        f"{', '.join(ATTRIBUTES)}: met where asked for. No story and no pair of hero and wish that they ask for was "
        "learnt from. Gold reward: course_lib.alignment.story_taste with the request."
    )
    return measured, scores

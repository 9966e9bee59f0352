"""How one tale came about: its choices, the text they make, and their exact log probability."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .grammar import NEEDS_SENTENCE, PARENTS, Frame, Grammar, Plan, beats, sentence_key
from .slots import LOCAL, capital, forms
from .tables import Weighted


@dataclass(frozen=True, slots=True)
class Derivation:
    """Every choice behind a tale.

    Args:
        plan: The kinds of sentence, without "sorry".
        story: The story-wide choices.
        sentences: For each sentence its frame and its local choices.
    """

    plan: Plan
    story: Mapping[str, str]
    sentences: Sequence[tuple[Frame, Mapping[str, str]]]


def needed(choice: str, plan: Plan) -> bool:
    """Return whether a plan makes a story-wide choice at all."""
    return NEEDS_SENTENCE.get(choice, plan[0]) in plan


def story_list(grammar: Grammar, choice: str, story: Mapping[str, str]) -> Weighted[str]:
    """Return what a story-wide choice is drawn from, given those made before."""
    return grammar.story[choice][tuple(story[parent] for parent in PARENTS[choice])]


def local_list(grammar: Grammar, choice: str, story: Mapping[str, str]) -> Weighted[str]:
    """Return what a local choice is drawn from, given the story-wide ones."""
    parent = LOCAL[choice]
    return grammar.local[choice][story[parent] if parent else ""]


def draw(grammar: Grammar, uniform: Callable[[], float]) -> Derivation:
    """Draw one tale, taking numbers in [0, 1) from ``uniform``."""
    plan = grammar.plans.items[grammar.plans.pick(uniform())]
    story: dict[str, str] = {}
    for choice in PARENTS:
        if needed(choice, plan):
            options = story_list(grammar, choice, story)
            story[choice] = options.items[options.pick(uniform())]
    sentences = []
    for beat in beats(plan, story["kindness"]):
        key = sentence_key(beat, wish=story["wish"], kindness=story["kindness"], ending=story["ending"])
        frames = grammar.frames[key]
        frame = frames.items[frames.pick(uniform())]
        local = {}
        for choice in frame.local:
            options = local_list(grammar, choice, story)
            local[choice] = options.items[options.pick(uniform())]
        sentences.append((frame, local))
    return Derivation(plan, story, sentences)


def log_probability(grammar: Grammar, derivation: Derivation) -> float:
    """Return the log probability of a derivation in nats; minus infinity if some choice cannot be made."""
    story = derivation.story
    total = grammar.plans.log_prob(derivation.plan)
    total += sum(story_list(grammar, choice, story).log_prob(value) for choice, value in story.items())
    for frame, local in derivation.sentences:
        total += grammar.frames[frame.key].log_prob(frame)
        total += sum(local_list(grammar, choice, story).log_prob(value) for choice, value in local.items())
    return total


def render(grammar: Grammar, derivation: Derivation) -> list[str]:
    """Return the sentences that a derivation makes."""
    known: dict[str, str] = {}
    for choice, value in derivation.story.items():
        known.update(forms(choice, value, grammar.plurals))
    sentences = []
    for frame, local in derivation.sentences:
        for choice, value in local.items():
            known.update(forms(choice, value, grammar.plurals))
        sentences.append(fill(frame, known))
    return sentences


def fill(frame: Frame, known: Mapping[str, str]) -> str:
    """Return a frame with its gaps filled from ``known``."""
    pieces = [frame.literals[0]]
    for slot, literal in zip(frame.slots, frame.literals[1:], strict=True):
        pieces.append(known[slot] if slot in known else capital(known[slot[0].lower() + slot[1:]]))
        pieces.append(literal)
    return "".join(pieces)


def generator(seed: int) -> Callable[[], float]:
    """Return a source of numbers in [0, 1) that gives the same ones on every machine and Python version."""
    return random.Random(seed).random

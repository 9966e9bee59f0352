"""How uncertain a tale is, exactly: the entropy of the grammar in nats, and the number of its tales."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product

from .derivation import local_list, needed
from .grammar import PARENTS, Grammar, beats, sentence_key, whole_grammar
from .slots import LOCAL, is_deed


@lru_cache(maxsize=1)
def entropy() -> float:
    """Return the entropy of a tale in nats, computed from the grammar without drawing one.

    By the chain rule it is the sum, over all choices, of the entropy of each given those made before. The mean of
    ``-tale.log_prob`` converges to it, and no language model has a smaller cross-entropy (summed over a tale's
    tokens, the mark for its end among them).

    Example:
        >>> round(entropy(), 2)
        39.65
    """
    return entropy_of(whole_grammar())


@lru_cache(maxsize=1)
def num_stories() -> int:
    """Return how many different tales there are, exactly.

    Example:
        >>> num_stories() > 10**8
        True
    """
    return num_stories_of(whole_grammar())


def entropy_of(grammar: Grammar) -> float:
    """Return the entropy in nats of a grammar, be it the whole one or a part."""
    marginal = _marginals(grammar)
    story = {choice: _expected_entropy(grammar, choice, marginal) for choice in PARENTS}
    frames: dict[tuple[str, str], float] = {}  # a sentence with its local choices, given the wish

    def of_sentence(key: str, wish: str) -> float:
        if (key, wish) not in frames:
            options = grammar.frames[key]
            frames[key, wish] = options.entropy + math.fsum(
                probability * _local_entropy(grammar, choice, wish, marginal)
                for frame, probability in zip(options.items, options.probabilities, strict=True)
                for choice in frame.local
            )
        return frames[key, wish]

    terms = [grammar.plans.entropy]
    for plan, p_plan in zip(grammar.plans.items, grammar.plans.probabilities, strict=True):
        terms += [p_plan * story[choice] for choice in PARENTS if needed(choice, plan)]
        terms += [
            p_plan * p_core * of_sentence(sentence_key(beat, **core), core["wish"])
            for core, p_core in _cores(grammar)
            for beat in beats(plan, core["kindness"])
        ]
    return math.fsum(terms)


def num_stories_of(grammar: Grammar) -> int:
    """Return the number of tales of a grammar: of its derivations, since no text has two."""
    scenes, cores = Counter(_scene_sizes(grammar)), Counter(_core_sizes(grammar))
    free = {choice: len(grammar.local[choice][""]) for choice, parent in LOCAL.items() if parent is None}
    either = len(grammar.story["name"][()]) * len(grammar.story["trait"][()])
    total = 0
    for plan in grammar.plans.items:
        optional = math.prod(len(grammar.story[c][()]) for c in ("friend", "kind") if needed(c, plan))
        for ((scene, num_spots), many_scenes), ((core, wish_sizes, num_uses), many_cores) in product(
            scenes.items(), cores.items()
        ):
            size = {**free, **dict(scene), **dict(wish_sizes)}
            keyed = dict(core)
            sentences = (
                sum(math.prod(size[choice] for choice in frame.local) for frame in grammar.frames[key].items)
                for key in (sentence_key(beat, **keyed) for beat in beats(plan, keyed["kindness"]))
            )
            uses = num_uses if needed("use", plan) else 1
            total += many_scenes * many_cores * either * optional * num_spots * uses * math.prod(sentences)
    return total


def _marginals(grammar: Grammar) -> dict[str, dict[str, float]]:
    """Return the probability of each value of each story-wide choice. Parents of one choice are independent."""
    marginal: dict[str, dict[str, float]] = {}
    for choice, parents in PARENTS.items():
        found: defaultdict[str, float] = defaultdict(float)
        for values in product(*(marginal[parent] for parent in parents)):
            weight = math.prod(marginal[parent][value] for parent, value in zip(parents, values, strict=True))
            options = grammar.story[choice][values]
            for item, probability in zip(options.items, options.probabilities, strict=True):
                found[item] += weight * probability
        marginal[choice] = dict(found)
    return marginal


def _expected_entropy(grammar: Grammar, choice: str, marginal: Mapping[str, Mapping[str, float]]) -> float:
    parents = PARENTS[choice]
    return math.fsum(
        math.prod(marginal[parent][value] for parent, value in zip(parents, values, strict=True))
        * grammar.story[choice][values].entropy
        for values in product(*(marginal[parent] for parent in parents))
    )


def _local_entropy(grammar: Grammar, choice: str, wish: str, marginal: Mapping[str, Mapping[str, float]]) -> float:
    parent = LOCAL[choice]
    if parent is None or parent == "wish":
        return grammar.local[choice][wish if parent else ""].entropy
    return math.fsum(p * grammar.local[choice][value].entropy for value, p in marginal[parent].items())


def _cores(grammar: Grammar) -> Iterator[tuple[dict[str, str], float]]:
    """Yield what decides which frames are used, wish, kindness and ending, with its probability."""
    wishes, kindness = grammar.story["wish"][()], grammar.story["kindness"][()]
    for wish, kind in product(wishes.items, kindness.items):
        endings = grammar.story["ending"][wish, kind]
        for ending in endings.items:
            log_prob = wishes.log_prob(wish) + kindness.log_prob(kind) + endings.log_prob(ending)
            yield {"wish": wish, "kindness": kind, "ending": ending}, math.exp(log_prob)


def _scene_sizes(grammar: Grammar) -> Iterator[tuple[tuple[tuple[str, int], ...], int]]:
    """Yield, for each place, hero, needy and trouble that go together, how long the lists are that hang on them."""
    for place in grammar.story["at"][()].items:
        heroes, needies = grammar.story["hero"][place,].items, grammar.story["needy"][place,].items
        troubles = [trouble for needy in needies for trouble in grammar.story["trouble"][needy,].items]
        for hero, trouble in product(heroes, troubles):
            scene = {"at": place, "hero": hero, "trouble": trouble}
            sizes = tuple((c, len(local_list(grammar, c, scene))) for c, parent in LOCAL.items() if parent in scene)
            yield sizes, len(grammar.story["spot"][place,])


def _core_sizes(
    grammar: Grammar,
) -> Iterator[tuple[tuple[tuple[str, str], ...], tuple[tuple[str, int], ...], int]]:
    """Yield, for each wish, kindness and ending, one like it in its frames, and how long its lists are."""
    for core, _ in _cores(grammar):
        wish = core["wish"]
        sizes = tuple((c, len(grammar.local[c][wish])) for c in LOCAL if wish in grammar.local[c])
        like = {**core, "wish": "do|did" if is_deed(wish) else "a thing"}
        yield tuple(like.items()), sizes, len(grammar.story["use"][wish,])

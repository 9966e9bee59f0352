"""Learn the merges of byte-level BPE from text: join the commonest pair of neighbours, again and again."""

from __future__ import annotations

import heapq
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from .byte_alphabet import byte_ranks, refuse_surrogates
from .merge import Pair
from .pretokens import split_pieces
from .stream import stretches
from .tokenizer import BPETokenizer


def train_bpe(
    texts: Iterable[str],
    *,
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 1,
    pattern: str | None = "gpt2",
) -> BPETokenizer:
    """Train a byte-level BPE tokenizer.

    Text is cut into pieces (words, mostly), pieces into bytes. The pair of neighbours that occurs most often becomes
    a new token, wherever it occurs; then the next pair is counted, and so on until the vocabulary is full. **Of pairs
    that occur equally often, the one with the smaller first id is merged, then the one with the smaller second id.**
    This and the numbering are those of Hugging Face's ``BpeTrainer``, so that merges and ids are equal to its: special
    tokens first, then the 256 bytes (visible ones first, see `course_lib.tokenization.byte_alphabet`), then merges.

    Only counts that a merge changes are changed, so that training takes seconds for 10 MB (see `learn_merges`).

    Args:
        texts: Documents. Each is cut into pieces for itself; iterated once. Special tokens are not looked for in
            them: their text counts as ordinary text, so give documents apart rather than joined by a special token.
        vocab_size: Size of the vocabulary: special tokens, 256 bytes and merges.
        special_tokens: Tokens that stand for no text, such as ``"<|endoftext|>"``; they get the ids from 0 on.
        min_frequency: Pairs that occur less often are not merged.
        pattern: How text is cut into pieces: ``"gpt2"``, ``"gpt4"``, a regular expression, or ``None`` for not at all.

    Returns:
        The tokenizer. Its vocabulary is smaller than asked for, with a warning, if the text has no more pairs.

    Raises:
        ValueError: If there is no text, it holds a lone surrogate, ``vocab_size`` is too small for the bytes and
            special tokens, or a special token is malformed or is itself made by merges.

    Example:
        >>> tokenizer = train_bpe(["low lower lowest"], vocab_size=259)
        >>> [tokenizer.token_bytes(number) for number in (256, 257, 258)]
        [b'lo', b'low', b' low']

    Reference: Sennrich, Haddow and Birch 2016, algorithm 1, https://arxiv.org/abs/1508.07909;
    on bytes: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2
    """
    BPETokenizer([], special_tokens=special_tokens, pattern=pattern)  # refuses what is malformed before the work begins
    first_id = len(special_tokens)
    num_merges = vocab_size - first_id - 256
    if num_merges < 0:
        raise ValueError(
            f"vocab_size must be at least {first_id + 256} (256 bytes and {first_id} special tokens), got {vocab_size}."
        )
    if min_frequency < 1:
        raise ValueError(f"min_frequency must be at least 1, got {min_frequency}.")
    pieces = count_pieces(texts, pattern=pattern)
    if not pieces:
        raise ValueError("there is no text to train on: texts is empty (was it an iterator, used up before?).")
    ids = {tuple(first_id + rank for rank in byte_ranks(piece)): count for piece, count in pieces.items()}
    merges = learn_merges(ids, first_new_id=first_id + 256, num_merges=num_merges, min_frequency=min_frequency)
    if len(merges) < num_merges:
        warnings.warn(
            f"no pair occurs {min_frequency} times any more: the vocabulary has "
            f"{first_id + 256 + len(merges)} tokens, not {vocab_size}.",
            stacklevel=2,
        )
    return BPETokenizer(merges, special_tokens=special_tokens, pattern=pattern)


def count_pieces(texts: Iterable[str], *, pattern: str | None) -> Counter[str]:
    """Count how often each piece occurs: training needs no more of the text than that.

    Raises:
        ValueError: If ``texts`` is one string rather than several, or a text holds a lone surrogate.

    Example:
        >>> count_pieces(["to be or not to be"], pattern="gpt2")[" be"]
        2
    """
    if isinstance(texts, str):
        raise ValueError("texts must be an iterable of texts, got one string: write [text].")
    counts: Counter[str] = Counter()
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"texts must be texts (str), got {type(text).__name__}; bytes have .decode('utf-8').")
        refuse_surrogates(text)
        for stretch in stretches(text, pattern=pattern):
            counts.update(split_pieces(stretch, pattern))
    return counts


def learn_merges(
    counts: Mapping[tuple[int, ...], int], *, first_new_id: int, num_merges: int, min_frequency: int = 1
) -> list[Pair]:
    """Learn up to ``num_merges`` merges from pieces (as ids) and how often each occurs.

    All pieces lie one after the other in one list, as a doubly linked chain. For every pair we keep how often it
    occurs and at which places it has been. A merge visits the places of its pair alone, and changes the counts of the
    pairs it destroys and makes to its left and right. The commonest pair comes from a heap in which outdated counts
    stay until they come up: then they are put back with the count of today ("lazy deletion").

    Args:
        counts: How often each piece occurs.
        first_new_id: The id that the first merge makes; larger than all ids in the pieces.
        num_merges: How many merges to learn.
        min_frequency: Stop when no pair occurs so often.

    Returns:
        Pairs of ids; the one at place ``k`` makes id ``first_new_id + k``.

    Example:
        >>> learn_merges({(1, 2, 3): 5, (2, 3): 1}, first_new_id=4, num_merges=9)
        [(2, 3), (1, 4)]
    """
    token, weight = [-1], [0]  # -1 stands between pieces and is in no pair
    for piece, count in counts.items():
        token += [*piece, -1]
        weight += [count] * (len(piece) + 1)
    right, left = list(range(1, len(token) + 1)), list(range(-1, len(token) - 1))
    frequency: defaultdict[Pair, int] = defaultdict(int)
    places: defaultdict[Pair, list[int]] = defaultdict(list)  # from left to right; some may be outdated
    for place, pair in enumerate(pairwise(token)):
        if pair[0] >= 0 <= pair[1]:
            frequency[pair] += weight[place]
            places[pair].append(place)
    heap = [(-count, pair) for pair, count in frequency.items()]  # the least: commonest, then smallest ids
    heapq.heapify(heap)

    merges: list[Pair] = []
    while heap and len(merges) < num_merges:
        count, pair = heapq.heappop(heap)
        if -count != frequency[pair]:  # merges next to it have taken some of its places
            heapq.heappush(heap, (-frequency[pair], pair))
            continue
        if -count < min_frequency:
            break
        new, (first, second) = first_new_id + len(merges), pair
        merges.append(pair)
        formed = set()
        for place in places.pop(pair):
            gone = right[place]
            if token[place] != first or token[gone] != second:
                continue
            before, after, times = left[place], right[gone], weight[place]
            token[place], token[gone] = new, -2
            right[place], left[after] = after, place
            if (neighbour := token[before]) >= 0:
                frequency[neighbour, first] -= times
                frequency[neighbour, new] += times
                places[neighbour, new].append(before)
                formed.add((neighbour, new))
            if (neighbour := token[after]) >= 0:
                frequency[second, neighbour] -= times
                frequency[new, neighbour] += times
                places[new, neighbour].append(place)
                formed.add((new, neighbour))
        for made in formed:
            heapq.heappush(heap, (-frequency[made], made))
    return merges

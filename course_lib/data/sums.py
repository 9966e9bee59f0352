"""Arithmetic problems with exact answers, worked steps and a verifier that cannot be talked round."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "evaluation"]

_ONE_IN = 8  # so many problems are evaluation problems
_MOST_DIGITS = 15  # a uniform number of 53 bits reaches every number of so many
_MOST_TERMS = 5  # with more, hardly a chain of differences stays positive
_MARK = "Answer:"
_PROBLEM = re.compile(r"[0-9]+(?: [-+*] [0-9]+)+ =")
_ANSWER = re.compile(r"\s*(-?[0-9]+)\s*")


@dataclass(frozen=True, slots=True)
class Sum:
    """One problem.

    Args:
        problem: Such as ``"47 + 85 ="``.
        value: What it comes to.
    """

    problem: str
    value: int

    @property
    def answer(self) -> str:
        """The completion that is right and nothing else: ``" 132"``."""
        return f" {self.value}"

    @property
    def worked(self) -> str:
        """The completion that shows its work, digit by digit, before the mark and the answer."""
        numbers, signs = _read(self.problem)
        return f" {'; '.join(_work(numbers, signs))}. {_MARK} {self.value}"


def sums(
    num: int, *, seed: int, digits: int = 2, operations: str = "+", num_terms: int = 2, split: Split = "train"
) -> list[Sum]:
    """Draw ``num`` arithmetic problems; ``digits``, ``operations`` and ``num_terms`` set how hard they are.

    Each number has 1 to ``digits`` digits, each length as likely as another, and no value on the way is negative.
    Products are worked out before sums and differences. A hash of the problem decides its split; ``47 + 85`` and
    ``85 + 47`` are one problem to it, so that no evaluation problem is a training problem turned round. Draws are
    independent and repeat where there are few problems: ``list(dict.fromkeys(...))`` keeps each once.

    Args:
        num: How many.
        seed: Decides which; the same on every machine and Python version.
        digits: The most digits of a number, 1 to 15.
        operations: Which of ``+``, ``-`` and ``*`` may come, such as ``"+-"``.
        num_terms: How many numbers a problem has, 2 to 5.
        split: ``"train"`` (7 of 8 problems) or ``"evaluation"``.

    Raises:
        ValueError: If an argument is out of range; the message says what is expected.

    Example:
        >>> sums(2, seed=0)
        [Sum(problem='78 + 2 =', value=80), Sum(problem='7 + 4 =', value=11)]
        >>> sums(1, seed=0)[0].worked
        ' 8+2=10 carry 1; 7+0+1=8; 78+2=80. Answer: 80'
    """
    if num < 0 or not 1 <= digits <= _MOST_DIGITS or not 2 <= num_terms <= _MOST_TERMS:
        raise ValueError(
            f"sums needs num >= 0, digits from 1 to {_MOST_DIGITS} and num_terms from 2 to {_MOST_TERMS}, "
            f"got num {num}, digits {digits} and num_terms {num_terms}."
        )
    if not operations or not set(operations) <= set("+-*"):
        raise ValueError(f"operations must be some of '+', '-' and '*', such as '+-'; got {operations!r}.")
    if split not in ("train", "evaluation"):
        raise ValueError(f"split must be 'train' or 'evaluation', got {split!r}.")
    uniform = random.Random(seed).random
    drawn: list[Sum] = []
    while len(drawn) < num:
        numbers = []
        for _ in range(num_terms):
            length = 1 + int(uniform() * digits)
            least = 10 ** (length - 1) if length > 1 else 0
            numbers.append(least + int(uniform() * (10**length - least)))
        signs = [operations[int(uniform() * len(operations))] for _ in range(num_terms - 1)]
        values = _running_values(numbers, signs)
        if min(values) >= 0 and _split_of(numbers, signs) == split:
            text = str(numbers[0]) + "".join(f" {s} {n}" for s, n in zip(signs, numbers[1:], strict=True))
            drawn.append(Sum(f"{text} =", values[-1]))
    return drawn


def verify(problem: str, completion: str) -> bool:
    """Return whether a completion gives the right answer: the reward of reinforcement learning on sums.

    What counts is what follows the last "Answer:", or the whole completion if the mark is missing. It must be the
    one number, written as we write it, with nothing around it but white space; so ``"132 133"``, ``"0132"`` and
    ``"about 132"`` are wrong, however long the work that comes before.

    Args:
        problem: As ``sums`` writes it: ``"47 + 85 ="``.
        completion: Any text.

    Raises:
        ValueError: If ``problem`` cannot be read. A malformed completion is simply wrong.

    Example:
        >>> verify("47 + 85 =", " 132"), verify("47 + 85 =", " 7+5=12. Answer: 132"), verify("47 + 85 =", " 132!")
        (True, True, False)
    """
    numbers, signs = _read(problem)
    found = _ANSWER.fullmatch(completion.rpartition(_MARK)[2])
    return found is not None and found[1] == str(_running_values(numbers, signs)[-1])


def _read(problem: str) -> tuple[list[int], list[str]]:
    if not _PROBLEM.fullmatch(problem):
        raise ValueError(f"a problem is written as in '47 + 85 =', got {problem!r}.")
    words = problem.split()
    return [int(word) for word in words[0:-1:2]], words[1:-1:2]


def _groups(numbers: Sequence[int], signs: Sequence[str]) -> tuple[list[list[int]], list[str]]:
    """Return the factors of each product, and the signs between the products."""
    groups, between = [[numbers[0]]], []
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign == "*":
            groups[-1].append(number)
        else:
            groups.append([number])
            between.append(sign)
    return groups, between


def _running_values(numbers: Sequence[int], signs: Sequence[str]) -> list[int]:
    """Return the value after each sum or difference, from left to right; the last is the answer."""
    products = []
    groups, between = _groups(numbers, signs)
    for factors in groups:
        product = 1
        for factor in factors:
            product *= factor
        products.append(product)
    values = [products[0]]
    for sign, product in zip(between, products[1:], strict=True):
        values.append(values[-1] + product if sign == "+" else values[-1] - product)
    return values


def _split_of(numbers: Sequence[int], signs: Sequence[str]) -> Split:
    """Return the split of a problem; turning sums and products round does not change it."""
    groups, between = _groups(numbers, signs)
    terms = sorted(
        sign + "*".join(map(str, sorted(group))) for sign, group in zip(["+", *between], groups, strict=True)
    )
    digest = hashlib.blake2b(" ".join(terms).encode(), digest_size=8).digest()
    return "train" if int.from_bytes(digest, "big") % _ONE_IN else "evaluation"


def _work(numbers: Sequence[int], signs: Sequence[str]) -> list[str]:
    """Return the steps to the answer: products first, then from left to right."""
    steps = []
    products = []
    groups, between = _groups(numbers, signs)
    for factors in groups:
        product = factors[0]
        for factor in factors[1:]:
            steps += _multiply(product, factor)
            product *= factor
        products.append(product)
    value = products[0]
    for sign, product in zip(between, products[1:], strict=True):
        steps += _add(value, product) if sign == "+" else _subtract(value, product)
        value = value + product if sign == "+" else value - product
    return steps


def _columns(first: int, second: int) -> list[tuple[int, int]]:
    """Return the digits of both numbers column by column, from the right; none if a glance is enough."""
    width = max(len(str(first)), len(str(second)))
    if width == 1:
        return []
    rows = zip(reversed(f"{first:0{width}}"), reversed(f"{second:0{width}}"), strict=True)
    return [(int(a), int(b)) for a, b in rows]


def _add(first: int, second: int) -> list[str]:
    steps, carry = list[str](), 0
    for a, b in _columns(first, second):
        total = a + b + carry
        steps.append(f"{a}+{b}{'+1' if carry else ''}={total}" + (" carry 1" if total > 9 else ""))
        carry = int(total > 9)
    return [*steps, f"{first}+{second}={first + second}"]


def _subtract(first: int, second: int) -> list[str]:
    steps, borrow = list[str](), 0
    for a, b in _columns(first, second):
        lent = 10 if a - b - borrow < 0 else 0
        steps.append(f"{a + lent}-{b}{'-1' if borrow else ''}={a + lent - b - borrow}" + (" borrow 1" if lent else ""))
        borrow = int(lent > 0)
    return [*steps, f"{first}-{second}={first - second}"]


def _multiply(first: int, second: int) -> list[str]:
    """Multiply by one digit after the other, then add up the parts."""
    parts = [int(digit) * 10**place for place, digit in enumerate(reversed(str(second))) if digit != "0"] or [0]
    steps, total = list[str](), 0
    for part in parts:
        steps.append(f"{first}*{part}={first * part}")
        if total:
            steps.append(f"{total}+{first * part}={total + first * part}")
        total += first * part
    return steps

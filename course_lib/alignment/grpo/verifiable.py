"""Rewards that a program checks: right or wrong, with no reward model that could be talked round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from course_lib.alignment.tokens.rollouts import TokenRollout, sample_completions
from course_lib.nn.transformer import Transformer

Question = TypeVar("Question")

# Shape letters used in this file: P = questions, B = completions.


def verified_reward(
    questions: Sequence[Question], check: Callable[[Question, str], bool], *, decode: Callable[[list[int]], str]
) -> Callable[[TokenRollout], Tensor]:
    """Return a reward for `GroupStream`: 1 for each completion that ``check`` finds right, 0 for the others.

    Args:
        questions: What was asked, in the terms of ``check`` and in the order of the stream's prompts.
        check: Whether a text answers a question; the text does not repeat the prompt.
        decode: From a completion's ids to its text, such as ``partial(tokenizer.decode, skip_special=True)``.

    Returns:
        A function from a rollout of B completions to ``(B,)``, float32, on the rollout's device. It raises a ValueError
        if the stream has prompts that none of ``questions`` belongs to.

    Example:
        >>> from course_lib.alignment.tokens.rollouts import pack_completions
        >>> from course_lib.data.sums import verify
        >>> reward = verified_reward(["1 + 2 =", "2 + 2 ="], verify, decode=lambda ids: "".join(map(str, ids)))
        >>> tokens, mask = pack_completions([[9], [9], [9]], [[3], [3], [4]])
        >>> nothing = torch.zeros(3, 2)
        >>> reward(TokenRollout(tokens, mask, nothing, mask[:, 1], torch.tensor([0, 1, 1])))
        tensor([1., 0., 1.])

    Reference: Lambert et al. 2024, Tulu 3: pushing frontiers in open language model post-training, section 6,
    https://arxiv.org/abs/2411.15124
    """

    def reward(rollout: TokenRollout) -> Tensor:
        indices = rollout.prompt_indices.tolist()
        if (last := max(indices, default=-1)) >= len(questions):
            raise ValueError(
                f"a completion answers prompt {last}, but there are {len(questions)} questions: give one for each of "
                "the stream's prompts, in the same order."
            )
        right = [check(questions[index], decode(ids)) for index, ids in zip(indices, rollout.lists(), strict=True)]
        return torch.tensor(right, dtype=torch.float32, device=rollout.tokens.device)

    return reward


def count_right(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    reward: Callable[[TokenRollout], Tensor],
    *,
    num_samples: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    stop_tokens: Sequence[int] = (),
    batch_size: int = 256,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return how many of ``num_samples`` completions of each prompt are right, for `pass_at_k`.

    Args:
        model: Who answers.
        prompts: Token ids.
        reward: 1 for right, 0 for wrong, such as `verified_reward` of the same questions in the same order.
        num_samples: Completions of each prompt.
        max_new_tokens: See `sample_completions`.
        temperature: See `sample_completions`. Pass@k depends on it: to compare two models, take one.
        stop_tokens: See `sample_completions`.
        batch_size: Completions drawn at a time, about; it changes which random numbers each gets.
        generator: Where draws come from.

    Shape:
        - output: ``(P,)``, int64

    Raises:
        ValueError: If there are no prompts, a number is out of range, or ``reward`` gives anything but a 0 or 1 for
            each completion.

    Example:
        >>> from course_lib.nn.transformer import llama
        >>> model = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> always = lambda rollout: torch.ones(len(rollout.tokens))
        >>> count_right(model, [[1], [2, 3]], always, num_samples=5, max_new_tokens=2)
        tensor([5, 5])
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(f"num_samples and batch_size must be at least 1, got {num_samples} and {batch_size}.")
    if len(prompts) == 0:
        raise ValueError("count_right needs at least one prompt, got none.")
    at_once = max(1, batch_size // num_samples)
    counts = []
    for first in range(0, len(prompts), at_once):
        rollout = sample_completions(
            model,
            prompts[first : first + at_once],
            max_new_tokens=max_new_tokens,
            num_each=num_samples,
            temperature=temperature,
            stop_tokens=stop_tokens,
            generator=generator,
        )
        right = reward(rollout._replace(prompt_indices=rollout.prompt_indices + first))
        if right.shape != (len(rollout.tokens),):
            raise ValueError(f"reward must give one number for each of {len(rollout.tokens)} completions, got {right}.")
        if not ((right == 0) | (right == 1)).all():
            raise ValueError("a right answer has reward 1 and a wrong one 0; this reward gives other numbers.")
        counts.append(right.view(-1, num_samples).sum(1).long())
    return torch.cat(counts)

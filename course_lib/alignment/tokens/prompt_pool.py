"""Prompts for one rollout after the other: all of them in a shuffled order, then all again in another."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class PromptPool:
    """Deals out prompts; each comes again only when all others have come.

    Args:
        prompts: Token ids, of any lengths.
        generator: Of the order.

    Raises:
        ValueError: If there is no prompt, or an empty one.

    Example:
        >>> pool = PromptPool([[1], [2, 3]], generator=torch.Generator().manual_seed(0))
        >>> indices, prompts = pool.take(4)
        >>> sorted(indices[:2]), prompts[0] == pool.prompts[indices[0]]
        ([0, 1], True)
    """

    def __init__(self, prompts: Sequence[Sequence[int]], *, generator: torch.Generator) -> None:
        if len(prompts) == 0:
            raise ValueError("there must be at least one prompt, got none.")
        if empty := [row for row, prompt in enumerate(prompts) if len(prompt) == 0]:
            raise ValueError(f"prompt {empty[0]} is empty: give it a start token, such as the end-of-text token.")
        self.prompts = prompts
        self.generator = generator
        self._left: list[int] = []

    def take(self, num: int) -> tuple[list[int], list[Sequence[int]]]:
        """Return the next ``num`` prompts, with their indices."""
        while len(self._left) < num:
            self._left += torch.randperm(
                len(self.prompts), generator=self.generator, device=self.generator.device
            ).tolist()
        indices, self._left = self._left[:num], self._left[num:]
        return indices, [self.prompts[index] for index in indices]

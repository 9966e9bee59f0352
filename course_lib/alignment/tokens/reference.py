"""The reference model that a policy is held near: frozen, and guarded against being trained by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from course_lib.alignment.tokens.policy_and_value import PolicyAndValue
from course_lib.alignment.tokens.rollouts import sequence_log_probs
from course_lib.loops import evaluating
from course_lib.nn.adapters import lora_names, without_lora

# Shape letters used in this file: B = rows (completions), T = columns of tokens.


class Reference:
    """What a policy was at the start, to measure how far it has gone.

    Either a model of its own (``copy.deepcopy(policy)`` before training), or, where the policy learns by LoRA alone,
    the policy itself: its adapters are set aside while it is asked, so no second copy is needed.

    Its weights are never changed: no gradient is ever asked of it, what it shares with the policy must not learn, and
    each use makes sure that nobody has written to a weight since.

    Args:
        model: Anything that maps ``(B, T)`` tokens to logits ``(B, T, V)``; of a `PolicyAndValue` its ``policy``.
            Where it is the policy with LoRA, no adapter acts in it, not even one that was trained before.
        policy: What learns, with a critic or without.
        temperature: At which the policy draws; the reference is taken at the same.

    Raises:
        ValueError: If a weight of the reference learns with the policy, or it is a `PolicyAndValue`; in use, if
            a weight was written to.

    Example:
        >>> from copy import deepcopy
        >>> from course_lib.nn.transformer import Transformer, llama
        >>> policy = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> tokens, mask = torch.tensor([[1, 2, 3]]), torch.tensor([[False, True, True]])
        >>> reference = Reference(deepcopy(policy), policy)
        >>> torch.equal(reference.log_probs(tokens, mask), sequence_log_probs(policy, tokens, mask).detach())
        True
    """

    def __init__(self, model: nn.Module, policy: nn.Module, *, temperature: float = 1.0) -> None:
        if isinstance(model, PolicyAndValue):
            raise ValueError("a reference has no critic: give the PolicyAndValue's .policy (a copy of it).")
        self.model = model
        self.temperature = temperature
        theirs = {id(parameter) for parameter in policy.parameters()}
        frozen = dict(model.named_parameters())
        self._lora = bool(lora_names(model)) and any(id(parameter) in theirs for parameter in frozen.values())
        if self._lora:
            frozen = {name: parameter for name, parameter in frozen.items() if ".lora." not in f".{name}"}
        learning = [name for name, weight in frozen.items() if weight.requires_grad and id(weight) in theirs]
        if learning:
            raise ValueError(
                f"the reference shares weights that learn with the policy, such as {learning[0]!r}: it would move "
                "along. Give it a copy (copy.deepcopy(policy)), or train the policy by LoRA alone."
            )
        self._frozen = frozen
        self._versions = {name: weight._version for name, weight in frozen.items()}

    def log_probs(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return how likely the reference finds each token of the completions, ``(B, T)``, without gradients."""
        with self._acting() as model:
            return sequence_log_probs(model, tokens, mask, temperature=self.temperature)

    @contextmanager
    def _acting(self) -> Iterator[nn.Module]:
        for name, weight in self._frozen.items():
            if weight._version != self._versions[name]:
                raise ValueError(
                    f"the reference's weight {name!r} was written to since the start: is it in an optimizer? A policy "
                    "can only be held near something that stays."
                )
        with torch.no_grad(), evaluating(self.model), without_lora(self.model) if self._lora else nullcontext():
            yield self.model

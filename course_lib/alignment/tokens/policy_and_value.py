"""A language model as a policy with a critic: how likely each token was, and what was expected before it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.alignment.tokens.rollouts import at_temperature, before_each, check_packed, check_temperature, spread
from course_lib.nn.transformer import Transformer

# Shape letters used in this file: B = rows (completions), T = columns of tokens, M = the completions' tokens,
# D = width, V = vocabulary.


class TokenJudged(NamedTuple):
    """What a policy and its critic say of completions, token by token.

    Args:
        log_probs: Of each token under the policy.
        values: What the critic expected before it: the rewards from that token on.
        entropy: Of the distribution it was drawn from, in nats; None if it was not asked for.

    Shape:
        - each: ``(B, T)``, 0 where the mask is False
    """

    log_probs: Tensor
    values: Tensor
    entropy: Tensor | None


class PolicyAndValue(nn.Module):
    """A causal transformer that writes, and a critic: one linear layer on hidden states, 0 at the start.

    By default the critic reads the policy's own hidden states. That costs next to nothing, but the gradient of its
    squared error goes through the policy's layers. Where returns are of size 1 or more, even ``value_coefficient=0.1``
    can outweigh the rest, and a small policy then forgets how to write, whatever the reward: the KL leaps, and the
    reward does not rise. Then take ``value_coefficient=0`` with ``lam=1`` (whitened returns are a baseline already),
    or scale the scores down, or let the critic read the states of a second transformer, often a **copy** of the reward
    model's (the critic learns: without a copy, so would the reward).
    A value belongs to what was read **before** a token: it cannot know which one is drawn.

    Args:
        policy: What writes. It may have LoRA on it.
        critic: The transformer whose hidden states the value layer reads. None: the policy.
        temperature: At which the policy draws; its log-probabilities and entropies are those of that distribution.

    Shape:
        - tokens: ``(B, T)``, int64; mask: ``(B, T)``, bool; see `Packed`
        - output: a `TokenJudged`

    Raises:
        ValueError: If a transformer cannot see tokens only from the left, the policy has no output layer, the critic is
            the policy itself, or the temperature is not above 0.

    Example:
        >>> from course_lib.nn.transformer import llama
        >>> policy = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> model = PolicyAndValue(policy)
        >>> judged = model(torch.tensor([[1, 2, 3]]), torch.tensor([[False, True, True]]))
        >>> judged.log_probs.shape, judged.values.tolist()
        (torch.Size([1, 3]), [[0.0, 0.0, 0.0]])

    Reference: Ziegler et al. 2019, section 2.2, https://arxiv.org/abs/1909.08593 (on the policy); Stiennon et al. 2020,
    section 3.4, https://arxiv.org/abs/2009.01325 (apart, so that its updates do not destroy the policy); Ouyang et al.
    2022, appendix C.4, https://arxiv.org/abs/2203.02155 (from the reward model)
    """

    def __init__(self, policy: Transformer, *, critic: Transformer | None = None, temperature: float = 1.0) -> None:
        super().__init__()
        check_temperature(temperature)
        if not policy.config.causal or not policy.has_head:
            raise ValueError("the policy must be a causal transformer with an output layer.")
        if critic is not None and not critic.config.causal:
            raise ValueError("the critic must be causal: a value that sees later tokens is no expectation.")
        if critic is policy:
            raise ValueError("the critic is the policy itself: leave critic=None to read its hidden states.")
        self.policy = policy
        self.critic = critic
        self.temperature = temperature
        weight = policy.embedding.weight
        width = (policy if critic is None else critic).config.width
        with torch.device("meta"):  # there nothing is drawn from torch's global generator
            self.value_head = nn.Linear(width, 1)
        self.value_head.to_empty(device=weight.device).to(weight.dtype)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    def forward(self, tokens: Tensor, mask: Tensor, *, entropy: bool = False) -> TokenJudged:
        """Judge completions; ``entropy`` costs about as much again as the log-probabilities.

        Raises:
            ValueError: If tokens and mask do not belong together.
        """
        check_packed(tokens, mask)
        before = before_each(mask)
        hidden_MD = self.policy.hidden_states(tokens)[before]
        logits_MV = at_temperature(self.policy.logits(hidden_MD), self.temperature)
        read_MD = hidden_MD if self.critic is None else self.critic.hidden_states(tokens)[before]
        log_probs = -F.cross_entropy(logits_MV, tokens[mask], reduction="none")
        with torch.autocast(tokens.device.type, enabled=False):  # bf16 would round values to 3 digits
            values = self.value_head(read_MD.to(self.value_head.weight.dtype))[:, 0]
        return TokenJudged(
            spread(log_probs, mask),
            spread(values.to(logits_MV.dtype), mask),
            spread(_entropy(logits_MV), mask) if entropy else None,
        )


def _entropy(logits: Tensor) -> Tensor:
    """Return the entropy of each distribution: the log of its normaliser, less the mean logit."""
    return logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum(-1)

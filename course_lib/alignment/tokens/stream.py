"""RLHF's stream of batches: draw completions from the policy as it now is, have them scored, deal them out, repeat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from course_lib.alignment.tokens.kl import KLController
from course_lib.alignment.tokens.policy_and_value import PolicyAndValue
from course_lib.alignment.tokens.ppo import TokenBatch
from course_lib.alignment.tokens.prompt_pool import PromptPool
from course_lib.alignment.tokens.reference import Reference
from course_lib.alignment.tokens.rewards import check_scores, token_advantages, token_rewards, whiten
from course_lib.alignment.tokens.rollouts import TokenRollout, sample_completions
from course_lib.loops import evaluating

# Shape letters used in this file: B = completions of a rollout, T = columns of tokens.

Score = Callable[[TokenRollout], Tensor]


class CompletionStream:
    """Endless minibatches for `course_lib.loops.train` with `token_ppo_objective`.

    A rollout is drawn only when its first minibatch is asked for, so from the policy as the last update left it:
    nothing is fetched ahead (do not put a stream like this into a ``DataLoader``). Each rollout is scored, charged for
    its KL, turned into advantages, and dealt out ``epochs`` times in shuffled minibatches.

    With ``staleness=k`` training gets rollouts that were drawn k rollouts ago, as it does where sampling and training
    run side by side on different machines. The ratios of PPO's objective then start away from 1; the values are those
    of the present critic.

    It cannot be replayed: what it gives depends on the model's training so far. It is for one process.

    Args:
        model: What learns: the very model of the `Run`.
        prompts: Token ids, of any lengths; see `PromptPool`.
        score: What a rollout's completions are worth, the reward model's say: ``(B,)``.
        reference: What the policy is held near; see `Reference`.
        kl: Coefficient of the KL penalty; told the KL of each rollout.
        max_new_tokens: See `sample_completions`.
        stop_tokens: See `sample_completions`.
        generator: Of prompts, draws and order.
        num_completions: In a rollout.
        batch_size: Completions in a minibatch, about.
        epochs: How often each rollout is gone through.
        gamma: See `token_advantages`.
        lam: See `token_advantages`.
        normalise: Whether the advantages of a rollout are whitened.
        staleness: How many rollouts old those are that training gets.
        gold: The true worth of completions, if it is known: for ``history``, never for training.

    Attributes:
        history: A row for each rollout that training got: ``reward`` (mean score), ``gold``, ``kl`` (nats a completion,
            the mean of k1, so it may be a little below 0), ``kl_coefficient`` that was charged, ``length`` (tokens),
            ``entropy`` (nats a token), ``finished`` (share that ended by themselves), ``value_error`` (mean square).
        rollout: The last of them; None before.

    Raises:
        ValueError: If a number is out of range, or the reference would learn; while iterating, if ``score`` or ``gold``
            gives anything but one number for each completion.
        NonFiniteReward: While iterating, if one of those is nan or infinite: names the rows.

    Example:
        >>> from copy import deepcopy
        >>> from course_lib.alignment import token_ppo_objective
        >>> from course_lib.loops import Run, train
        >>> from course_lib.nn.transformer import Transformer, llama
        >>> policy = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> model = PolicyAndValue(policy)
        >>> stream = CompletionStream(
        ...     model,
        ...     [[1]],
        ...     lambda rollout: (rollout.tokens == 5).sum(1).float(),  # the more fives the better
        ...     reference=deepcopy(policy),
        ...     kl=KLController(0.1),
        ...     max_new_tokens=4,
        ...     generator=torch.Generator().manual_seed(0),
        ... )
        >>> run = Run(model, token_ppo_objective(), torch.optim.AdamW(model.parameters(), lr=1e-2), max_grad_norm=1.0)
        >>> steps = list(train(run, stream, steps=80))
        >>> len(stream.history), stream.history[-1]["reward"] > stream.history[0]["reward"]
        (20, True)

    Reference: Ziegler et al. 2019, Fine-tuning language models from human preferences,
    https://arxiv.org/abs/1909.08593; Ouyang et al. 2022, section 3.5, https://arxiv.org/abs/2203.02155
    """

    def __init__(
        self,
        model: PolicyAndValue,
        prompts: Sequence[Sequence[int]],
        score: Score,
        *,
        reference: nn.Module,
        kl: KLController,
        max_new_tokens: int,
        generator: torch.Generator,
        stop_tokens: Sequence[int] = (),
        num_completions: int = 64,
        batch_size: int = 32,
        epochs: int = 2,
        gamma: float = 1.0,
        lam: float = 0.95,
        normalise: bool = True,
        staleness: int = 0,
        gold: Score | None = None,
    ) -> None:
        for name, value in {"num_completions": num_completions, "batch_size": batch_size, "epochs": epochs}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if staleness < 0:
            raise ValueError(f"staleness must be 0 (the current policy) or more rollouts, got {staleness}.")
        for name, factor in {"gamma": gamma, "lam": lam}.items():
            if not 0 <= factor <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {factor}.")
        self.model = model
        self.score = score
        self.gold = gold
        self.kl = kl
        self.reference = Reference(reference, model, temperature=model.temperature)
        self.history: list[dict[str, float]] = []
        self.rollout: TokenRollout | None = None
        self._pool = PromptPool(prompts, generator=generator)
        self._generator = generator
        self._max_new_tokens, self._stop_tokens = max_new_tokens, tuple(stop_tokens)
        self._num_completions, self._batch_size, self._epochs = num_completions, batch_size, epochs
        self._gamma, self._lam, self._normalise = gamma, lam, normalise
        self._staleness = staleness
        self._waiting: deque[TokenRollout] = deque()

    def __iter__(self) -> Iterator[TokenBatch]:
        while True:
            batch = self._judged(self._next_rollout())
            for _ in range(self._epochs):
                yield from self._minibatches(batch)

    def column(self, name: str) -> list[float]:
        """Return one column of ``history``.

        Raises:
            ValueError: If there is no such column; the message lists those there are.
        """
        if self.history and name not in self.history[-1]:
            raise ValueError(f"there is no column {name!r}; there are: {', '.join(self.history[-1])}.")
        return [row[name] for row in self.history]

    def _next_rollout(self) -> TokenRollout:
        while len(self._waiting) <= self._staleness:  # at the start all that wait are of the first policy
            self._waiting.append(self._sampled())
        return self._waiting.popleft()

    def _sampled(self) -> TokenRollout:
        indices, prompts = self._pool.take(self._num_completions)
        rollout = sample_completions(
            self.model.policy,
            prompts,
            max_new_tokens=self._max_new_tokens,
            temperature=self.model.temperature,
            stop_tokens=self._stop_tokens,
            generator=self._generator,
        )
        return rollout._replace(prompt_indices=torch.tensor(indices, device=rollout.tokens.device))

    @torch.no_grad()
    def _judged(self, rollout: TokenRollout) -> TokenBatch:
        """Score a rollout, charge it for its KL, estimate advantages; note a row of history."""
        mask, log_probs = rollout.mask, rollout.log_probs
        scores = self._scores(self.score, rollout)
        parts = list(zip(*(torch.split(column, self._batch_size) for column in rollout.packed), strict=True))
        reference = torch.cat([self.reference.log_probs(*part) for part in parts])
        with evaluating(self.model):
            judged = [self.model(*part, entropy=True) for part in parts]
        values, entropy = (torch.cat([getattr(part, name) for part in judged]) for name in ("values", "entropy"))
        coefficient = self.kl.coefficient
        rewards = token_rewards(scores, log_probs, reference, mask, kl_coefficient=coefficient)
        advantages = token_advantages(rewards, values, mask, gamma=self._gamma, lam=self._lam)
        returns = advantages + values
        num_tokens = mask.sum().clamp(min=1)
        row: dict[str, float | Tensor] = {
            "reward": scores.mean(),
            "kl": (log_probs - reference).masked_fill(~mask, 0).sum(1).mean(),
            "kl_coefficient": coefficient,
            "length": rollout.lengths.double().mean(),
            "entropy": entropy.sum() / num_tokens,
            "finished": rollout.finished.double().mean(),
            "value_error": advantages.square().sum() / num_tokens,
        }
        if self.gold is not None:
            row["gold"] = self._scores(self.gold, rollout).mean()
        self.history.append({name: float(value) for name, value in row.items()})
        self.rollout = rollout
        self.kl.update(self.history[-1]["kl"])
        trained = whiten(advantages, mask) if self._normalise else advantages
        return TokenBatch(rollout.tokens, mask, log_probs, trained, returns, values)

    def _scores(self, score: Score, rollout: TokenRollout) -> Tensor:
        scores = score(rollout)
        check_scores(scores, len(rollout.tokens))
        return scores.to(rollout.log_probs)

    def _minibatches(self, batch: TokenBatch) -> Iterator[TokenBatch]:
        num_rows = len(batch.tokens)
        order = torch.randperm(num_rows, generator=self._generator, device=self._generator.device)
        order = order.to(batch.tokens.device)
        for rows in order.tensor_split(max(1, round(num_rows / self._batch_size))):
            yield TokenBatch(*(column.index_select(0, rows) for column in batch))

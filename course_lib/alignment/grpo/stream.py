"""GRPO's stream of batches: groups of completions drawn from the policy as it now is, scored against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from course_lib.alignment.grpo.objective import GRPOBatch, group_advantages
from course_lib.alignment.tokens.prompt_pool import PromptPool
from course_lib.alignment.tokens.reference import Reference
from course_lib.alignment.tokens.rewards import check_scores
from course_lib.alignment.tokens.rollouts import TokenRollout, sample_completions
from course_lib.nn.transformer import Transformer

_MOST_PASSED_OVER = 20  # rollouts running without anything to learn from

# Shape letters used in this file: P = prompts of a rollout, G = completions of each, B = P G, T = columns of tokens.


class GroupStream:
    """Endless minibatches for `course_lib.loops.train` with `grpo_objective`.

    A rollout is drawn only when its first minibatch is asked for, so from the policy as the last update left it:
    nothing is fetched ahead (do not put a stream like this into a ``DataLoader``). It cannot be replayed: what it gives
    depends on the model's training so far. It is for one process.

    Args:
        model: What learns: the very model of the `Run`.
        prompts: Token ids, of any lengths; see `PromptPool`.
        reward: What a rollout's completions are worth, ``(B,)``; ``rollout.prompt_indices`` says which of ``prompts``
            each answers. A program that checks the answer ("verifiable reward"), a reward model, anything.
        max_new_tokens: See `sample_completions`.
        generator: Of prompts, draws and order.
        group_size: G, at least 2.
        num_prompts: P, in a rollout.
        batch_size: Completions in a minibatch, about; None: the whole rollout, so one update a rollout and every
            ratio 1. (A group may be dealt out to several: advantages are fixed before.)
        epochs: How often each rollout is gone through.
        divide_by_std: See `group_advantages`.
        drop_equal: Leave out groups in which all rewards are equal, whose advantages are 0: DAPO's filter, which
            changes what an average is over. DAPO goes on drawing until the batch is full; here it is smaller, and a
            rollout in which every group is equal is passed over.
        reference: For a KL penalty; see `Reference`. None: no reference, and nan in its place.
        temperature: See `sample_completions`; give `grpo_objective` the same.
        stop_tokens: See `sample_completions`.

    Attributes:
        history: A row for each rollout: ``reward`` (mean), ``informative`` (share of groups whose rewards differ),
            ``length`` (tokens), ``finished`` (share that ended by themselves), ``entropy`` (nats a token, estimated by
            the mean of ``-log_probs``), and with a reference ``kl`` (nats a completion, the mean of k1).
        rollout: The last one; None before.

    Raises:
        ValueError: If a number is out of range, or the reference would learn; while iterating, if ``reward`` gives
            anything but one number for each completion, or 20 rollouts running had nothing to learn from.
        NonFiniteReward: While iterating, if a reward is nan or infinite; names the rows, before anything is trained.

    Example:
        >>> from course_lib.alignment.grpo.objective import grpo_objective
        >>> from course_lib.loops import Run, train
        >>> from course_lib.nn.transformer import llama
        >>> g = torch.Generator().manual_seed(0)
        >>> model = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8), generator=g)
        >>> def fives(rollout):
        ...     return (rollout.tokens == 5).sum(1).float()  # the more fives the better
        >>> stream = GroupStream(model, [[1], [2]], fives, max_new_tokens=4, num_prompts=4, generator=g)
        >>> run = Run(model, grpo_objective(), torch.optim.Adam(model.parameters(), lr=5e-2))
        >>> steps = list(train(run, stream, steps=20))
        >>> stream.history[0]["reward"] < 1, stream.history[-1]["reward"] > 3
        (True, True)

    Reference: Shao et al. 2024, DeepSeekMath, algorithm 1, https://arxiv.org/abs/2402.03300; for ``drop_equal``, Yu et
    al. 2025, DAPO, section 3.2, https://arxiv.org/abs/2503.14476
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        reward: Callable[[TokenRollout], Tensor],
        *,
        max_new_tokens: int,
        generator: torch.Generator,
        group_size: int = 8,
        num_prompts: int = 16,
        batch_size: int | None = None,
        epochs: int = 1,
        divide_by_std: bool = True,
        drop_equal: bool = False,
        reference: nn.Module | None = None,
        temperature: float = 1.0,
        stop_tokens: Sequence[int] = (),
    ) -> None:
        if group_size < 2:
            raise ValueError(f"group_size must be at least 2, or nothing can be compared, got {group_size}.")
        for name, value in {"num_prompts": num_prompts, "epochs": epochs, "batch_size": batch_size}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.model = model
        self.reward = reward
        self.reference = None if reference is None else Reference(reference, model, temperature=temperature)
        self.history: list[dict[str, float]] = []
        self.rollout: TokenRollout | None = None
        self._pool = PromptPool(prompts, generator=generator)
        self._generator = generator
        self._group_size, self._num_prompts = group_size, num_prompts
        self._batch_size, self._epochs = batch_size, epochs
        self._divide_by_std, self._drop_equal = divide_by_std, drop_equal
        self._max_new_tokens, self._temperature, self._stop_tokens = max_new_tokens, temperature, tuple(stop_tokens)

    def __iter__(self) -> Iterator[GRPOBatch]:
        passed_over = 0
        while True:
            batch = self._judged(self._sampled())
            passed_over = passed_over + 1 if len(batch.tokens) == 0 else 0
            if passed_over == _MOST_PASSED_OVER:
                raise ValueError(
                    f"in {passed_over} rollouts running all rewards of every group were equal, so there is nothing to "
                    "learn: the task is too easy or too hard for this model, or the reward never varies."
                )
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

    def _sampled(self) -> TokenRollout:
        indices, prompts = self._pool.take(self._num_prompts)
        rollout = sample_completions(
            self.model,
            prompts,
            max_new_tokens=self._max_new_tokens,
            num_each=self._group_size,
            temperature=self._temperature,
            stop_tokens=self._stop_tokens,
            generator=self._generator,
        )
        return rollout._replace(
            prompt_indices=torch.tensor(indices, device=rollout.tokens.device)[rollout.prompt_indices]
        )

    @torch.no_grad()
    def _judged(self, rollout: TokenRollout) -> GRPOBatch:
        """Score a rollout, compare within groups, note a row of history; return the completions to learn from."""
        mask, log_probs = rollout.mask, rollout.log_probs
        rewards = self.reward(rollout)
        check_scores(rewards, len(mask))
        grouped = rewards.to(log_probs).view(-1, self._group_size)
        advantages = group_advantages(grouped, divide_by_std=self._divide_by_std)
        differs = grouped.amax(1) > grouped.amin(1)
        row = {
            "reward": grouped.mean(),
            "informative": differs.double().mean(),
            "length": rollout.lengths.double().mean(),
            "finished": rollout.finished.double().mean(),
            "entropy": -log_probs.sum() / mask.sum().clamp(min=1),
        }
        reference = torch.full_like(log_probs, torch.nan)  # zeros would be a reference that is sure of everything
        if self.reference is not None:
            reference = self.reference.log_probs(*rollout.packed)
            row["kl"] = (log_probs - reference).sum(1).mean()
        self.history.append({name: float(value) for name, value in row.items()})
        self.rollout = rollout
        batch = GRPOBatch(rollout.tokens, mask, log_probs, advantages.flatten(), reference)
        if not self._drop_equal:
            return batch
        kept = differs.repeat_interleave(self._group_size)
        return GRPOBatch(*(column[kept] for column in batch))

    def _minibatches(self, batch: GRPOBatch) -> Iterator[GRPOBatch]:
        num_rows = len(batch.tokens)
        if num_rows == 0:
            return
        if self._batch_size is None:
            yield batch
            return
        order = torch.randperm(num_rows, generator=self._generator, device=self._generator.device)
        order = order.to(batch.tokens.device)
        for rows in order.tensor_split(max(1, round(num_rows / self._batch_size))):
            yield GRPOBatch(*(column.index_select(0, rows) for column in batch))

"""A reward model: a transformer that reads prompt and completion and says with one number how good it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from course_lib.alignment.raters.preferences import Ids, joined
from course_lib.loops import evaluating
from course_lib.nn.transformer import Transformer

# Shape letters used in this file: B = rows, N = rows in all, T = tokens, D = width.

Pooling = Literal["last", "mean"]


class NonFiniteReward(RuntimeError):
    """A reward was nan or infinite; nothing was learnt from it."""


class RewardModel(nn.Module):
    """A transformer with its output layer replaced by one that gives a single number for the whole text.

    Begin with a trained language model (it knows the language already); the transformer given is taken over, not
    copied. The head starts at 0: to an untrained reward model all texts are equal, and comparisons come out even.
    Trained on comparisons, differences of its rewards are log-odds; a constant added to all of them changes no
    comparison, so what 0 means is up to us, see `centre`.

    Args:
        transformer: A causal one. Its own output layer, if it has one, is not used.
        pooling: What the head reads. ``"last"``, the usual: the last token's hidden state, the only one that has seen
            the whole text; a language model has used it to guess what comes next, so the layers below must learn to
            carry the verdict there. ``"mean"``: the mean over all tokens, which holds much of what was told even before
            any layer has learnt: the head alone can then be trained, on `completion_features`.

    Shape:
        - tokens: ``(B, T)``, int64
        - mask: ``(B, T)``, bool, True for a token, False for padding on whichever side; None: no padding
        - output: ``(B,)``, in the head's dtype, under autocast too

    Raises:
        ValueError: If the transformer is not causal, or ``pooling`` unknown; when called, if a row is all padding (on a
            GPU, where looking would make it wait, its reward is nan).

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> model = RewardModel(Transformer(gpt(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8)))
        >>> model(torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[True, True, True], [True, True, False]]))
        tensor([0., 0.], grad_fn=<SqueezeBackward1>)

    Reference: Stiennon et al. 2020, Learning to summarize from human feedback, section 3.3,
    https://arxiv.org/abs/2009.01325; Ouyang et al. 2022, InstructGPT, section 3.5, https://arxiv.org/abs/2203.02155
    """

    def __init__(self, transformer: Transformer, *, pooling: Pooling = "last") -> None:
        super().__init__()
        if not transformer.config.causal:
            raise ValueError("a RewardModel reads from left to right, so it needs a causal transformer.")
        if pooling not in get_args(Pooling):
            raise ValueError(f'pooling must be "last" or "mean", got {pooling!r}.')
        self.transformer = transformer
        self.pooling = pooling
        weight = transformer.embedding.weight
        self.head = nn.Linear(transformer.config.width, 1, device="meta").to_empty(device=weight.device)
        self.head.to(weight.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the reward of each row."""
        features_BD = self.features(tokens, mask)
        with torch.autocast(tokens.device.type, enabled=False):  # bf16 would round rewards to 3 digits
            rewards: Tensor = self.head(features_BD).squeeze(-1)
        return rewards

    def features(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what the head reads of each row, ``(B, D)``, in the head's dtype."""
        hidden_BTD = self.transformer.hidden_states(tokens, mask=mask).to(self.head.weight.dtype)
        if mask is None:
            return hidden_BTD[:, -1] if self.pooling == "last" else hidden_BTD.mean(dim=1)
        if self.pooling == "mean":
            sums_BD = hidden_BTD.masked_fill(~mask[:, :, None], 0).sum(dim=1)
            return _refuse_empty(sums_BD / mask.sum(dim=1)[:, None].clamp(min=1), mask)
        place_T = torch.arange(tokens.shape[1], device=tokens.device)
        last_B = place_T.where(mask, -1).amax(dim=1)  # before padding on the right, at the end otherwise
        return _refuse_empty(hidden_BTD[torch.arange(len(tokens), device=tokens.device), last_B], mask)


@torch.no_grad()
def score_completions(
    model: RewardModel, prompts: Sequence[Ids], completions: Sequence[Ids], *, batch_size: int = 64
) -> Tensor:
    """Return the reward of each completion of its prompt, without gradients and in evaluation mode.

    Args:
        model: What judges.
        prompts: Token ids of any lengths.
        completions: One for each, with its end token if it has one; an empty one is judged at the prompt's end.
        batch_size: Rows at once. Rows of like length are put together, so that little padding is read.

    Shape:
        - output: ``(N,)``, in the head's dtype, on the model's device

    Raises:
        ValueError: If the lists do not fit together.
        NonFiniteReward: If a reward is nan or infinite: names the rows.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> model = RewardModel(Transformer(gpt(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8)))
        >>> score_completions(model, [[0], [0]], [[1, 2, 3], []])
        tensor([0., 0.])
    """
    rewards = _row_by_row(model, model, prompts, completions, batch_size, model.head.weight.new_empty(len(prompts)))
    check_rewards(rewards)
    return rewards


@torch.no_grad()
def completion_features(
    model: RewardModel, prompts: Sequence[Ids], completions: Sequence[Ids], *, batch_size: int = 64
) -> Tensor:
    """Return what the head reads of each completion, without gradients and in evaluation mode.

    As long as the transformer does not learn, features need computing once, and training the head on them takes no
    time: ``head(features)`` is then the reward.

    Args:
        model: Whose features.
        prompts: As for `score_completions`.
        completions: As there.
        batch_size: As there.

    Shape:
        - output: ``(N, D)``, in the head's dtype, on the model's device

    Raises:
        ValueError: If the lists do not fit together.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> model = RewardModel(Transformer(gpt(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8)))
        >>> features = completion_features(model, [[0], [0]], [[1, 2, 3], []])
        >>> features.shape, torch.equal(model.head(features)[:, 0], score_completions(model, [[0], [0]], [[1], [2]]))
        (torch.Size([2, 8]), True)
    """
    shape = len(prompts), model.head.in_features
    return _row_by_row(model, model.features, prompts, completions, batch_size, model.head.weight.new_empty(shape))


@torch.no_grad()
def score_packed(model: RewardModel, tokens: Tensor, completion: Tensor) -> Tensor:
    """Return the reward of each row of a `TokenRollout` or of `Packed`, without gradients and in evaluation mode.

    Args:
        model: What judges.
        tokens: Prompts with completions, then padding.
        completion: True at the completions' tokens. Not the mask that the model itself takes: prompts are read too.

    Shape:
        - tokens: ``(B, T)``, int64; completion: ``(B, T)``, bool
        - output: ``(B,)``, in the head's dtype

    Raises:
        ValueError: If a completion is empty: nothing says where its prompt ends. Use `score_completions`.
        NonFiniteReward: If a reward is nan or infinite: names the rows.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> model = RewardModel(Transformer(gpt(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8)))
        >>> score_packed(model, torch.tensor([[1, 2, 3, 0]]), torch.tensor([[False, True, True, False]]))
        tensor([0.])
    """
    behind = completion.flip(1).cumsum(1).flip(1)  # how much of the completion is still to come
    if not behind[:, 0].all():
        rows = (behind[:, 0] == 0).nonzero().flatten().tolist()
        raise ValueError(f"the completions of rows {rows[:5]} are empty: use score_completions, which knows prompts.")
    with evaluating(model):
        rewards: Tensor = model(tokens, behind > 0)
    check_rewards(rewards)
    return rewards


def check_rewards(rewards: Tensor) -> None:
    """Refuse rewards that are not finite, before anything learns from them.

    Args:
        rewards: One a row. It is looked at, so a GPU waits.

    Shape:
        - rewards: ``(N,)``

    Raises:
        NonFiniteReward: Naming how many, and which rows.

    Example:
        >>> check_rewards(torch.tensor([0.5, float("nan"), 1.0]))
        Traceback (most recent call last):
        course_lib.alignment.rewards.model.NonFiniteReward: 1 of 3 rewards is not finite: nan in row 1.
    """
    bad = (~rewards.isfinite()).nonzero().flatten().tolist()
    if bad:
        named = ", ".join(f"{rewards[row].item()} in row {row}" for row in bad[:5])
        verb = "is" if len(bad) == 1 else "are"
        raise NonFiniteReward(f"{len(bad)} of {len(rewards)} rewards {verb} not finite: {named}.")


@torch.no_grad()
def centre(model: RewardModel, prompts: Sequence[Ids], completions: Sequence[Ids], *, batch_size: int = 64) -> float:
    """Shift the model's rewards so that their mean over some reference completions is 0; return what was taken off.

    Comparisons fix rewards only up to a constant. With that of the model that is about to be improved, 0 means "as good
    as now", and what comes of training reads as a gain.

    Args:
        model: Changed in place, by its head's bias alone.
        prompts: Of the reference completions.
        completions: Commonly samples of the model that reinforcement learning begins from.
        batch_size: As for `score_completions`.

    Raises:
        ValueError: If there are no completions, or the lists do not fit together.
        NonFiniteReward: If a reward is nan or infinite.
    """
    if not prompts:
        raise ValueError("centre needs some reference completions, got none.")
    mean = score_completions(model, prompts, completions, batch_size=batch_size).double().mean()
    model.head.bias.sub_(mean)
    return float(mean)


def _row_by_row(
    model: RewardModel,
    judge: Callable[[Tensor, Tensor], Tensor],
    prompts: Sequence[Ids],
    completions: Sequence[Ids],
    batch_size: int,
    output: Tensor,
) -> Tensor:
    """Fill ``output`` with what ``judge`` says of each row, rows of like length together."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if len(prompts) != len(completions):
        raise ValueError(f"each prompt needs one completion, got {len(prompts)} and {len(completions)}.")
    lengths = [len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True)]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    with evaluating(model):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            some = [prompts[row] for row in rows], [completions[row] for row in rows]
            tokens, mask, _ = joined(*some, device=output.device)
            output[torch.tensor(rows, device=output.device)] = judge(tokens, mask)
    return output


def _refuse_empty(features: Tensor, mask: Tensor) -> Tensor:
    empty = ~mask.any(dim=1)
    if empty.device.type != "cpu":
        return features.masked_fill(empty[:, None], torch.nan)
    if empty.any():
        rows = empty.nonzero().flatten().tolist()
        raise ValueError(f"rows {rows[:5]} are all padding: there is nothing to judge.")
    return features

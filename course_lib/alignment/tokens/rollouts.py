"""Completions as tensors: packing given ones, drawing new ones from a policy, and how likely each token of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.loops import evaluating
from course_lib.nn.transformer import Transformer, generate

# Shape letters used in this file: B = rows (completions), T = tokens of the longest prompt with its completion,
# M = tokens asked about, V = vocabulary.


class Packed(NamedTuple):
    """Prompts with a completion each, in one tensor.

    Args:
        tokens: Each row's prompt, at once its completion, then 0s: a causal model needs no mask for padding behind.
        mask: True at the completion's tokens, False at prompt and padding; a row without True is an empty completion.

    Shape:
        - tokens: ``(B, T)``, int64; mask: ``(B, T)``, bool
    """

    tokens: Tensor
    mask: Tensor


class TokenRollout(NamedTuple):
    """Completions that a policy drew.

    Args:
        tokens: See `Packed`.
        mask: See `Packed`; the stop token is part of the completion.
        log_probs: ``log_probs[:, t]`` is the log-probability of ``tokens[:, t]`` after those before it, under the
            policy that drew it; 0 where the mask is False.
        finished: Whether the completion ended by itself; False if it was cut off at the greatest length.
        prompt_indices: Which of the prompts each row answers.

    Shape:
        - tokens: ``(B, T)``, int64; mask: ``(B, T)``, bool; log_probs: ``(B, T)``
        - finished: ``(B,)``, bool; prompt_indices: ``(B,)``, int64
    """

    tokens: Tensor
    mask: Tensor
    log_probs: Tensor
    finished: Tensor
    prompt_indices: Tensor

    @property
    def packed(self) -> Packed:
        """The first two columns, as `sequence_log_probs` takes them."""
        return Packed(self.tokens, self.mask)

    @property
    def lengths(self) -> Tensor:
        """How many tokens each completion has, ``(B,)``, int64."""
        return self.mask.sum(1)

    def lists(self) -> list[list[int]]:
        """Return each row's completion as token ids, the stop token included."""
        return [row[kept].tolist() for row, kept in zip(self.tokens, self.mask, strict=True)]

    def rows(self, indices: Tensor) -> TokenRollout:
        """Return the rows of these indices, int64, or those for which a bool ``(B,)`` is True."""
        return TokenRollout(*(column[indices] for column in self))


def pack_completions(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], *, device: torch.device | str | None = None
) -> Packed:
    """Put prompts and their completions, all of any length, into one tensor.

    Args:
        prompts: Token ids; at least one each, for a model says nothing about a first token.
        completions: As many; one may be empty.
        device: Of the tensors.

    Returns:
        Tokens and mask, with as many columns as the longest row needs.

    Raises:
        ValueError: For no prompt, an empty one, or another number of completions.

    Example:
        >>> packed = pack_completions([[1, 2], [3]], [[7], [8, 9]])
        >>> packed.tokens.tolist(), packed.mask.int().tolist()
        ([[1, 2, 7], [3, 8, 9]], [[0, 0, 1], [0, 1, 1]])
    """
    if len(prompts) == 0 or len(prompts) != len(completions):
        raise ValueError(
            f"every prompt needs one completion, got {len(prompts)} prompts and {len(completions)} completions."
        )
    if empty := [row for row, prompt in enumerate(prompts) if len(prompt) == 0]:
        raise ValueError(f"prompt {empty[0]} is empty: give it a start token, such as the end-of-text token.")
    rows = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64, device=device)
    starts, ends = (torch.tensor([len(row) for row in ids], device=device)[:, None] for ids in (prompts, rows))
    places = torch.arange(longest, device=device)
    return Packed(tokens, (places >= starts) & (places < ends))


def sample_completions(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    num_each: int = 1,
    temperature: float = 1.0,
    stop_tokens: Sequence[int] = (),
    generator: torch.Generator | None = None,
) -> TokenRollout:
    """Draw completions from a policy, with a cache of keys and values, and note how likely each token was.

    The policy is the model's softmax at ``temperature``, and the log-probabilities are that policy's. There is no top-k
    and no top-p: they draw from another distribution than the one that learns. Dropout is off meanwhile.

    Args:
        model: The policy; LoRA on it counts.
        prompts: Token ids, of any lengths.
        max_new_tokens: How many at most in a completion.
        num_each: Completions of each prompt; those of prompt p are rows ``p * num_each`` to ``(p + 1) * num_each - 1``.
        temperature: Above 0; divides the logits.
        stop_tokens: A completion ends with the first of these.
        generator: Where draws come from; torch's global one if None.

    Returns:
        ``len(prompts) * num_each`` rows, without gradients.

    Raises:
        ValueError: If ``num_each`` is less than 1, the temperature is not above 0, or `generate` refuses something.

    Example:
        >>> from course_lib.nn.transformer import llama
        >>> model = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> generator = torch.Generator().manual_seed(0)
        >>> rollout = sample_completions(model, [[1, 2], [3]], max_new_tokens=4, num_each=3, generator=generator)
        >>> rollout.prompt_indices.tolist(), rollout.lengths.tolist()
        ([0, 0, 0, 1, 1, 1], [4, 4, 4, 4, 4, 4])
    """
    if num_each < 1:
        raise ValueError(f"num_each must be at least 1, got {num_each}.")
    check_temperature(temperature)
    repeated = [prompt for prompt in prompts for _ in range(num_each)]
    written = generate(
        model,
        repeated,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        stop_tokens=stop_tokens,
        generator=generator,
    )
    device = written.tokens.device
    tokens, mask = pack_completions(repeated, written.lists(), device=device)
    if temperature == 1:
        log_probs = spread(written.log_probs[written.mask], mask)  # both row by row, in the order of writing
    else:
        with torch.no_grad(), evaluating(model):
            log_probs = sequence_log_probs(model, tokens, mask, temperature=temperature)
    last = tokens.gather(1, (mask * torch.arange(tokens.shape[1], device=device)).amax(1, keepdim=True))[:, 0]
    finished = torch.isin(last, torch.tensor(list(stop_tokens), dtype=torch.int64, device=device))
    indices = torch.arange(len(prompts), device=device).repeat_interleave(num_each)
    return TokenRollout(tokens, mask, log_probs, finished, indices)


def sequence_log_probs(model: nn.Module | Any, tokens: Tensor, mask: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return how likely each token of the completions is after those before it, all in one pass ("teacher-forced").

    Summed over a row it is the log-probability of the completion given its prompt. Gradients flow.

    Args:
        model: Anything that maps ``(B, T)`` tokens to the logits of the next ones, ``(B, T, V)``; causal.
        tokens: See `Packed`.
        mask: Which tokens are asked about.
        temperature: Divides the logits, as in `sample_completions`.

    Shape:
        - tokens: ``(B, T)``, int64; mask: ``(B, T)``, bool, True where it counts, never in the first column
        - output: ``(B, T)``, float32 at least; exactly 0, with no gradient, where the mask is False

    Raises:
        ValueError: For other shapes or types, a temperature that is not above 0 and (on the CPU) a mask that asks about
            a row's first token, for which there are no logits.

    Example:
        >>> packed = pack_completions([[0], [0]], [[1, 2], [3]])
        >>> sequence_log_probs(lambda tokens: torch.zeros(*tokens.shape, 4), *packed)  # log(1/4) each
        tensor([[ 0.0000, -1.3863, -1.3863],
                [ 0.0000, -1.3863,  0.0000]])
    """
    check_packed(tokens, mask)
    check_temperature(temperature)
    before = before_each(mask)
    if isinstance(model, Transformer):  # the output layer is the dearest part of a small model: only where it is needed
        logits_MV = model.logits(model.hidden_states(tokens)[before])
    else:
        logits_MV = model(tokens)[before]
    losses = F.cross_entropy(at_temperature(logits_MV, temperature), tokens[mask], reduction="none")
    return spread(-losses, mask)


def at_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Return the logits of the policy that draws at ``temperature``, in float32 at least."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if temperature == 1 else logits / temperature


def before_each(mask: Tensor) -> Tensor:
    """Return the mask of the columns just before those of ``mask``: what a model knew when it wrote a token."""
    return F.pad(mask[:, 1:], (0, 1), value=False)


def spread(numbers: Tensor, mask: Tensor) -> Tensor:
    """Put ``(M,)`` numbers, row by row, where ``mask`` is True, ``(B, T)``; 0 elsewhere."""
    return numbers.new_zeros(mask.shape).masked_scatter(mask, numbers)


def check_packed(tokens: Tensor, mask: Tensor) -> None:
    """Refuse tokens and a mask that do not belong together."""
    if tokens.ndim != 2 or tokens.dtype != torch.int64:
        raise ValueError(f"tokens must be (B, T) of int64, got {tuple(tokens.shape)} of {tokens.dtype}.")
    if mask.shape != tokens.shape or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be {tuple(tokens.shape)} of bool (True: a completion's token), got {tuple(mask.shape)} of "
            f"{mask.dtype}."
        )
    if mask.device.type == "cpu" and mask[:, :1].any():
        row = int(mask[:, 0].nonzero()[0])
        raise ValueError(f"row {row} asks about its first token, before which there is nothing: give it a prompt.")


def check_temperature(temperature: float) -> None:
    """Refuse a temperature of which there is no distribution with log-probabilities."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be above 0 and finite, got {temperature}: a greedy choice is not drawn.")

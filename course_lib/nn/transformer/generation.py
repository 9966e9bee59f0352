"""Writing on: one token at a time, for a batch of prompts of any lengths, with a cache of keys and values."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.nn.modes import evaluation_mode
from course_lib.nn.transformer.cache import KVCache
from course_lib.nn.transformer.model import Transformer
from course_lib.nn.transformer.sampling import check_sampling, draw, sampling_distribution

# Shape letters used in this file: B = rows, T = tokens of the longest prompt, N = new tokens.


@dataclass(frozen=True, slots=True)
class Generated:
    """What was written, one row a prompt.

    Attributes:
        tokens: The new tokens; 0 behind the end of a row.
        mask: True for what was written, the stop token included.
        log_probs: Of each new token under the model: its own log-probability, whatever temperature, top-k or top-p
            it was drawn with; 0 behind the end of a row.

    Shape:
        - tokens: ``(B, N)``, int64; mask: bool; log_probs: float32 (float64 if the model is)
    """

    tokens: Tensor
    mask: Tensor
    log_probs: Tensor

    def lists(self) -> list[list[int]]:
        """Return each row's new tokens, the stop token included."""
        return [row[kept].tolist() for row, kept in zip(self.tokens, self.mask, strict=True)]


@torch.no_grad()
def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]] | Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_tokens: Sequence[int] = (),
    generator: torch.Generator | None = None,
    memory: Tensor | None = None,
    memory_mask: Tensor | None = None,
) -> Generated:
    """Write up to ``max_new_tokens`` after each prompt.

    Dropout is off meanwhile. Rows do not know of each other: greedy, a row depends on its prompt alone; drawn, also on
    the generator's state, ``max_new_tokens`` and its place among the prompts, not on how many come after it.

    Args:
        model: A causal one with an output layer.
        prompts: Token ids; lists may differ in length.
        max_new_tokens: How many at most.
        temperature: Divides the logits; 0 is greedy.
        top_k: Draw from the k most probable only.
        top_p: Draw from the most probable that hold this probability together only.
        stop_tokens: A row ends with the first of these.
        generator: Where draws come from; torch's global one if None. Greedy takes nothing from either.
        memory: An encoder's output, if the model looks at one.
        memory_mask: Which of it is real.

    Shape:
        - prompts: ``(B, T)``, int64, or B lists
        - memory: ``(B, S, source_width)``; memory_mask: ``(B, S)``, bool

    Returns:
        The new tokens, as many columns as the longest row has.

    Raises:
        ValueError: For no prompt, an empty one, more tokens than the context holds, settings out of range, and (on the
            CPU) logits that are NaN or infinite. On a GPU, where looking at them would make it wait, what is written
            then is of no use, or torch's error.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> model = Transformer(gpt(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> out = generate(model, [[1, 2, 3], [4]], max_new_tokens=5, generator=torch.Generator().manual_seed(0))
        >>> out.tokens.shape, [len(row) for row in out.lists()]
        (torch.Size([2, 5]), [5, 5])
    """
    check_sampling(temperature, top_k, top_p)
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be a whole number of at least 1, got {max_new_tokens!r}.")
    device = model.embedding.weight.device
    tokens, mask = _left_padded(prompts, device)
    if tokens.shape[1] + max_new_tokens > model.config.context_length:
        raise ValueError(
            f"the longest prompt has {tokens.shape[1]} tokens; with {max_new_tokens} new ones that is more than the "
            f"context length {model.config.context_length}. Keep the end of the prompt, or ask for fewer."
        )
    num_rows = len(tokens)
    uniforms = None
    if temperature > 0:
        uniform_device = device if generator is None else generator.device
        uniforms = torch.rand(num_rows, max_new_tokens, generator=generator, device=uniform_device).to(device)
    stops = torch.tensor(_token_ids("stop_tokens", stop_tokens), dtype=torch.int64, device=device)
    cache = KVCache(model.config, capacity=tokens.shape[1] + max_new_tokens)
    running = torch.ones(num_rows, dtype=torch.bool, device=device)
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    with evaluation_mode(model):
        for step in range(max_new_tokens):
            hidden = model.hidden_states(tokens, cache=cache, mask=mask, memory=memory, memory_mask=memory_mask)
            logits = model.logits(hidden[:, -1])
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            log_total = logits.logsumexp(dim=-1)
            if device.type == "cpu" and not log_total.isfinite().all():
                raise ValueError(f"the model's logits are NaN or infinite at new token {step}: are its weights broken?")
            if uniforms is None:
                new = logits.argmax(dim=-1)
            else:
                distribution = sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
                new = draw(distribution, uniforms[:, step])
            log_probs = logits.gather(-1, new[:, None])[:, 0] - log_total
            columns.append((torch.where(running, new, 0), running, torch.where(running, log_probs, 0.0)))
            if len(stops):
                running = running & ~torch.isin(new, stops)
                if not running.any():
                    break
            tokens, mask = new[:, None], None
    new_tokens, written, all_log_probs = (torch.stack(column, dim=1) for column in zip(*columns, strict=True))
    return Generated(new_tokens, written, all_log_probs)


def _left_padded(prompts: Sequence[Sequence[int]] | Tensor, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return all prompts in one tensor, and which of it is not padding if there is any."""
    if len(prompts) == 0:
        raise ValueError("generate needs at least one prompt, got none.")
    if isinstance(prompts, Tensor):
        if prompts.ndim != 2:
            raise ValueError(f"prompts must be (B, T), or a list of lists, got {tuple(prompts.shape)}.")
        return prompts.to(device), None
    ids = [_token_ids(f"prompt {row}", prompt) for row, prompt in enumerate(prompts)]
    lengths = [len(prompt) for prompt in ids]
    if min(lengths) == 0:
        raise ValueError(f"prompt {lengths.index(0)} is empty: give it a start token, such as the end-of-text token.")
    longest = max(lengths)
    rows = [[0] * (longest - len(prompt)) + prompt for prompt in ids]
    tokens = torch.tensor(rows, dtype=torch.int64, device=device)
    if min(lengths) == longest:
        return tokens, None
    padding = torch.tensor([longest - length for length in lengths], device=device)
    return tokens, torch.arange(longest, device=device) >= padding[:, None]


def _token_ids(name: str, tokens: Iterable[int]) -> list[int]:
    try:
        return [operator.index(token) for token in tokens]
    except TypeError as error:
        raise ValueError(f"{name} must be a list of token ids (whole numbers), got {reprlib.repr(tokens)}.") from error

"""More tokens for a trained transformer: new rows in its embedding and output layer, all else as it was."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from course_lib.nn.transformer.model import Transformer


@torch.no_grad()
def grow_vocabulary(model: Transformer, num: int, *, generator: torch.Generator, noise: float = 0.1) -> Transformer:
    """Return a copy of ``model`` that knows ``num`` further tokens, numbered after those it has.

    A new row is the mean of the old ones plus a little noise. The mean is a good start: its logit is the mean of the
    old logits, which is never above the log of their mean exponential, so that without noise each new token gets at
    most ``1 / V`` of what the old tokens have together, and the old ones keep their ratios. Rows drawn at the starting
    weights' size may do far worse: trained rows have grown apart from those.

    Args:
        model: With or without an output layer; tied or not. It is left as it is.
        num: How many tokens more.
        generator: Of the noise; on any device.
        noise: Standard deviation of the noise in units of the old rows' own, for each column; 0 for none (then new
            tokens start alike, and only different uses of them set them apart).

    Returns:
        A `Transformer` on the same device, of the same dtype and mode, with ``config.vocab_size`` raised by ``num``.
        All old weights have the same bits.

    Raises:
        ValueError: If ``num`` is below 1, ``noise`` is negative or not finite, or there are weights that a plain
            Transformer does not have, such as adapters.

    Example:
        >>> from course_lib.nn.transformer import gpt
        >>> model = Transformer(gpt(vocab_size=100, width=32, num_layers=1, num_heads=4, context_length=16))
        >>> grow_vocabulary(model, 3, generator=torch.Generator().manual_seed(0)).config.vocab_size
        103

    Reference: Hewitt 2021, Initializing new word embeddings for pretrained language models,
    https://nlp.stanford.edu/~johnhew/vocab-expansion.html
    """
    if num < 1:
        raise ValueError(f"num must be at least 1 token, got {num}.")
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise must be finite and 0 or more, got {noise}; 0.1 is usual.")
    device = model.embedding.weight.device
    with torch.device(device):
        grown = Transformer(
            replace(model.config, vocab_size=model.config.vocab_size + num),
            head=model.has_head,
            source_width=model.source_width,
            generator=torch.Generator(device),  # its weights are replaced at once, and torch's own generator stays put
        )
    state = model.state_dict()
    if foreign := sorted(state.keys() ^ grown.state_dict().keys()):
        raise ValueError(
            f"the model has other weights than a plain Transformer ({', '.join(foreign[:3])}): grow its vocabulary "
            "before adapters are added, or after they are merged and removed."
        )
    for name in ("embedding.weight", "head.weight"):
        if name in state:
            state[name] = _with_rows(state[name], num, noise, generator)
    grown.to(model.embedding.weight.dtype).load_state_dict(state)
    for new, old in zip(grown.parameters(), model.parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    return grown.train(model.training)


def _with_rows(rows: Tensor, num: int, noise: float, generator: torch.Generator) -> Tensor:
    """Return ``(V, D)`` rows and ``num`` further ones."""
    exact = rows.double() if rows.device.type != "mps" else rows.float()  # a mean of many bf16 numbers
    drawn = torch.randn(num, rows.shape[1], generator=generator, device=generator.device).to(exact)
    new = exact.mean(0) + noise * exact.std(0, correction=0) * drawn
    return torch.cat([rows, new.to(rows.dtype)])

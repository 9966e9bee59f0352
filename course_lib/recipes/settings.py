"""What a pretraining run can be asked to do, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Literal, get_args

import torch
from torch import nn

from course_lib.loops.precision import Precision, check_precision
from course_lib.nn.transformer import TransformerConfig, gpt, llama
from course_lib.optim import schedules
from course_lib.recipes.run_parts import adamw, check_updates

Architecture = Literal["llama", "gpt"]
Schedule = Literal["cosine", "wsd", "constant"]
_WHOLE = (
    *("vocab_size", "width", "num_layers", "num_heads", "num_kv_heads", "context_length"),
    *("batch_size", "accumulate", "steps", "warmup", "seed"),
)
_LEAST_VOCABULARY = 257
_DECAY_SHARE = 0.2  # of the updates, for wsd; Haegele et al. 2024 find 10 to 20 % enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One pretraining run.

    Args:
        vocab_size: Tokens of the tokenizer that is trained first.
        architecture: ``"llama"``: rotary positions, RMS norm, SwiGLU; ``"gpt"``: learned positions, layer norm, GELU.
        width: Of the residual stream.
        num_layers: Blocks.
        num_heads: Attention heads; they divide the width.
        num_kv_heads: Heads of keys and values, as many as heads by default.
        context_length: Tokens a window.
        tied: Whether the output layer is the embedding.
        dropout: Share of activations that is dropped.
        batch_size: Windows a micro-batch.
        accumulate: Micro-batches an update.
        steps: Updates.
        learning_rate: The highest.
        schedule: Of the learning rate after the warmup: half a cosine to a tenth, or level with a fall to 0 in the
            last fifth (warmup-stable-decay), or level.
        warmup: Updates until the highest learning rate.
        weight_decay: AdamW's, on matrices only: norms and biases do not decay.
        beta2: AdamW's memory of squared gradients.
        max_grad_norm: Gradients longer than this are shortened.
        z_loss: Weight of the penalty that keeps logits from drifting.
        ema: Decay of a moving average of the weights, which then is the result; 0 for none.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        compiled: Whether to compile the model.
        seed: Of weights, data order, split and samples.

    Raises:
        ValueError: If a number is out of its range; the message names it.
    """

    vocab_size: int = 4096
    architecture: Architecture = "llama"
    width: int = 256
    num_layers: int = 6
    num_heads: int = 4
    num_kv_heads: int | None = None
    context_length: int = 256
    tied: bool = True
    dropout: float = 0.0
    batch_size: int = 16
    accumulate: int = 1
    steps: int = 1000
    learning_rate: float = 1e-3
    schedule: Schedule = "cosine"
    warmup: int = 100
    weight_decay: float = 0.1
    beta2: float = 0.95
    max_grad_norm: float = 1.0
    z_loss: float = 0.0
    ema: float = 0.0
    precision: Precision = "fp32"
    compiled: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _WHOLE:
            if type(value := getattr(self, name)) is not int and (value is not None or name != "num_kv_heads"):
                raise ValueError(f"{name} must be a whole number, got {value!r}.")
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate}.")
        if self.vocab_size < _LEAST_VOCABULARY:
            raise ValueError(
                f"vocab_size must be at least {_LEAST_VOCABULARY}, 256 bytes and the end of a text, "
                f"got {self.vocab_size}."
            )
        check_updates(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            ema=self.ema,
            seed=self.seed,
        )
        if not self.max_grad_norm > 0:
            raise ValueError(f"max_grad_norm must be positive (inf for no limit), got {self.max_grad_norm}.")
        if not 0 <= self.z_loss < inf:
            raise ValueError(f"z_loss must be finite and at least 0, got {self.z_loss}.")
        if not 0 <= self.beta2 < 1:
            raise ValueError(f"beta2 must be at least 0 and less than 1, got {self.beta2}.")
        for name, kind in (("architecture", Architecture), ("schedule", Schedule)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}.")
        check_precision(self.precision, [])
        self.config()

    @property
    def tokens_per_step(self) -> int:
        """Targets an update learns from, but for padding."""
        return self.batch_size * self.accumulate * self.context_length

    def config(self, vocab_size: int | None = None) -> TransformerConfig:
        """Return the model's shape; ``vocab_size`` is that of the tokenizer if it turns out otherwise."""
        options: dict[str, Any] = {"tied": self.tied, "dropout": self.dropout, "num_kv_heads": self.num_kv_heads}
        family = llama if self.architecture == "llama" else gpt
        return family(
            vocab_size=self.vocab_size if vocab_size is None else vocab_size,
            width=self.width,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            context_length=self.context_length,
            **options,
        )

    def optimizer(self, model: nn.Module) -> torch.optim.AdamW:
        """Return AdamW over ``model``, with decay on its matrices only."""
        return adamw(model, learning_rate=self.learning_rate, weight_decay=self.weight_decay, beta2=self.beta2)

    def rates(self, step: int) -> float:
        """Return the share of the highest learning rate at ``step``, 0 for the first."""
        if self.schedule == "cosine":
            return schedules.warmup_cosine(step, total=self.steps, warmup=self.warmup, floor=0.1)
        if self.schedule == "wsd":
            decay = min(self.steps - self.warmup, max(1, round(_DECAY_SHARE * self.steps)))
            return schedules.wsd(step, total=self.steps, warmup=self.warmup, decay=decay)
        return schedules.warmup(step, steps=self.warmup) if self.warmup else 1.0

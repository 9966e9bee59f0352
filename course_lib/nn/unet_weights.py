"""Weights of ``diffusers.UNet2DModel`` under the names of our U-Net, so that each can go on where the other stopped."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_NAMES = (  # theirs, ours; the first that fits a whole name
    (r"time_embedding\.linear_1\.(\w+)", r"time.hidden.\1"),
    (r"time_embedding\.linear_2\.(\w+)", r"time.out.\1"),
    (r"class_embedding\.weight", r"time.classes"),
    (r"conv_in\.(\w+)", r"first.\1"),
    (r"(down|up)_blocks\.(\d+)\.resnets\.(\d+)\.(.+)", r"\1.\2.\3.\4"),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(\w+)", r"shrink.\1.\2"),
    (r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(\w+)", r"grow.\1.\2"),
    (r"mid_block\.resnets\.(\d+)\.(.+)", r"middle.\1.\2"),
    (r"mid_block\.attentions\.0\.group_norm\.(\w+)", r"attention.norm.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0\.(\w+)", r"attention.out.\1"),
    (r"mid_block\.attentions\.0\.to_q\.(\w+)", r"attention.queries_keys_values.\1"),
    (r"conv_norm_out\.(\w+)", r"norm.\1"),
    (r"conv_out\.(\w+)", r"last.\1"),
)


def diffusers_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a ``UNet2DModel`` as one for `UNet`.

    It fits a model with plain down and up blocks and one head of attention in the middle or none
    (``attention_head_dim`` is the width there). What theirs is called with is our time times 1000, and our class plus
    1: their class 0 is our "no class". Their noise schedulers call step t of ours ``t - 1``, so ask a network that they
    trained about ``time - 1 / 1000``; their flow-matching schedulers tell the same time as ours.

    Args:
        state: ``UNet2DModel(...).state_dict()``.

    Returns:
        What ``UNet(...).load_state_dict`` takes.

    Raises:
        ValueError: For a name that has no counterpart, such as attention at other sizes.

    Example:
        >>> diffusers_weights({"down_blocks.0.resnets.1.time_emb_proj.bias": torch.zeros(8)}).keys()
        dict_keys(['down.0.1.time.bias'])
    """
    weights = {}
    for name, value in state.items():
        if re.search(r"\.to_[kv]\.", name):  # taken together with the queries
            continue
        if ".to_q." in name:
            value = torch.cat([state[name.replace(".to_q.", f".to_{part}.")] for part in "qkv"])
        weights[_our_name(name)] = value
    return weights


def _our_name(name: str) -> str:
    for theirs, ours in _NAMES:
        if match := re.fullmatch(theirs, name):
            return match.expand(ours).replace("time_emb_proj", "time").replace("conv_shortcut", "shortcut")
    raise ValueError(
        f"{name!r} has no counterpart in UNet: it has plain DownBlock2D and UpBlock2D, attention only in the middle."
    )

"""Weights of Hugging Face models under this library's names: GPT-2, Llama and its kin, BERT, BART."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Weights = dict[str, Tensor]

_GPT2 = (
    (r"wte", "embedding"),
    (r"wpe", "positions"),
    (r"h\.(\d+)\.ln_1", r"blocks.\1.attention_norm"),
    (r"h\.(\d+)\.attn\.c_attn", r"blocks.\1.attention.query_key_value"),
    (r"h\.(\d+)\.attn\.c_proj", r"blocks.\1.attention.output"),
    (r"h\.(\d+)\.ln_2", r"blocks.\1.feed_forward_norm"),
    (r"h\.(\d+)\.mlp\.c_fc", r"blocks.\1.feed_forward.up"),
    (r"h\.(\d+)\.mlp\.c_proj", r"blocks.\1.feed_forward.down"),
    (r"ln_f", "norm"),
)
_LLAMA = (
    (r"embed_tokens", "embedding"),
    (r"layers\.(\d+)\.input_layernorm", r"blocks.\1.attention_norm"),
    (r"layers\.(\d+)\.self_attn\.q_(proj|norm)", r"blocks.\1.attention.query_\2"),
    (r"layers\.(\d+)\.self_attn\.k_(proj|norm)", r"blocks.\1.attention.key_\2"),
    (r"layers\.(\d+)\.self_attn\.v_proj", r"blocks.\1.attention.value"),
    (r"layers\.(\d+)\.self_attn\.o_proj", r"blocks.\1.attention.output"),
    (r"layers\.(\d+)\.post_attention_layernorm", r"blocks.\1.feed_forward_norm"),
    (r"layers\.(\d+)\.mlp\.(up|gate|down)_proj", r"blocks.\1.feed_forward.\2"),
    (r"norm", "norm"),
    (r"lm_head", "head"),
)
_BERT = (
    (r"embeddings\.word_embeddings", "embedding"),
    (r"embeddings\.position_embeddings", "positions"),
    (r"embeddings\.token_type_embeddings", "segments"),
    (r"embeddings\.LayerNorm", "embedding_norm"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)", r"blocks.\1.attention.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"blocks.\1.attention.output"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"blocks.\1.attention_norm"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense", r"blocks.\1.feed_forward.up"),
    (r"encoder\.layer\.(\d+)\.output\.dense", r"blocks.\1.feed_forward.down"),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm", r"blocks.\1.feed_forward_norm"),
)
_BART = (
    (r"(encoder|decoder)\.embed_tokens", r"\1.embedding"),
    (r"(encoder|decoder)\.embed_positions", r"\1.positions"),
    (r"(encoder|decoder)\.layernorm_embedding", r"\1.embedding_norm"),
    (r"(encoder|decoder)\.layers\.(\d+)\.self_attn\.(q|k|v|out)_proj", r"\1.blocks.\2.attention.\3_proj"),
    (r"(encoder|decoder)\.layers\.(\d+)\.self_attn_layer_norm", r"\1.blocks.\2.attention_norm"),
    (r"decoder\.layers\.(\d+)\.encoder_attn\.(q|k|v|out)_proj", r"decoder.blocks.\1.cross_attention.\2_proj"),
    (r"decoder\.layers\.(\d+)\.encoder_attn_layer_norm", r"decoder.blocks.\1.cross_attention_norm"),
    (r"(encoder|decoder)\.layers\.(\d+)\.fc1", r"\1.blocks.\2.feed_forward.up"),
    (r"(encoder|decoder)\.layers\.(\d+)\.fc2", r"\1.blocks.\2.feed_forward.down"),
    (r"(encoder|decoder)\.layers\.(\d+)\.final_layer_norm", r"\1.blocks.\2.feed_forward_norm"),
)
_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "output"}


def gpt2_weights(weights: Mapping[str, Tensor], *, fused: bool = False) -> Weights:
    """Return the state dict of a `gpt` model from one of ``GPT2LMHeadModel`` or ``GPT2Model``.

    GPT-2 keeps its matrices transposed, and those of query, key and value in one.

    Args:
        weights: The other model's state dict.
        fused: Whether they stay in one, for a model with ``fused_projections``.

    Raises:
        ValueError: If a name is not one of GPT-2's.

    Example:
        >>> import torch
        >>> parts = gpt2_weights({"transformer.h.0.attn.c_attn.weight": torch.zeros(4, 12)})
        >>> {name: tuple(weight.shape) for name, weight in parts.items()}["blocks.0.attention.key.weight"]
        (4, 4)
    """
    renamed = _renamed(weights, _GPT2, prefix="transformer.", skip=r"lm_head|h\.\d+\.attn\.(bias|masked_bias)")
    found: Weights = {}
    for name, value in renamed.items():
        matrix = value.T if value.ndim == 2 and name.startswith("blocks") else value
        if "query_key_value" in name and not fused:
            for part, piece in zip(("query", "key", "value"), matrix.chunk(3), strict=True):
                found[name.replace("query_key_value", part)] = piece
        else:
            found[name] = matrix
    return found


def llama_weights(weights: Mapping[str, Tensor], *, tied: bool = False) -> Weights:
    """Return the state dict of a `llama` model from one of ``LlamaForCausalLM``, or of Mistral's or Qwen3's.

    Args:
        weights: The other model's state dict.
        tied: Whether its output layer is its embedding (Llama 3.2 1B and 3B), which is then left out.

    Raises:
        ValueError: If a name is not one of Llama's.
    """
    skip = r"lm_head|.*rotary_emb.*" if tied else r".*rotary_emb.*"
    renamed = _renamed(weights, _LLAMA, prefix="model.", skip=skip)
    return {re.sub(r"\.(query|key)_proj\.", r".\1.", name): value for name, value in renamed.items()}


def bert_weights(weights: Mapping[str, Tensor]) -> Weights:
    """Return the state dict of a `bert` model without output layer from one of ``BertModel`` or of a model with it.

    All tokens are taken to belong to the first segment, whose embedding is added to that of each position. What the
    model has beyond that (pooler, output layers of ``BertForPreTraining`` and the like) is left out.

    Raises:
        ValueError: If a name is not one of BERT's, or the embeddings of positions or segments are missing.
    """
    found = _renamed(weights, _BERT, prefix="bert.", skip=r"pooler\.dense|cls\..*|embeddings\.position_ids")
    for ours, theirs in (("positions", "position_embeddings"), ("segments", "token_type_embeddings")):
        if f"{ours}.weight" not in found:
            raise ValueError(f"'embeddings.{theirs}.weight' is missing: is this the whole state dict of a BERT?")
    segments = found.pop("segments.weight")
    return found | {"positions.weight": found["positions.weight"] + segments[0]}


def bart_weights(weights: Mapping[str, Tensor]) -> Weights:
    """Return the state dict of an `EncoderDecoder` from one of ``BartForConditionalGeneration``.

    BART shares one embedding between encoder and decoder, and leaves its first two positions unused. Both halves are
    `bert` configurations here (the decoder's with ``causal=True``), with ``norm_eps=1e-5``.

    Raises:
        ValueError: If a name is not one of BART's.
    """
    renamed = _renamed(weights, _BART, prefix="model.", skip=r"lm_head|shared|final_logits_bias")
    found: Weights = {}
    for name, value in renamed.items():
        ours = re.sub(r"\w+_proj", lambda match: _PROJECTIONS[match[0]], name)
        found[ours] = value[2:] if name.endswith("positions.weight") else value
    return found


def _renamed(weights: Mapping[str, Tensor], rules: tuple[tuple[str, str], ...], *, prefix: str, skip: str) -> Weights:
    found: Weights = {}
    for name, value in weights.items():
        module, _, kind = name.removeprefix(prefix).rpartition(".")
        if re.fullmatch(skip, module) or re.fullmatch(skip, name.removeprefix(prefix)):
            continue
        ours = [re.sub(pattern, new, module) for pattern, new in rules if re.fullmatch(pattern, module)]
        if not ours:
            raise ValueError(f"{name!r} is not a weight of this family of models: is this the state dict you meant?")
        found[f"{ours[0]}.{kind}"] = value
    return found

"""One transformer for all: GPT, Llama, BERT and the encoder-decoder by configuration, with cache and generation."""

from course_lib.nn.transformer.attention import Attention
from course_lib.nn.transformer.block import Block
from course_lib.nn.transformer.cache import KVCache
from course_lib.nn.transformer.config import TransformerConfig
from course_lib.nn.transformer.encoder_decoder import EncoderDecoder
from course_lib.nn.transformer.feed_forward import FeedForward
from course_lib.nn.transformer.functional import softmax_attention, tiled_attention
from course_lib.nn.transformer.generation import Generated, generate
from course_lib.nn.transformer.maps import attention_maps
from course_lib.nn.transformer.masks import attention_mask
from course_lib.nn.transformer.model import Transformer
from course_lib.nn.transformer.positions import rotary_frequencies, rotary_tables, rotate, sinusoidal_positions
from course_lib.nn.transformer.presets import bert, gpt, llama
from course_lib.nn.transformer.sampling import sampling_distribution
from course_lib.nn.transformer.vocabulary import grow_vocabulary

__all__ = [
    "Attention",
    "Block",
    "EncoderDecoder",
    "FeedForward",
    "Generated",
    "KVCache",
    "Transformer",
    "TransformerConfig",
    "attention_maps",
    "attention_mask",
    "bert",
    "generate",
    "gpt",
    "grow_vocabulary",
    "llama",
    "rotary_frequencies",
    "rotary_tables",
    "rotate",
    "sampling_distribution",
    "sinusoidal_positions",
    "softmax_attention",
    "tiled_attention",
]

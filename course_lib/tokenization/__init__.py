"""Text to ids and back: byte-level BPE, trained and run here, equal to Hugging Face's."""

from .measures import bits_per_byte, bytes_per_token, fertility
from .pretokens import split_pieces
from .stream import text_chunks
from .tokenizer import BPETokenizer
from .train import count_pieces, learn_merges, train_bpe

__all__ = [
    "BPETokenizer",
    "bits_per_byte",
    "bytes_per_token",
    "count_pieces",
    "fertility",
    "learn_merges",
    "split_pieces",
    "text_chunks",
    "train_bpe",
]

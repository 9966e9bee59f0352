"""What the tokenizer's tests share: texts of many kinds, and Hugging Face's trainer with the same settings."""

import inspect
import textwrap
from pydoc_data import topics

import pytest
from hypothesis import strategies as st

from course_lib.tokenization import train_bpe

SPECIAL = ["<|endoftext|>", "<|end|>", "<|end|>of"]

OWN = r"\s+|[\p{L}\p{N}]{1,4}"  # an expression of one's own, which leaves gaps: signs are in no match

# Signs that pre-tokenisation treats in a way of their own, next to whatever Hypothesis finds. Characters that Unicode
# has not assigned are left out: libraries follow different versions of it.
FRAGMENTS = [
    *["'s", "'S", "'ſ", "'re", "'ll", "'LL", "'l", "'", " ", "  ", "\n", "\r\n", "\r", "\t", "\v", "\x1c", "\x85"],
    *["\xa0", "\u2028", "\u3000", "\u200d", "\ufeff", "a", "ab", "Z", "é", "e\u0301", "ß", "ﬅ", "1", "23", "4567"],
    *["٣", "½", "Ⅷ", "!", "...", "==", "-", "_", "👩‍🚀", "🇩🇪", "漢字", "かな", "한글", "العربية", "हिन्दी", "\x00"],
    *SPECIAL,
]
CHARACTERS = st.characters(exclude_categories=["Cs", "Cn"])
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | CHARACTERS, max_size=24).map("".join)

CORPORA = {
    "prose": [text for _, text in sorted(topics.topics.items())][:12],
    "code": [inspect.getsource(textwrap)],
    "scripts": [
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. " * 3,
        "人人生而自由，在尊严和权利上一律平等。人人有理性和良心。すべての人間は、生まれながらにして自由である。" * 3,
        "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. " * 3
        + "सभी मनुष्यों को गौरव और अधिकारों के मामले में स्वतन्त्रता है। " * 3,
        "e\u0301e\u0301 cafe\u0301 naïve n\u0303o\u0302 👩‍🚀👩‍🚀🇩🇪🇫🇷 👍🏽👍🏽 " * 4,
    ],
    "digits": [" ".join(str(number**3) for number in range(300)), "3.14159 2024-01-31 1,000,000 ١٢٣٤٥ ½⅓Ⅷ " * 5],
    "blanks": ["if x:\n    y\n\n\n        z  \t\t\n \n\r\n\r\n   \u3000\u3000 \xa0\xa0 end   " * 6, "   ", "\n\n\n\n"],
    "ties": ["ab cd ef gh ba dc fe hg", "aaaa aaa aa a", "abababab abab", "zy yx xw wv"],
}


@pytest.fixture(scope="session")
def corpora():
    """Texts by kind."""
    return CORPORA


@pytest.fixture(scope="session")
def hf_train():
    """A function that trains Hugging Face's byte-level BPE and returns it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    def train(texts, *, vocab_size, special_tokens=(), min_frequency=1, expression=None, use_regex=True):
        tokenizer = Tokenizer(models.BPE())
        steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex and expression is None)]
        if expression is not None:
            steps.insert(0, pre_tokenizers.Split(Regex(expression), behavior="isolated"))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(special_tokens),
            min_frequency=min_frequency,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer

    return train


@pytest.fixture(scope="session")
def hf_merges():
    """A function that returns the merges of a Hugging Face tokenizer as pairs of ids."""
    import json

    def merges(tokenizer):
        model = json.loads(tokenizer.to_str())["model"]
        return tuple((model["vocab"][first], model["vocab"][second]) for first, second in model["merges"])

    return merges


@pytest.fixture(scope="session")
def tokenizers_by_pattern():
    """Tokenizers trained on all corpora, with special tokens of which one begins with another."""
    texts = [text for corpus in CORPORA.values() for text in corpus]
    return {
        pattern: train_bpe(texts, vocab_size=700, special_tokens=SPECIAL, pattern=pattern)
        for pattern in ("gpt2", "gpt4", None, OWN)
    }


@pytest.fixture(scope="session")
def tokenizer(tokenizers_by_pattern):
    """The one with GPT-2's pattern."""
    return tokenizers_by_pattern["gpt2"]


@pytest.fixture(scope="session")
def texts():
    """A Hypothesis strategy of nasty texts, special tokens' names among them."""
    return TEXTS

"""Notebook 16 over eight seeds, which draw the documents: unknown words, work, compression, cost, bits per byte."""

import functools
import math
import re
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from course_lib.data import Batches, python_text
from course_lib.loops import Run, classification, evaluate, train
from course_lib.notebook.results import Claim, record
from course_lib.tokenization import BPETokenizer, bits_per_byte, train_bpe

SIZES = (512, 1024, 2048, 4096, 8192)
LEAST = (1, 100)  # how often a pair must occur before WordPiece may join it
CONTEXT, WIDTH, HIDDEN, PASSES, BATCH = 8, 32, 128, 2, 512
BYTES = sorted(range(256), key=lambda b: (not chr(b).isprintable() or b == 32, b))  # GPT-2's order: id -> byte
ID = {b: i for i, b in enumerate(BYTES)}
SENTENCES = {
    "English": "The sun is shining today. We are going to the market. The children are learning to read.",
    "German": "Heute scheint die Sonne. Wir gehen zum Markt. Die Kinder lernen lesen.",
    "French": "Le soleil brille aujourd'hui. Nous allons au marché. Les enfants apprennent à lire.",
    "Turkish": "Bugün güneş parlıyor. Pazara gidiyoruz. Çocuklar okumayı öğreniyor.",
    "Chinese": "今天阳光灿烂。我们去市场。孩子们在学习阅读。",
    "Russian": "Сегодня светит солнце. Мы идём на рынок. Дети учатся читать.",
    "Arabic": "الشمس مشرقة اليوم. نحن ذاهبون إلى السوق. يتعلم الأطفال القراءة.",
    "Greek": "Σήμερα λάμπει ο ήλιος. Πηγαίνουμε στην αγορά. Τα παιδιά μαθαίνουν να διαβάζουν.",
    "Hindi": "आज धूप निकली है। हम बाज़ार जा रहे हैं। बच्चे पढ़ना सीख रहे हैं।",
}

CLAIMS = (
    Claim("unknown-share", "share of held-out words that a vocabulary of all training words lacks", limits=(0, 1)),
    Claim("work-ratio", "tokens looked at in 744 merges, recounting over incremental", above=1.0),
    Claim("fertility", "tokens a word on held-out prose, 4,096 tokens", above=1.0),
    Claim("ratio-1024", "bytes a token on held-out prose, 1,024 tokens", above=1.0),
    Claim("ratio-8192", "bytes a token on held-out prose, 8,192 tokens", above=1.0),
    Claim("gain-drop", "bytes a token gained by 512 -> 1,024 minus those by 4,096 -> 8,192", above=0.0),
    Claim("rare-share", "share of 8,192 tokens seen fewer than ten times in the training text", limits=(0, 1)),
    Claim("wordpiece-ratio", "tokens of held-out prose, WordPiece by its bare score over BPE, 1,024 each", above=1.0),
    Claim("wordpiece-100-ratio", "the same where WordPiece's pairs must occur 100 times"),
    Claim("unigram-ratio", "tokens of held-out prose, Unigram over BPE, 2,048 each", above=1.0),
    Claim("hindi-cost", "tokens for three sentences, Hindi over English", above=1.0),
    Claim("tidy-cost", "tokens of code, tokenizer of tidied prose over tokenizer of code, 4,096 tokens", above=1.0),
    Claim("loss-ratio", "nats a token, network on 1,024 tokens over bigram on bytes", above=1.0),
    Claim("bits-gap", "bits a byte, bigram on bytes minus network on 1,024 tokens", above=0.0),
    Claim("network-bits-gap", "bits a byte, network on bytes minus network on 1,024 tokens"),
    Claim("space-bits", "bits by which a space at the prompt's end makes the word after it dearer", above=0.0),
)


@functools.cache
def documents(kind: str) -> list[str]:
    """All documents of one kind, each cut to 20,000 characters, so that no single one rules a sample."""
    return [text[:20_000] for text in python_text(kind)["text"]]


def draw(kind: str, seed: int) -> tuple[list[str], list[str]]:
    """Whole documents in an order and a number that the seed draws: to learn from, and before them 80 kB held out."""
    rng, parts, size = np.random.default_rng(seed), {"held": [], "learn": []}, 0
    limit = rng.integers(300_000, 480_000)
    for i in rng.permutation(len(documents(kind))):
        parts["held" if size < 80_000 else "learn"].append(documents(kind)[i])
        size += len(documents(kind)[i])
        if size > limit:
            break
    return parts["learn"], parts["held"]


def words(text: str) -> list[str]:
    """Words and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", text)


def num_tokens(tokenizer, texts) -> int:
    """How many tokens a tokenizer cuts texts into."""
    return sum(map(len, tokenizer.encode_many(texts)))


def num_bytes(texts) -> int:
    """Size in UTF-8."""
    return sum(len(text.encode()) for text in texts)


def merged(ids, pair, new):
    """Join every occurrence of a pair, from left to right."""
    out, i = [], 0
    while i < len(ids):
        both = tuple(ids[i : i + 2]) == pair
        out.append(new if both else ids[i])
        i += 1 + both
    return out


def learn(counts, num_merges, score):
    """Merges by a score of (count of pair, count of left, count of right); and the tokens looked at, in two ways."""
    pieces, often = [[ID[b] for b in piece] for piece in counts], list(counts.values())
    pairs, single, where, merges = Counter(), Counter(), defaultdict(set), []
    recounting, incremental = 0, sum(map(len, pieces))

    def put(i, sign):
        for token in pieces[i]:
            single[token] += sign * often[i]
        for pair in pairwise(pieces[i]):
            pairs[pair] += sign * often[i]
            where[pair].add(i)
            if pairs[pair] == 0:
                del pairs[pair]

    for i in range(len(pieces)):
        put(i, +1)
    for new in range(256, 256 + num_merges):
        best = max(pairs, key=lambda p: (score(pairs[p], single[p[0]], single[p[1]]), -p[0], -p[1]))
        merges.append(best)
        recounting += sum(map(len, pieces))
        for i in where.pop(best):
            incremental += len(pieces[i])
            put(i, -1)
            pieces[i] = merged(pieces[i], best, new)
            put(i, +1)
    return merges, recounting, incremental


def longest_first(piece, vocabulary) -> int:
    """How many tokens WordPiece's way of encoding needs."""
    start, count = 0, 0
    while start < len(piece):
        end = next(end for end in range(len(piece), start, -1) if piece[start:end] in vocabulary)
        start, count = end, count + 1
    return count


def unigram(texts, vocab_size):
    """A Unigram tokenizer on bytes, by the library ``tokenizers``."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.UnigramTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def wordpiece(learnt, held, bpe) -> dict[int, float]:
    """WordPiece's tokens over BPE's, for each least count of a pair; both have vocabularies of 1,024."""
    counts, found = Counter(p.encode() for text in learnt for p in bpe.pieces(text)), {}
    held_counts = Counter(p.encode() for text in held for p in bpe.pieces(text))
    for least in LEAST:
        merges, *_ = learn(counts, 768, lambda ab, a, b, least=least: (ab / (a * b) if ab >= least else 0, ab))
        tokens = [bytes([b]) for b in BYTES]
        for left, right in merges:
            tokens.append(tokens[left] + tokens[right])
        vocabulary = set(tokens)
        found[least] = sum(n * longest_first(p, vocabulary) for p, n in held_counts.items()) / num_tokens(bpe, held)
    return found


class Network(nn.Module):
    """Predict the next token from the eight before it."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.hidden = nn.Linear(CONTEXT * WIDTH, HIDDEN)
        self.out = nn.Linear(HIDDEN, vocab_size)

    def forward(self, context):
        """Scores of the next token."""
        return self.out(torch.relu(self.hidden(self.embedding(context).flatten(1))))


def windows(texts, encode):
    """All contexts of eight tokens and what follows each; before a document's start the context is token 0."""
    rows = [torch.tensor([0] * CONTEXT + encode(text)).unfold(0, CONTEXT + 1, 1) for text in texts]
    rows = torch.cat(rows)
    return rows[:, :-1].contiguous(), rows[:, -1].contiguous()


def network(seed, vocab_size, learnt, held, encode):
    """Train on all windows twice; return the model, nats a token and bits a byte on held-out text."""
    torch.manual_seed(seed)
    model, batches = Network(vocab_size), Batches(windows(learnt, encode), batch_size=BATCH, seed=seed)
    run = Run(model, classification, torch.optim.Adam(model.parameters(), lr=4e-3))
    for _ in train(run, batches, steps=PASSES * len(batches)):
        pass
    x, y = windows(held, encode)
    nats = evaluate(model, classification, [(x, y)])["loss"]
    return model, nats, bits_per_byte(nats, num_tokens=len(y), num_bytes=num_bytes(held))


def byte_bigram(learnt, held) -> tuple[float, float]:
    """Nats a token and bits a byte of the simplest model of bytes: counts of pairs, one added to each."""
    counts = np.ones((256, 256))
    for text in learnt:
        data = np.frombuffer(b"\0" + text.encode(), np.uint8)
        np.add.at(counts, (data[:-1], data[1:]), 1)
    log_p = np.log(counts / counts.sum(1, keepdims=True))
    total = 0.0
    for text in held:
        data = np.frombuffer(b"\0" + text.encode(), np.uint8)
        total -= log_p[data[:-1], data[1:]].sum()
    size = num_bytes(held)
    return total / size, bits_per_byte(total / size, num_tokens=size, num_bytes=size)


def space_bits(model, tokenizer, held) -> float:
    """Mean cost in bits of moving a space into the prompt, for held-out tokens that are a space and letters.

    That a space comes is known in both cases: either as the prompt's last token, or because only tokens that begin
    with a space are allowed after the prompt.
    """
    x, y = windows(held, tokenizer.encode)
    spelt = [tokenizer.token_bytes(t) for t in range(tokenizer.vocab_size)]
    with_space = torch.tensor([t for t, letters in enumerate(spelt) if letters.startswith(b" ")])
    starts = torch.tensor([t for t, letters in enumerate(spelt) if re.fullmatch(rb" [A-Za-z]+", letters)])
    rows = torch.isin(y, starts).nonzero()[:, 0][:2000]
    [space] = tokenizer.encode(" ")
    with torch.no_grad():
        log_p = torch.log_softmax(model(x[rows]), -1)
        whole = log_p[torch.arange(len(rows)), y[rows]] - log_p[:, with_space].logsumexp(-1)
        apart = torch.zeros(len(rows))
        for k, row in enumerate(rows):
            context = [*x[row].tolist()[1:], space]
            for token in tokenizer.encode(spelt[int(y[row])].decode()[1:]):
                apart[k] += torch.log_softmax(model(torch.tensor([context])), -1)[0, token]
                context = [*context[1:], token]
    return float((whole - apart).mean() / math.log(2))


def shapes(tokenizer) -> list[tuple[int, ...]]:
    """How each number from 1,000 to 9,999 is cut, in digits a token, with a space before it as in text."""
    numbers = tokenizer.encode_many(f" {n}" for n in range(1000, 10_000))
    return [tuple(len(tokenizer.token_bytes(t).strip()) for t in ids) for ids in numbers]


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    (prose, held), (code, held_code) = draw("docstrings", seed), draw("code", seed)
    known, met = {word for text in prose for word in words(text)}, [w for text in held for w in words(text)]
    merges = train_bpe(prose, vocab_size=max(SIZES)).merges
    tokenizers = {size: BPETokenizer(merges[: size - 256]) for size in SIZES}
    ratios = {size: num_bytes(held) / num_tokens(one, held) for size, one in tokenizers.items()}
    small, middle, large = tokenizers[1024], tokenizers[4096], tokenizers[8192]
    counts = Counter(p.encode() for text in prose for p in small.pieces(text))
    _, recounting, incremental = learn(counts, 744, lambda ab, a, b: ab)
    seen = np.bincount([t for ids in large.encode_many(prose) for t in ids], minlength=8192)
    pieces = wordpiece(prose, held, small)
    two_thousand = unigram(prose, 2048)
    costs = {name: len(middle.encode(text)) for name, text in SENTENCES.items()}
    cut = shapes(middle)
    tidy = train_bpe([" ".join(text.split()) for text in prose], vocab_size=4096)
    own = train_bpe(code, vocab_size=4096)
    both = train_bpe(prose + code, vocab_size=1024, special_tokens=["<|endoftext|>"])
    short = prose[: max(1, len(prose) // 2)]
    model, nats, bits = network(seed, 1024, short, held, both.encode)
    _, byte_nats, byte_bits = network(seed, 256, short, held, lambda text: list(text.encode()))
    bigram_nats, bigram_bits = byte_bigram(short, held)
    return {
        "unknown-share": np.mean([word not in known for word in met]),
        "work-ratio": recounting / incremental,
        "fertility": num_tokens(middle, held) / len(met),
        "ratio-1024": ratios[1024],
        "ratio-8192": ratios[8192],
        "gain-drop": ratios[1024] - ratios[512] - (ratios[8192] - ratios[4096]),
        "rare-share": (seen < 10).mean(),
        "wordpiece-ratio": pieces[1],
        "wordpiece-100-ratio": pieces[100],
        "unigram-ratio": sum(len(two_thousand.encode(text).ids) for text in held) / num_tokens(tokenizers[2048], held),
        "hindi-cost": costs["Hindi"] / costs["English"],
        "tidy-cost": num_tokens(tidy, held_code) / num_tokens(own, held_code),
        "loss-ratio": nats / bigram_nats,
        "bits-gap": bigram_bits - bits,
        "network-bits-gap": byte_bits - bits,
        "space-bits": space_bits(model, both, held),
        "series": {
            "ratios": list(ratios.values()),
            "wordpiece": list(pieces.values()),
            "moved": np.mean([a != b for a, b in pairwise(cut)]),
            "costs": [costs[name] / costs["English"] for name in SENTENCES],
            "nats": [bigram_nats, byte_nats, nats],
            "bits": [bigram_bits, byte_bits, bits],
        },
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)

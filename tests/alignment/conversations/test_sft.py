"""Loss masking: nothing of prompt or padding is ever learnt from, token by token; a loss added up by hand."""

import warnings

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.alignment import ChatExample, ChatTemplate, chat_batch, pack_chats
from course_lib.data import Batches
from course_lib.loops import Run, evaluate, fit, next_token
from course_lib.nn.transformer import Transformer, gpt
from course_lib.tokenization import BPETokenizer

TEMPLATE = ChatTemplate()
TOKENIZER = BPETokenizer([]).with_special(TEMPLATE.marks)
END = TOKENIZER.special["<|end|>"]


def talk(question, *answers):
    messages = [{"role": "user", "content": question}]
    for answer in answers:
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "more"}]
    return TEMPLATE.encode(TOKENIZER, messages[: 2 * len(answers)] or messages)


@pytest.fixture
def examples():
    """Unequal lengths, an empty answer, two answers, and a question that nobody answers."""
    return [talk("ab", "xyz"), talk("abcdefgh", ""), talk("a", "x", "yy"), talk("abcd")]


@pytest.fixture
def model():
    config = gpt(vocab_size=TOKENIZER.vocab_size, width=16, num_layers=2, num_heads=2, context_length=64)
    return Transformer(config, generator=torch.Generator().manual_seed(0)).double()


def test_a_case_by_hand():
    tokens, targets = chat_batch([talk("ab", "x"), talk("a", "")], pad=7)
    u, a, e = (TOKENIZER.special[mark] for mark in TEMPLATE.marks[1:])
    A, B, X = (TOKENIZER.encode(letter)[0] for letter in "abx")
    assert tokens.tolist() == [[u, A, B, e, a, X], [u, A, e, a, 7, 7]]
    assert targets.tolist() == [[-100, -100, -100, -100, X, e], [-100, -100, -100, e, -100, -100]]
    assert tokens.dtype == targets.dtype == torch.int64


@pytest.mark.parametrize("length", [None, 40])
def test_every_target_is_an_answers_token_and_every_answers_token_is_a_target(examples, length):
    tokens, targets = chat_batch(examples, length=length)
    for example, row, target in zip(examples, tokens.tolist(), targets.tolist(), strict=True):
        learnt = []
        for place in range(len(row)):
            if target[place] != -100:
                assert target[place] == example.tokens[place + 1]
                assert example.trained[place + 1]
                assert row[: place + 1] == example.tokens[: place + 1]  # what the model sees when it guesses
                learnt.append(target[place])
        assert learnt == [token for token, wanted in zip(example.tokens, example.trained, strict=True) if wanted]
    assert [sum(t != -100 for t in row) for row in targets.tolist()] == [4, 1, 5, 0]


def test_the_loss_is_the_sum_over_answers_one_conversation_at_a_time(examples, model):
    """Read aloud: for each token of an answer and its end mark, minus its log-probability given all before it."""
    total = torch.zeros((), dtype=torch.float64)
    count = 0
    for example in examples:
        for place in range(1, len(example.tokens)):
            if example.trained[place]:
                logits = model(torch.tensor([example.tokens[:place]]))[0, -1]
                total = total - logits.log_softmax(-1)[example.tokens[place]]
                count += 1
    loss = next_token(model, chat_batch(examples))
    assert loss.count == count == 10
    assert_close(loss.total, total, rtol=1e-12, atol=0)
    wide = next_token(model, chat_batch(examples, length=60, pad=3))  # neither padding nor its id matters
    assert_close(wide.total, total, rtol=1e-12, atol=0)


def test_no_gradient_comes_from_prompt_or_padding_as_targets(examples, model):
    tokens, targets = chat_batch(examples, length=30)
    logits = model(tokens).detach().requires_grad_()
    next_token(lambda _: logits, (tokens, targets)).total.backward()
    masked = targets == -100
    assert not logits.grad[masked].any()
    assert logits.grad[~masked].abs().sum(-1).gt(0).all()
    expected = logits.detach().softmax(-1) - nn.functional.one_hot(targets.clamp(min=0), logits.shape[-1])
    assert_close(logits.grad[~masked], expected[~masked], rtol=1e-12, atol=1e-15)


def test_other_questions_change_no_target(examples):
    """Words of the user may be anything: what is learnt stays the same tokens."""
    other = [talk("zz", "xyz"), talk("q", ""), talk("much longer", "x", "yy"), talk("?")]
    for ours, theirs in zip(chat_batch(examples)[1], chat_batch(other)[1], strict=True):
        assert ours[ours != -100].tolist() == theirs[theirs != -100].tolist()


def test_a_conversation_without_an_answer_counts_nothing(examples, model):
    with_it, without = (next_token(model, chat_batch(each)) for each in (examples, examples[:3]))
    assert_close(with_it.total, without.total, rtol=1e-12, atol=0)
    assert with_it.count == without.count
    alone = next_token(model, chat_batch(examples[3:]))
    assert (alone.total.item(), alone.count) == (0.0, 0)
    run = Run(model, next_token, torch.optim.SGD(model.parameters(), lr=0.1))
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match="every label is masked"):
        run.step(chat_batch(examples[3:]))
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    run.step(chat_batch(examples))  # beside others it does no harm
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_ragged_micro_batches_give_the_same_update(examples):
    weights = []
    for cuts in ([examples], [examples[:1], examples[1:]]):
        config = gpt(vocab_size=TOKENIZER.vocab_size, width=16, num_layers=1, num_heads=2, context_length=64)
        model = Transformer(config, generator=torch.Generator().manual_seed(0)).double()
        run = Run(model, next_token, torch.optim.SGD(model.parameters(), lr=0.1))
        run.step(*(chat_batch(part) for part in cuts))
        weights.append([parameter.detach() for parameter in model.parameters()])
    assert_close(weights[0], weights[1], rtol=1e-10, atol=1e-14)


def test_it_learns_to_answer_and_to_stop_and_nothing_of_the_question(model):
    """Fine-tuned on one answer it gives it back; the question's own tokens it never learns to write."""
    demos = [talk(letter * 3, letter.upper()) for letter in "abcd"]
    batch = chat_batch(demos)
    run = Run(model, next_token, torch.optim.AdamW(model.parameters(), lr=1e-2))
    history = fit(run, Batches(batch, batch_size=4, seed=0), steps=60, progress=False)
    assert history.losses[0] > 5
    assert evaluate(model, next_token, [batch])["loss"] < 0.05
    asked = model(torch.tensor([demos[0].tokens])).detach().log_softmax(-1)[0]
    question = [asked[place, demos[0].tokens[place + 1]].item() for place in range(3)]
    assert max(question) < -3  # never learnt: "a" after "<|user|>" and after "a" is still improbable


def test_packed_rows_hold_every_conversation_once_and_whole(examples):
    many = examples * 5
    rows = pack_chats(many, length=30, seed=0)
    assert len(rows) < len(many)
    assert all(len(row.tokens) <= 31 for row in rows)
    pieces = []
    for row in rows:
        rest = list(zip(row.tokens, row.trained, strict=True))
        while rest:
            whole = [
                each
                for each in examples
                if rest[: len(each.tokens)] == list(zip(each.tokens, each.trained, strict=True))
            ]
            pieces.append(max(whole, key=lambda each: len(each.tokens)))  # an error if there is none
            rest = rest[len(pieces[-1].tokens) :]
    assert sorted(piece.tokens for piece in pieces) == sorted(example.tokens for example in many)
    _, targets = chat_batch(rows, length=30)
    assert int((targets != -100).sum()) == 5 * 10
    assert chat_batch(pack_chats(examples, length=30, seed=0)[:1])[0].shape[1] <= 30
    again, other = pack_chats(many, length=30, seed=0), pack_chats(many, length=30, seed=1)
    assert [row.tokens for row in again] == [row.tokens for row in rows] != [row.tokens for row in other]
    assert [example.tokens for example in examples] == [each.tokens for each in many[:4]]  # the input is as it was


def test_what_does_not_fit_is_refused_or_told():
    long, short = talk("a", "x" * 20), talk("a", "x")
    with pytest.raises(ValueError, match=r"1 of 2 conversations .* 10 columns .*example 1.*give length=24"):
        chat_batch([short, long], length=10)
    with pytest.warns(UserWarning, match="1 of 2 conversations do not fit .* were cut, with 14 trained tokens"):
        tokens, targets = chat_batch([short, long], length=10, truncate=True)
    assert tokens[1].tolist() == long.tokens[:10]
    assert targets[1].tolist() == [-100, -100, -100, *TOKENIZER.encode("x" * 7)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chat_batch([short, long], length=24, truncate=True)  # all fits: nothing to tell
    with pytest.raises(ValueError, match="1 of 2 conversations do not fit into 10 columns"):
        pack_chats([short, long], length=10, seed=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chat_batch([]), "there must be at least one example, got none"),
        (lambda: pack_chats([], length=5, seed=0), "at least one example, got none"),
        (lambda: chat_batch([ChatExample([1], [True])]), "example 0 has 1 tokens: with fewer than 2"),
        (lambda: chat_batch([talk("a", "b")], length=0), "length must be at least 1 column, got 0"),
        (lambda: pack_chats([talk("a", "b")], length=0, seed=0), "length must be at least 1 column, got 0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

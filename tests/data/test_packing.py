"""pack: no token lost or repeated, order kept, for any documents and any window."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import Batches, pack

END = 0
documents_of = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), min_size=1, max_size=8)


def slow_windows(documents, context_length, mix):
    """Read aloud: targets one by one, each with the token before it, into windows that are filled up."""
    streams = [[(token, index) for index, document in enumerate(documents) for token in (*document, END)]]
    if not mix:
        streams = [[(token, index) for token in (*document, END)] for index, document in enumerate(documents)]
    rows = []
    for stream in streams:
        before = END
        while stream:
            now, stream = stream[:context_length], stream[context_length:]
            pairs = []
            for token, _ in now:
                pairs.append((before, token))
                before = token
            rows.append(pairs + [(END, -100)] * (context_length - len(pairs)))
    return rows


@given(documents=documents_of, context_length=st.integers(1, 7), mix=st.booleans())
def test_it_is_the_stream_read_aloud(documents, context_length, mix):
    x, y = pack(documents, context_length=context_length, separator=END, mix=mix)
    assert (x.dtype, y.dtype) == (torch.int64, torch.int64)
    assert torch.stack([x, y], dim=-1).tolist() == [
        [list(pair) for pair in row] for row in slow_windows(documents, context_length, mix)
    ]


@given(documents=documents_of, context_length=st.integers(1, 7), mix=st.booleans())
def test_every_token_is_a_target_once_and_in_order(documents, context_length, mix):
    x, y = pack(documents, context_length=context_length, separator=END, mix=mix)
    stream = [token for document in documents for token in (*document, END)]
    learnt = y != -100
    assert y[learnt].tolist() == stream
    assert x[learnt].tolist() == [END, *stream[:-1]]
    assert (x[~learnt] == END).all()


@given(documents=documents_of, context_length=st.integers(1, 7))
def test_apart_no_window_holds_two_documents(documents, context_length):
    numbered = [[100 * index + token for token in document] for index, document in enumerate(documents, start=1)]
    x, _ = pack(numbered, context_length=context_length, separator=END, mix=False)
    for row in x:
        assert len({int(token) // 100 for token in row if token != END}) <= 1
    assert len(x) == sum(-(-(len(document) + 1) // context_length) for document in documents)


def test_only_the_last_window_is_padded_when_mixed():
    _, y = pack([[1, 2, 3], [4, 5]], context_length=4, separator=END)
    assert y.tolist() == [[1, 2, 3, 0], [4, 5, 0, -100]]


@pytest.mark.parametrize("make", [tuple, np.array, torch.tensor, lambda ids: np.array(ids, dtype=np.uint16)])
def test_any_kind_of_sequence_will_do(make):
    expected = pack([[65_000, 2], [3]], context_length=2, separator=END)
    found = pack((make(ids) for ids in ([65_000, 2], [3])), context_length=2, separator=END)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_its_windows_are_batches():
    batches = Batches(pack([list(range(1, 30))], context_length=4, separator=END), batch_size=3, seed=0, epochs=1)
    seen = torch.cat([y.flatten() for _, y in batches])
    assert sorted(seen[seen != -100].tolist()) == [0, *range(1, 30)]


@pytest.mark.parametrize(
    ("documents", "options", "message"),
    [
        ([], {}, "needs at least one document"),
        ([[1], []], {}, "document 1 is empty"),
        ([[1], [0.5]], {}, r"document 1 must be a sequence of token ids, whole numbers; got float64 of shape \(1,\)"),
        (["text"], {}, "Encode text first"),
        ([5], {}, r"got int64 of shape \(\)"),
        ([[True]], {}, "got bool"),
        ([[3, -1]], {}, "document 0 holds -1"),
        ([[1]], {"context_length": 0}, "context_length must be at least 1 token, got 0"),
        ([[1]], {"separator": -1}, "separator must be a token id of 0 or more, got -1"),
    ],
)
def test_bad_input_is_named(documents, options, message):
    with pytest.raises(ValueError, match=message):
        pack(documents, **({"context_length": 4, "separator": END} | options))

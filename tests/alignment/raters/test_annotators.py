"""Agreement and voting: against scikit-learn, against the definitions read aloud, and on cases known by thought."""

import math
from collections import Counter
from itertools import combinations

import pytest
import torch

from course_lib.alignment import cohen_kappa, fleiss_kappa, majority_vote


def labels_of(*shape, classes=3, seed=0):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def correlated(num, classes=3, seed=0):
    first, toss = labels_of(num, classes=classes, seed=seed), labels_of(num, classes=classes, seed=seed + 1)
    return first, torch.where(labels_of(num, classes=2, seed=seed + 2) == 1, first, toss)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_cohen_is_scikit_learns(classes):
    from sklearn.metrics import cohen_kappa_score

    first, second = correlated(200, classes)
    assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


def test_cohen_known_by_thought():
    a = torch.tensor([0, 0, 1, 1])
    assert cohen_kappa(a, a) == 1.0
    assert cohen_kappa(a, 1 - a) == -1.0
    assert cohen_kappa(a, torch.tensor([0, 1, 0, 1])) == 0.0  # agree on half, as coins do
    assert math.isnan(cohen_kappa(torch.zeros(4).long(), torch.zeros(4).long()))


def test_cohen_leaves_out_what_one_was_not_asked():
    first, second = correlated(100)
    with_gaps = torch.cat([first, torch.tensor([-1, 2, -1])])
    assert cohen_kappa(with_gaps, torch.cat([second, torch.tensor([0, -1, -1])])) == cohen_kappa(first, second)


def test_names_of_classes_and_order_of_items_do_not_matter():
    first, second = correlated(100)
    names, order = torch.tensor([4, 0, 2]), torch.randperm(100, generator=torch.Generator().manual_seed(9))
    for kappa in (cohen_kappa, lambda a, b: fleiss_kappa(torch.stack([a, b], 1))):
        assert kappa(names[first][order], names[second][order]) == pytest.approx(kappa(first, second), abs=1e-12)


def slow_fleiss(rows):
    """Two raters drawn from an item, against two labels drawn from all."""
    agree = [sum(a == b for a, b in combinations(row, 2)) / math.comb(len(row), 2) for row in rows]
    everything = Counter(label for row in rows for label in row)
    expected = sum((count / everything.total()) ** 2 for count in everything.values())
    return (sum(agree) / len(agree) - expected) / (1 - expected)


def test_fleiss_is_its_definition():
    labels = labels_of(40, 5)
    labels[:20] = labels[:20, :1]  # half of the items agreed on
    assert fleiss_kappa(labels) == pytest.approx(slow_fleiss(labels.tolist()), abs=1e-12)
    shuffled = torch.stack([row[torch.randperm(5)] for row in labels])
    assert fleiss_kappa(shuffled) == pytest.approx(fleiss_kappa(labels), abs=1e-12)  # who said it does not matter


def test_fleiss_on_the_papers_table():
    # Fleiss 1971, table 1 as it is commonly retold: 10 subjects, 14 raters, 5 categories; kappa 0.210
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    rows = [[k for k, count in enumerate(counts) for _ in range(count)] for counts in table]
    assert fleiss_kappa(torch.tensor(rows)) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_takes_any_annotators_but_as_many_an_item():
    labels = torch.tensor([[0, 0, -1], [-1, 1, 1], [0, -1, 1]])
    assert fleiss_kappa(labels) == pytest.approx(slow_fleiss([[0, 0], [1, 1], [0, 1]]), abs=1e-12)
    assert math.isnan(fleiss_kappa(torch.zeros(3, 2).long()))


def test_the_majority_is_the_commonest_label():
    labels = labels_of(50, 7)
    labels[labels_of(50, 7, classes=4, seed=5) == 0] = -1
    for row, vote in zip(labels.tolist(), majority_vote(labels).tolist(), strict=True):
        (label, most), *others = Counter(x for x in row if x >= 0).most_common()
        assert vote == (-1 if others and others[0][1] == most else label)


def test_ties_are_drawn_evenly_if_a_generator_is_given():
    tied = torch.tensor([[0, 2, -1]]).expand(4000, 3)
    assert majority_vote(tied).unique().tolist() == [-1]
    votes = majority_vote(tied, generator=torch.Generator().manual_seed(0))
    assert votes.unique().tolist() == [0, 2]
    assert (votes == 2).double().mean().item() == pytest.approx(0.5, abs=0.03)  # deviation 0.008
    clear = torch.tensor([[1, 1, 0]])
    assert majority_vote(clear, generator=torch.Generator().manual_seed(0)).tolist() == [1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cohen_kappa(torch.zeros(3).long(), torch.zeros(4).long()), r"the same items, got \(3,\), \(4,\)"),
        (lambda: cohen_kappa(torch.tensor([0, -1]), torch.tensor([-1, 0])), "no item has a label of both"),
        (lambda: fleiss_kappa(torch.zeros(3, 2)), "int64.*torch.float32"),
        (lambda: fleiss_kappa(torch.tensor([[0, 1], [0, -1]])), "at least 2, got 1 to 2"),
        (lambda: fleiss_kappa(torch.tensor([[0], [1]])), "at least 2, got 1 to 1"),
        (lambda: majority_vote(torch.tensor([0, 1])), r"got \(2,\)"),
        (lambda: majority_vote(torch.tensor([[0, 1], [-1, -1]])), r"items \[1\] have no label"),
        (lambda: majority_vote(torch.tensor([[-2, 1]])), "got -2"),
        (lambda: majority_vote(torch.tensor([[-1, -1]])), "not a single label"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

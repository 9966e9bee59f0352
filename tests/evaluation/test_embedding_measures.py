"""k-NN, alignment, uniformity, zero-shot and recall: slow loops, scikit-learn, values by thought, refusals."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.evaluation import alignment, knn_accuracy, recall_at_k, uniformity, zero_shot

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def on_sphere(rows):
    return [[value / math.hypot(*row) for value in row] for row in rows.tolist()]


@pytest.fixture
def clusters():
    """Training rows and test rows around 4 centres, with their classes; near enough to be mixed up at times."""
    centres, labels = 1.2 * randn(4, 3, seed=1), torch.arange(60) % 4
    rows = centres[labels] + randn(60, 3, seed=2)
    return rows[:40], labels[:40], rows[40:], labels[40:]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3, 5, 40])
def test_knn_is_a_count_of_votes(clusters, metric, k):
    features, labels, test_features, test_labels = clusters
    right = 0
    for row, label in zip(test_features.tolist(), test_labels.tolist(), strict=True):
        if metric == "euclidean":
            distances = [math.dist(row, other) for other in features.tolist()]
        else:
            distances = [math.dist(on_sphere(torch.tensor([row]).double())[0], other) for other in on_sphere(features)]
        nearest = [int(labels[i]) for i in sorted(range(40), key=distances.__getitem__)[:k]]
        winner = max(set(nearest), key=lambda each: (nearest.count(each), -nearest.index(each)))
        right += winner == label
    assert 0 < right < 20  # neither trivial nor hopeless
    assert knn_accuracy(*clusters, k=k, metric=metric) == right / 20


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_knn_equals_scikit_learn_where_no_vote_ties(clusters, metric):
    from sklearn.neighbors import KNeighborsClassifier

    features, labels, test_features, test_labels = clusters
    pairs = labels % 2, test_labels % 2  # two classes and an odd k: no ties
    peer = KNeighborsClassifier(5, metric=metric).fit(features.numpy(), pairs[0].numpy())
    expected = peer.score(test_features.numpy(), pairs[1].numpy())
    assert_close(knn_accuracy(features, pairs[0], test_features, pairs[1], metric=metric), expected, **CLOSE)


def test_each_row_is_its_own_nearest_neighbour(clusters):
    features, labels, *_ = clusters
    assert knn_accuracy(features, labels, features, labels, k=1) == 1.0
    assert knn_accuracy(features, labels, features, (labels + 1) % 4, k=1) == 0.0


def test_a_tied_vote_goes_to_the_nearest():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    labels = torch.tensor([1, 0, 0, 1])
    near = [
        knn_accuracy(x, labels, torch.tensor([[at]]), torch.tensor([1]), k=4, metric="euclidean") for at in (0.4, 1.4)
    ]
    assert near == [1.0, 0.0]


def test_many_test_rows_are_taken_in_parts():
    rows, labels = randn(2500, 4), torch.arange(2500) % 3
    assert knn_accuracy(rows, labels, rows, labels, k=1) == 1.0
    assert recall_at_k(rows, rows) == 1.0
    whole = torch.pdist(torch.nn.functional.normalize(rows, dim=1)).square().mul(-2).exp().mean().log()
    assert_close(uniformity(rows), whole.item(), rtol=1e-9, atol=0)


def test_alignment_and_uniformity_are_the_formulas_read_aloud():
    first, second = randn(9, 4), randn(9, 4, seed=1)
    one, two = on_sphere(first), on_sphere(second)
    expected = sum(math.dist(a, b) ** 2 for a, b in zip(one, two, strict=True)) / 9
    assert_close(alignment(first, second), expected, **CLOSE)
    pairs = [math.exp(-3 * math.dist(one[i], one[j]) ** 2) for i in range(9) for j in range(i)]
    assert_close(uniformity(first, t=3.0), math.log(sum(pairs) / len(pairs)), **CLOSE)


def test_collapse_is_aligned_and_not_uniform():
    ones = torch.ones(5, 3)
    assert_close(alignment(ones, 7 * ones), 0.0, rtol=0, atol=1e-30)
    assert_close(uniformity(ones), 0.0, **CLOSE)


def test_opposite_views_are_as_far_apart_as_can_be():
    assert_close(alignment(randn(5, 3), -randn(5, 3)), 4.0, **CLOSE)


def test_uniformity_of_known_arrangements():
    corners = torch.eye(6, dtype=torch.float64) - 1 / 6  # a simplex: the floor
    assert_close(uniformity(corners), -2 * 2 * 6 / 5, **CLOSE)
    angles = torch.arange(2000, dtype=torch.float64) * 2 * math.pi / 2000
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    bessel = math.log(torch.special.i0e(torch.tensor(4.0, dtype=torch.float64)).item())  # mean of exp(4 (cos - 1))
    assert round(bessel, 2) == -1.58
    assert_close(uniformity(circle), bessel, rtol=2e-3, atol=0)  # a point is no neighbour of itself: 1 in 2000
    assert_close(uniformity(randn(400, 512)), -4.0, rtol=0.01, atol=0)


def test_lengths_do_not_matter():
    first, second, lengths = randn(8, 3), randn(8, 3, seed=1), 1 + torch.arange(8)[:, None]
    assert_close(alignment(lengths * first, second), alignment(first, second), **CLOSE)
    assert_close(uniformity(lengths * first), uniformity(first), **CLOSE)
    assert recall_at_k(lengths * first, second, k=3) == recall_at_k(first, second, k=3)
    labels = torch.arange(8)
    assert zero_shot(lengths * first, second, labels) == zero_shot(first, second, labels)


def test_zero_shot_takes_the_nearest_description():
    images, classes = randn(30, 4), randn(5, 4, seed=1)
    labels = torch.arange(30) % 5
    nearest = [min(range(5), key=lambda c: math.dist(image, on_sphere(classes)[c])) for image in on_sphere(images)]
    right = sum(guess == label for guess, label in zip(nearest, labels.tolist(), strict=True))
    assert zero_shot(images, classes, labels) == right / 30
    assert zero_shot(classes, classes, torch.arange(5)) == 1.0


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_recall_is_a_count_of_better_rows(k):
    queries, gallery = randn(12, 4), randn(12, 4) + 2 * randn(12, 4, seed=1)
    hits = 0
    for i, query in enumerate(on_sphere(queries)):
        distances = [math.dist(query, row) for row in on_sphere(gallery)]
        hits += sum(distance < distances[i] for distance in distances) < k
    assert recall_at_k(queries, gallery, k=k) == hits / 12
    assert 0 < hits < 12 or k == 12


@pytest.mark.parametrize("k", [1, 3, 8])
def test_a_collapsed_encoder_finds_by_chance(k):
    ones = torch.ones(8, 3)
    assert_close(recall_at_k(ones, 2 * ones, k=k), k / 8, **CLOSE)


def test_the_same_caption_twice_is_found_half_of_the_time():
    gallery = torch.eye(4)[[0, 0, 1, 2]]
    assert [recall_at_k(gallery, gallery, k=k) for k in (1, 2)] == [0.75, 1.0]


def test_a_row_of_zeros_is_at_right_angles_to_every_other():
    known = torch.tensor([[0.0, 0.0], [0.4, 1.0], [-1.0, 1.0]])  # cosines 0, 0.37 and -0.71
    for k, label in ((1, 1), (2, 1), (3, 1)):
        assert knn_accuracy(known, torch.arange(3), torch.eye(2)[:1], torch.tensor([label]), k=k) == 1.0
    assert knn_accuracy(known[[0, 2]], torch.arange(2), torch.eye(2)[:1], torch.tensor([0]), k=1) == 1.0
    assert_close(alignment(known[:1], known[1:2]), 1.0, **CLOSE)


def test_embeddings_may_be_as_short_as_float32_can_write():
    first, second = randn(20, 4).float(), randn(20, 4, seed=1).float()
    short = first * 2.0**-100  # exactly: no digit is lost
    assert_close(alignment(short, second), alignment(first, second), **CLOSE)
    assert_close(uniformity(short), uniformity(first), **CLOSE)
    labels = torch.arange(20) % 3
    assert knn_accuracy(short, labels, second, labels) == knn_accuracy(first, labels, second, labels)


def test_torchs_default_device_changes_nothing():
    rows, labels = randn(30, 4), torch.arange(30) % 3
    measures = [lambda: knn_accuracy(rows, labels, rows + 1, labels), lambda: uniformity(rows)]
    expected = [measure() for measure in measures]
    with torch.device("meta"):
        assert [measure() for measure in measures] == expected


X, Y = torch.eye(3), torch.arange(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: knn_accuracy(X, Y, X, Y, k=4), "k must be from 1 to the number of training rows, 3, got 4"),
        (lambda: knn_accuracy(X, Y, X, Y, k=0), "got 0"),
        (lambda: knn_accuracy(X, Y, X, Y, k=1, metric="manhattan"), '"cosine" or "euclidean", got \'manhattan\''),
        (lambda: knn_accuracy(X, Y, torch.ones(2, 4), Y, k=1), r"test_features must be .* \(N, 3\).* got \(2, 4\)"),
        (lambda: knn_accuracy(X, Y.float(), X, Y, k=1), r"labels must be int64 .* of torch\.float32"),
        (lambda: knn_accuracy(X, Y, X, Y[:2], k=1), r"test_labels must be int64 .* each of 3 rows, got \(2,\)"),
        (lambda: knn_accuracy(X, Y - 1, X, Y, k=1), "labels must be class numbers from 0 up, got -1"),
        (lambda: alignment(X, X[:2]), r"first \(3, 3\) and second \(2, 3\)"),
        (lambda: alignment(X * math.nan, X), "first holds nan or inf"),
        (lambda: uniformity(X[:1]), "needs at least 2, got 1"),
        (lambda: uniformity(X, t=0.0), r"t must be positive and finite, got 0\.0"),
        (lambda: uniformity(X.long()), r"embeddings must be a floating-point matrix \(N, D\)"),
        (lambda: uniformity(X[:0]), "with at least one row"),
        (lambda: zero_shot(X, X[:2], Y), "labels go up to 2, but there are only 2 class embeddings"),
        (lambda: recall_at_k(X, X[:2]), r"queries \(3, 3\) and gallery \(2, 3\)"),
        (lambda: recall_at_k(X, X, k=4), "k must be from 1 to the number of rows, 3, got 4"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

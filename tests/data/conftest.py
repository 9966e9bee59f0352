"""What the tests of course_lib.data share: a cache of their own, and a look at the global random generators."""

import random

import datasets
import numpy as np
import pytest
import torch


@pytest.fixture
def global_random_states():
    """A function that returns the states of Python's, NumPy's and torch's global generators."""

    def states():
        name, keys, *rest = np.random.get_state()
        return random.getstate(), (name, keys.tolist(), rest), torch.get_rng_state().tolist()

    return states


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    """A fresh folder where `datasets` keeps what it has read; the user's own is left alone."""
    folder = tmp_path / "datasets_cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder

"""What the tests of course_lib.recipes share: text with something to learn in it, and a cache of their own."""

import random

import datasets
import pytest
import torch

from course_lib.recipes.settings import Settings


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    """A fresh folder where `datasets` keeps what it has read; the user's own is left alone."""
    folder = tmp_path / "datasets_cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def random_states():
    """Training seeds torch's global generator; put it back."""
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


@pytest.fixture
def lines():
    """Sixty made-up sentences."""
    draw = random.Random(0)
    words = [["the", "a"], ["red", "old", "small"], ["fox", "owl", "hare"], ["sees", "hears"], ["the"], ["moon", "sea"]]
    return [" ".join(draw.choice(some) for some in words) + "." for _ in range(60)]


@pytest.fixture
def text_file(tmp_path, lines):
    path = tmp_path / "text" / "a.txt"
    path.parent.mkdir()
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def settings():
    return Settings(
        vocab_size=270,
        width=16,
        num_layers=1,
        num_heads=2,
        context_length=16,
        batch_size=4,
        steps=20,
        warmup=4,
        learning_rate=1e-2,
    )

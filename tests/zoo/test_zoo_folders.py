"""Saving and loading a model: the same logits, every byte checked, and messages that say which file is wrong."""

import hashlib
import json
import random

import pytest
import torch
from torch.testing import assert_close

from course_lib.tokenization import train_bpe
from course_lib.zoo import DamagedModel, load, load_folder, names, save

EXACT = {"rtol": 0, "atol": 0}
TOKENS = torch.tensor([[0, 5, 6, 264]])


def test_what_was_saved_comes_back_bit_for_bit(tiny, tmp_path):
    card = save(tmp_path / "new" / "tiny", tiny)
    back = load_folder(tmp_path / "new" / "tiny")
    assert_close(back.model(TOKENS), tiny.model(TOKENS), **EXACT)
    assert {weight.dtype for weight in back.model.parameters()} == {torch.float32}
    assert back.tokenizer == tiny.tokenizer
    assert back.card == card
    assert not back.model.training


def test_the_card_is_what_was_given_with_the_hashes(tiny, tmp_path):
    from dataclasses import replace

    card = save(tmp_path, tiny)
    assert replace(card, files={}) == tiny.card
    assert card.files == {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in ("weights.safetensors", "tokenizer.json")
    }


def test_weights_take_two_bytes_each_unless_asked_otherwise(tiny, tmp_path):
    num_weights = sum(weight.numel() for weight in tiny.model.parameters())
    for dtype, size in ((torch.bfloat16, 2), (torch.float32, 4)):
        save(tmp_path, tiny, dtype=dtype)
        rest = (tmp_path / "weights.safetensors").stat().st_size - size * num_weights
        assert 0 < rest < 4000


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_computes_in_the_dtype_asked_for(tiny, tmp_path, dtype):
    save(tmp_path, tiny)
    logits = load_folder(tmp_path, dtype=dtype).model(TOKENS)
    assert logits.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float64 else 0.1  # bf16 keeps 8 bits, the logits are of order 1
    assert_close(logits.double(), tiny.model(TOKENS).double(), rtol=0, atol=tolerance)


def test_saving_again_replaces_the_model(tiny, tmp_path):
    save(tmp_path, tiny)
    with torch.no_grad():
        tiny.model.embedding.weight.zero_()
    save(tmp_path, tiny)
    assert not load_folder(tmp_path).model.embedding.weight.any()


def test_loading_leaves_the_random_generators_alone(tiny, tmp_path):
    save(tmp_path, tiny)
    before = torch.get_rng_state(), random.getstate()
    load_folder(tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("harm", ["one byte", "half", "gone"])
def test_a_damaged_file_is_named(tiny, tmp_path, name, harm):
    save(tmp_path, tiny)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    else:
        content[-3] ^= 1
        path.write_bytes(content if harm == "one byte" else content[: len(content) // 2])
    said = "is missing" if harm == "gone" else "is not the file its card names"
    with pytest.raises(DamagedModel, match=rf"{name} {said}.*install the package again"):
        load_folder(tmp_path)


def edited(folder, change):
    content = json.loads((folder / "card.json").read_text())
    change(content)
    (folder / "card.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.pop("seed"), "is no model card: a model card has the fields .*; wrong: seed"),
        (lambda card: card.update(colour="red"), "wrong: colour"),
        (lambda card: card["architecture"].update(width=7), "is no model card: .*7"),
        (lambda card: card["architecture"].pop("width"), "is no model card: .*width"),
        (lambda card: card["architecture"].update(width=32), "do not fit its card"),
        (lambda card: card.update(files=None), "is no model card: files must map names to hashes, got None"),
        (lambda card: card["files"].update({"tokenizer.json": None}), "files must map names to hashes"),
        (lambda card: card["files"].pop("tokenizer.json"), r"names no tokenizer\.json"),
    ],
)
def test_a_card_that_does_not_fit_is_named(tiny, tmp_path, change, message):
    save(tmp_path, tiny)
    edited(tmp_path, change)
    with pytest.raises(DamagedModel, match=message):
        load_folder(tmp_path)


def test_a_tokenizer_of_another_size_is_named(tiny, tmp_path):
    save(tmp_path, tiny)
    small = train_bpe(["hello"] * 3, vocab_size=260, special_tokens=["<|endoftext|>"])
    small.save(tmp_path / "tokenizer.json")
    digest = hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()
    edited(tmp_path, lambda card: card["files"].update({"tokenizer.json": digest}))
    with pytest.raises(DamagedModel, match=r"do not fit its card: the tokenizer has 260 tokens, the model 265"):
        load_folder(tmp_path)


def test_a_card_cut_short_is_named(tiny, tmp_path):
    save(tmp_path, tiny)
    (tmp_path / "card.json").write_text((tmp_path / "card.json").read_text()[:50])
    with pytest.raises(DamagedModel, match=r"card\.json is no model card"):
        load_folder(tmp_path)


def test_mistakes_are_named(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"expected a model in .*, found no card\.json there"):
        load_folder(tmp_path)
    with pytest.raises(ValueError, match="there is no model 'gpt5' in the zoo; there are: "):
        load("gpt5")
    with pytest.raises(ValueError, match=r"there is no model '\.\./weights/stories'"):
        load("../weights/stories")
    with pytest.raises(ValueError, match=r"dtype must be a floating one, such as torch\.bfloat16"):
        save(tmp_path, tiny, dtype=torch.int8)
    save(tmp_path, tiny)
    with pytest.raises(ValueError, match=r"dtype must be a floating one, such as torch\.float32"):
        load_folder(tmp_path, dtype=torch.int8)


def test_the_zoo_is_small():
    from course_lib.zoo.folders import SHIPPED

    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 20e6
    assert names() == sorted(path.name for path in SHIPPED.iterdir())

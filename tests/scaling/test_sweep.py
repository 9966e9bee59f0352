"""The sweep: whole stories as rows, the plan of runs, a run of a few updates, and a table that goes on."""

from collections import defaultdict
from dataclasses import asdict, replace

import pytest
import torch
from torch.testing import assert_close

from course_lib.data.tales import tales
from course_lib.nn.transformer import Transformer
from course_lib.scaling import num_parameters
from course_lib.scaling.stories import END, as_batch, held_out, story_batches, story_tokenizer
from course_lib.scaling.sweep import Cell, cells, load_sweep, main, model_config, read_table, run_cell, run_sweep

TINY = Cell(width=16, num_layers=1, num_heads=1, flops=5e8, seed=0)


def test_a_batch_asks_for_each_token_of_each_story_and_its_end():
    x, y = as_batch([[5, 6, 7], [8]], end=1)
    assert x.tolist() == [[1, 5, 6, 7], [1, 8, 1, 1]]
    assert y.tolist() == [[5, 6, 7, 1], [8, 1, -100, -100]]


def test_batches_hold_fresh_whole_stories_and_about_as_many_tokens_as_asked_for():
    tokenizer = story_tokenizer()
    batches = story_batches(30_000, batch_size=4, seed=3)
    seen = sum(int((y >= 0).sum()) for _, y in batches)
    largest = max(int((y >= 0).sum()) for _, y in batches)
    assert 30_000 <= seen < 30_000 + largest
    texts = [tokenizer.decode(row[row >= 0][:-1].tolist()) for _, y in batches for row in y]
    assert len(set(texts)) == len(texts) == 4 * len(batches)
    source = {tale.text for chunk in range(3) for tale in tales(256, seed=40_000 + chunk)}
    assert set(texts) <= source
    padding = sum(int((y < 0).sum()) for _, y in batches) / sum(y.numel() for _, y in batches)
    assert padding < 0.05


def test_the_seed_decides_the_stories_and_their_order():
    first, again, other = (story_batches(2000, batch_size=4, seed=seed) for seed in (0, 0, 1))
    for (x, y), (x2, y2) in zip(first, again, strict=True):
        assert_close(x, x2, rtol=0, atol=0)
        assert_close(y, y2, rtol=0, atol=0)
    assert not torch.equal(first[0][1][0, :8], other[0][1][0, :8])


def test_held_out_stories_are_none_of_the_training_stories_and_their_entropy_is_the_grammars():
    batches, entropy = held_out()
    stories = tales(512, seed=0, split="evaluation")
    num_tokens = sum(int((y >= 0).sum()) for _, y in batches)
    assert num_tokens == sum(len(story_tokenizer().encode(story.text)) + 1 for story in stories)
    assert entropy == pytest.approx(-sum(story.log_prob for story in stories) / num_tokens)
    assert not {story.text for story in stories} & {tale.text for tale in tales(2000, seed=10_000)}


def test_each_budget_goes_to_five_sizes_or_more_with_its_optimum_among_them():
    sizes = defaultdict(set)
    for cell in cells():
        sizes[cell.flops, cell.seed].add(num_parameters(model_config(cell)).total)
    assert len(set(cells())) == len(cells())
    for (flops, _), found in sizes.items():
        assert len(found) >= 5
        assert max(found) / min(found) > 5
        assert all(0.35 <= flops / 6 / size**2 <= 140 for size in found)
    assert max(flops for flops, _ in sizes) / min(flops for flops, _ in sizes) == 128


def test_the_gpu_setting_is_larger_and_every_model_of_it_takes_a_step():
    large = cells(gpu=True)
    assert min(cell.flops for cell in large) > max(cell.flops for cell in cells())
    for width in {cell.width for cell in large}:
        config = model_config(next(cell for cell in large if cell.width == width))
        with torch.device("meta"):
            model = Transformer(config)
            model(torch.zeros(2, config.context_length, dtype=torch.int64)).sum().backward()
    assert run_cell(replace(large[0], flops=8e9)).num_steps == 3


def test_a_run_learns_and_tells_what_it_did():
    row = run_cell(TINY)
    assert row.num_parameters == num_parameters(model_config(TINY)).total == 19_504
    assert 0 <= row.num_tokens - 5e8 / 6 / 19_504 < 1000
    assert 6 * row.num_parameters * row.num_tokens < 1.3 * TINY.flops
    assert row.entropy < 0.5 < row.loss < 6.8  # log(1024) = 6.93 for a model that knows nothing
    assert asdict(row) | asdict(TINY) == asdict(row)


def test_a_budget_of_one_batch_is_refused():
    with pytest.raises(ValueError, match=r"1e\+07 FLOP are one batch of 4 stories"):
        run_cell(replace(TINY, flops=1e7))


def test_a_table_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    path, todo = tmp_path / "table.csv", [TINY, replace(TINY, seed=1), replace(TINY, width=24)]
    run_sweep(path, todo[:1])
    run_sweep(path, todo, seconds=-1)
    assert len(read_table(path)) == 1
    first = path.read_text()
    run_sweep(path, todo)
    rows = read_table(path)
    assert [(row.width, row.seed) for row in rows] == [(16, 0), (16, 1), (24, 0)]
    assert rows[0].loss == run_cell(TINY).loss != rows[1].loss
    assert path.read_text().startswith(first)
    assert all(isinstance(row.num_tokens, int) and isinstance(row.flops, float) for row in rows)
    monkeypatch.setattr("course_lib.scaling.sweep.cells", lambda gpu: todo)
    main([str(path)])
    assert len(read_table(path)) == 3
    assert "loss=" in capsys.readouterr().out


def test_the_shipped_table_is_of_this_sweep():
    rows = load_sweep()
    planned = sorted(tuple(asdict(cell).values()) for cell in cells())
    _, entropy = held_out()
    assert sorted(tuple(asdict(row).values())[:6] for row in rows) == planned
    for row in rows:
        assert row.entropy == pytest.approx(entropy)
        assert row.num_parameters == num_parameters(model_config(Cell(**dict(list(asdict(row).items())[:6])))).total
        assert 0 <= 6 * row.num_parameters * row.num_tokens / row.flops - 1 < 0.02


def test_the_end_mark_is_a_token_of_its_own():
    assert END in story_tokenizer().special

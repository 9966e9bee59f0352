"""The recipes that train on tensors, on two ranks: the run of one process, exact resumption, what is refused."""

import functools
import warnings
from dataclasses import asdict, replace

import pytest
import torch
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.data.tales import tales
from course_lib.loops import Loss, read_log
from course_lib.loops.fit_record import FitRecord
from course_lib.nn.transformer import Transformer, llama
from course_lib.recipes import classify_images, fine_tune, train_diffusion, train_reward_model
from course_lib.recipes.image_data import ImageData
from course_lib.recipes.sharing import Sharing
from course_lib.recipes.tensor_training import TensorSettings, train_tensors
from course_lib.tokenization import train_bpe
from course_lib.zoo import Card, Pretrained

EXACT = {"rtol": 0, "atol": 0}
SETTINGS = TensorSettings(steps=8, batch_size=6, warmup=1, learning_rate=3e-3, ema=0.0)
PARTS = (slice(0, None, 2), slice(1, None, 2))  # rows of a batch that the first rank gets, and the second
FORMS = {
    "classify": ("fsdp", "ddp"),
    "draw": ("ddp", "fsdp"),
    "teach": ("ddp", "fsdp", "tp"),
    "judge": ("ddp", "fsdp"),
}


def bars():
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (40, 1), generator=draw)
    images = torch.rand(40, 1, 8, 8, generator=draw) * (1 + labels[:, :, None, None]) / 2
    return ImageData((images[:20], labels[:20]), (images[20:], labels[20:]), {"ink": ["a", "b"]}, "bars", "CC0-1.0")


@functools.cache
def base(context_length):
    """A small model that knows no story."""
    texts = [tale.text for tale in tales(100, seed=0)]
    tokenizer = train_bpe(texts, vocab_size=600, special_tokens=["<|endoftext|>"])
    config = llama(vocab_size=600, width=16, num_layers=1, num_heads=2, context_length=context_length, tied=False)
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).eval()
    nothing = dict.fromkeys(("tokenizer", "data", "data_licence", "licence", "limits", "recipe"), "")
    of_run = {"seed": 0, "training": {}, "versions": {}, "validation": {}}
    return Pretrained(
        model, tokenizer, Card("tiny", "", architecture=asdict(config), num_parameters=0, **nothing, **of_run)
    )


def run(kind, out, judge, *, settings=SETTINGS, until=None, **sharing):
    """Run one of the recipes small; with ``until`` every rank is interrupted after so many updates."""
    options = {"out": out, "name": "small", "recipe": "by hand", "every": 3, "progress": False}
    options["sharing"] = Sharing(**sharing)
    take = FitRecord.take

    def interrupt(record, step):
        if step.index == until:
            raise KeyboardInterrupt
        take(record, step)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(FitRecord, "take", interrupt)
        patch.setattr(fine_tune, "_HELD_OUT", 4)
        patch.setattr(fine_tune, "_NUM_REQUESTS", 1)
        patch.setattr(fine_tune, "_NUM_SAMPLES", 1)
        patch.setattr(train_reward_model, "_NUM_TEST", 10)
        warnings.filterwarnings("ignore", "interrupted after|8 samples of 8 features|.*was saved on 2 ranks")
        match kind:
            case "classify":
                return classify_images.classify_images(bars(), settings, feature_width=8, **options).network
            case "draw":
                chosen = {"width": 8, "multipliers": (1,), "num_judged": 8}
                return train_diffusion.train_diffusion(bars(), settings, judge=judge, **chosen, **options).network
            case "teach":
                return fine_tune.fine_tune(base(400), settings, num_demonstrations=30, **options).model
            case _:
                chosen = {"num_pairs": 20, "temperature": 0.5, "length_bias": 0.1}
                return train_reward_model.train_reward_model(base(40), settings, **chosen, **options).model


def on_ranks(me, folder, judge, averaged):
    for kind, forms in FORMS.items():
        for form in forms:
            out = folder / kind / form
            model = run(kind, out, judge, parallel=form)
        with pytest.raises(KeyboardInterrupt, match="a rerun goes on from the checkpoint at update 6"):
            run(kind, folder / kind / "broken", judge, until=7, parallel=form)
        again = run(kind, folder / kind / "broken", judge, parallel=form)
        assert_close(again.state_dict(), model.state_dict(), **EXACT)
    with pytest.raises(KeyboardInterrupt):
        run("teach", folder / "teach" / "to one", judge, until=7, parallel="fsdp")
    found = run("classify", folder / "averaged", judge, settings=averaged)
    if me == 0:
        torch.save(found.state_dict(), folder / "averaged.pt")
    check_refusals(folder / "refused", judge, averaged)


def check_refusals(out, judge, averaged):
    with pytest.raises(ValueError, match="take ddp without tp or pp, or ema 0"):
        run("classify", out, judge, settings=averaged, parallel="fsdp")
    for form in ("tp", "pp"):
        with pytest.raises(ValueError, match="split a Transformer, got ImageNetwork: take ddp or fsdp without them"):
            run("classify", out, judge, parallel=form)
    with pytest.raises(ValueError, match="rows of all processes together, got 1: take 2 at least"):
        run("teach", out, judge, settings=replace(SETTINGS, batch_size=1))
    with pytest.raises(ValueError, match="the processes have made different data to learn from"):
        train_tensors(
            torch.nn.Linear(1, 1), None, (torch.full((6, 1), rank()),), SETTINGS, out=out, asked={}, generators=[]
        )


def drawn_as_on_two(make):
    """An objective for one process that draws for its rows what two ranks draw for theirs."""

    def objective(*arguments, generator, **options):
        generators = [torch.Generator().manual_seed(SETTINGS.seed + number) for number in range(2)]
        parts = [make(*arguments, generator=each, **options) for each in generators]

        def both(model, batch):
            assert world_size() == 1
            first, second = (one(model, [rows[mine] for rows in batch]) for one, mine in zip(parts, PARTS, strict=True))
            metrics = {name: first.metrics[name] + second.metrics[name] for name in first.metrics}
            return Loss(first.total + second.total, first.count + second.count, metrics)

        return both

    return objective


def test_two_ranks_train_what_one_process_does(on_two_ranks, tmp_path, monkeypatch):
    draws = ((classify_images, "augmented_classification"), (train_diffusion, "flow_matching"))
    for module, name in draws:
        monkeypatch.setattr(module, name, drawn_as_on_two(getattr(module, name)))
    judge = classify_images.classify_images(
        bars(), SETTINGS, out=tmp_path / "classify" / "alone", name="small", recipe="by hand", feature_width=8
    )
    averaged = replace(SETTINGS, ema=0.5)
    on_two_ranks(on_ranks, tmp_path, judge, averaged)
    for kind, forms in FORMS.items():
        if kind != "classify":
            run(kind, tmp_path / kind / "alone", judge)
        losses = read_log(tmp_path / kind / "alone" / "log.jsonl").column("loss")
        assert len(losses) == SETTINGS.steps
        if kind == "teach":
            run(kind, tmp_path / kind / "to one", judge)
            forms = (*forms, "to one")
        for form in forms:
            log = read_log(tmp_path / kind / form / "log.jsonl")
            assert log.column("loss") == pytest.approx(losses, rel=1e-5), (kind, form)
    state = run("classify", tmp_path / "averaged alone", judge, settings=averaged).state_dict()
    assert_close(torch.load(tmp_path / "averaged.pt", weights_only=True), state, rtol=2**-7, atol=1e-6)  # one bf16 step


@pytest.mark.parametrize(
    ("recipe", "words", "said"),
    [
        (classify_images, ["--data", "digits", "--parallel", "fsdp"], "start the recipe with torchrun"),
        (fine_tune, ["--tp", "2"], "start the recipe with torchrun"),
        (train_diffusion, ["--data", "digits", "--parallel", "tp"], "'tp' is not one of 'ddp', 'fsdp'"),
        (train_reward_model, ["--parallel", "pp"], "'pp' is not one of 'ddp', 'fsdp'"),
    ],
)
def test_what_a_command_says_that_cannot_be_shared_so(recipe, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["recipe", "--out", str(tmp_path / "run"), *words])
    with pytest.raises(SystemExit) as ended:
        recipe.main()
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())

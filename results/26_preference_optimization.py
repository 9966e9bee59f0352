"""Notebook 26 over eight seeds: four ways to spend 512 stories, a judge with a principle, GRPO and its heirs."""

import copy
import hashlib
import json
import os
import tempfile
from functools import partial
from pathlib import Path

import torch

from course_lib import alignment as al
from course_lib import zoo
from course_lib.data import Batches, sums
from course_lib.data.sums import verify
from course_lib.data.tales import grade
from course_lib.loops import Loss, Run, train
from course_lib.notebook.results import Claim, record
from course_lib.optim.schedules import warmup_linear

FEW = 2  # how many seeds get what no claim hangs on; three for the rivals of DPO and the judge
UPDATES, RATE = 32, 3e-4
BETAS, LOOKS = (0.1, 1.0, 5.0), (32, 64, 96)  # of the longer runs of DPO
SETTINGS = {  # name: objective, how many seeds; each at its best beta of a grid on seed 100
    "DPO": (al.dpo_objective(beta=0.1), 8),
    "IPO": (al.ipo_objective(beta=0.03), 3),
    "KTO": (al.kto_objective(beta=0.3), 3),
}
NUMBERS, KS = (1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16)
GRPO_UPDATES, EVERY = 40, 10
SUMS = {  # name: how the stream and the objective differ from the first paper's, how many seeds
    "GRPO": ({}, {}, 8),
    "no std": ({"divide_by_std": False}, {}, FEW),
    "Dr. GRPO": ({"divide_by_std": False}, {"average": "constant", "max_tokens": 48}, FEW),
    "DAPO": ({"drop_equal": True}, {"average": "token", "clip_high": 0.28}, FEW),
    "8 updates, clip 0.2": ({"batch_size": 32, "epochs": 2}, {}, FEW),
    "8 updates, clip 0.28": ({"batch_size": 32, "epochs": 2}, {"clip_high": 0.28}, FEW),
}
KIND = "The hero helps at once whoever is in need."

CLAIMS = (
    Claim("dpo-gold", "gold reward of stories after DPO on 128 pairs minus that of the stories before", above=0.0),
    Claim("best4-over-dpo", "gold reward of the best of 4 of the drawn stories minus that after DPO", above=0.0),
    Claim("judge-agreement", "share of labelled cases in which the judge is right; chance 0.5", limits=(0, 1)),
    Claim("grpo-gain", "pass@1 on held-out sums after 40 updates of GRPO minus before", above=0.0),
    Claim("pass16-change", "pass@16 on held-out sums after 40 updates of GRPO minus before", limits=(-1, 1)),
)

STORIES, SCORER, ADDER = zoo.load("stories"), zoo.load_reward_model("stories_reward"), zoo.load("sums")
END = STORIES.separator
decode = partial(STORIES.tokenizer.decode, skip_special=True)
spell = partial(ADDER.tokenizer.decode, skip_special=True)
TRAINING = [each.problem for each in sums(4000, seed=11)]
HELD_OUT = list(dict.fromkeys(each.problem for each in sums(400, seed=5, split="evaluation")))[:100]
# Parts are kept one file each, so that an interrupted recording goes on where it was; a changed script starts anew.
KEPT = Path(os.environ.get("COURSE_KEPT_RUNS", tempfile.gettempdir())) / (
    "course_26_" + hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
)


def kept(name, make):
    """Return what `make` gives, from its file if it was made before."""
    path = KEPT / f"{name.replace(' ', '_')}.json"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_text(json.dumps(make()), encoding="utf-8")
        path.with_suffix(".part").rename(path)
        print(f"  {name}", flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def draw(model, num, seed):
    """Stories of a model."""
    g = torch.Generator().manual_seed(seed)
    return al.sample_completions(model, [[END]] * num, max_new_tokens=150, stop_tokens=[END], generator=g)


def score_of(completions) -> torch.Tensor:
    """The judge of all four methods: the shipped reward model without the price of length that its card states."""
    words = torch.tensor([len(decode(ids).split()) for ids in completions])
    return al.score_completions(SCORER.model, [[END]] * len(completions), completions).double() - 0.032 * (words - 84)


def pairs_of(drawn, score) -> al.Preferences:
    """Best and worst of every four."""
    groups, start = score.view(-1, 4), 4 * torch.arange(len(drawn) // 4)
    sides = [[drawn[i] for i in (start + side).tolist()] for side in (groups.argmax(1), groups.argmin(1))]
    return al.Preferences([[END]] * len(start), *sides, torch.ones(len(start), dtype=torch.float64))


def fine_tuned(data, seed, objective, *, steps=UPDATES, rows=8, look=lambda number, model: None):
    """A copy of the story model after some updates; `look` sees it after each."""
    model = copy.deepcopy(STORIES.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    run = Run(model, objective, optimizer, schedule=partial(warmup_linear, total=steps, warmup=3), max_grad_norm=1.0)
    for step in train(run, Batches(tuple(data), batch_size=rows, seed=seed), steps=steps):
        look(step.index, model)
    return model


def measured(model, seed, num=192) -> tuple[list[float], list[list[int]]]:
    """KL, score and gold of fresh stories, and the stories."""
    rollout = draw(model, num, seed)
    ids = rollout.lists()
    kl = (rollout.log_probs.sum(1) - al.reference_log_probs(STORIES.model, rollout.tokens, rollout.mask)).mean()
    return [kl.item(), score_of(ids).mean().item(), al.story_taste([decode(row) for row in ids]).mean().item()], ids


def likelihood(model, batch) -> Loss:
    """Next-token loss on completions."""
    return Loss(-al.sequence_log_probs(model, *batch).sum(), int(batch[1].sum()))


def ppo(seed) -> list[float]:
    """16 rollouts of 32 stories: as many stories as the others get; notebook 25's settings."""
    model = al.PolicyAndValue(copy.deepcopy(STORIES.model))
    stream = al.CompletionStream(
        model, [[END]], lambda rollout: score_of(rollout.lists()).float(), reference=STORIES.model,
        kl=al.KLController(0.1), max_new_tokens=150, stop_tokens=[END], num_completions=32, batch_size=16, epochs=2,
        lam=1.0, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    objective = al.token_ppo_objective(value_coefficient=0.0)
    run = Run(model, objective, optimizer, schedule=lambda update: min(1.0, (update + 1) / 4), max_grad_norm=1.0)
    for _ in train(run, stream, steps=64):
        pass
    return measured(model.policy, 20_000 + seed)[0]


def path(seed, pairs, beta) -> list[list[float]]:
    """A longer DPO run: log-probabilities of chosen and rejected, accuracy on old and new pairs, KL, score, gold."""
    fresh = draw(STORIES.model, 128, 30_000 + seed).lists()
    old, new, rows = (
        al.direct_batch(pairs, STORIES.model),
        al.direct_batch(pairs_of(fresh, score_of(fresh)), STORIES.model),
        [],
    )

    def moved(model, data):
        sides = (
            (data.chosen, data.chosen_mask, data.reference_chosen),
            (data.rejected, data.rejected_mask, data.reference_rejected),
        )
        return [al.reference_log_probs(model, *side) - reference for *side, reference in sides]

    def look(number, model):
        if number in LOOKS:
            chosen, rejected = moved(model, old)
            seen = [chosen.mean().item(), rejected.mean().item(), (chosen > rejected).double().mean().item()]
            chosen, rejected = moved(model, new)
            ends, ids = measured(model, 40_000 + seed, 96)
            right = sum(grade(decode(row)).share for row in ids) / len(ids)
            rows.append([*seen, (chosen > rejected).double().mean().item(), *ends, right])

    fine_tuned(old, seed, al.dpo_objective(beta=beta), steps=LOOKS[-1], look=look)
    return rows


def stories(seed) -> dict:
    """Everything about stories from one draw of 512."""
    drawn = [ids for part in range(4) for ids in draw(STORIES.model, 128, 1000 * seed + part).lists()]
    texts = [decode(ids) for ids in drawn]
    score, gold = score_of(drawn), al.story_taste(texts)
    pairs, found = pairs_of(drawn, score), {}
    before = {
        "right": sum(grade(text).share for text in texts) / 512,
        "points": [0.0, score.mean().item(), gold.mean().item()],
    }
    data, points = al.direct_batch(pairs, STORIES.model), {"before": before["points"]}
    for name, (objective, seeds) in SETTINGS.items():
        if seed < seeds:
            batch, rows = (al.kto_batch(pairs, STORIES.model), 16) if name == "KTO" else (data, 8)
            points[name] = measured(fine_tuned(batch, seed, objective, rows=rows), 10_000 + seed)[0]
    if seed < 3:
        best = [drawn[8 * group + place] for group, place in al.rejection_sample(score.view(-1, 8)).tolist()]
        imitator = fine_tuned(al.pack_completions([[END]] * len(best), best), seed, likelihood)
        points["rejection sampling"] = measured(imitator, 10_000 + seed)[0]
    curves = [al.best_of_n_curve(score[None], values[None])[0] for values in (score, gold)]
    found["best"] = [[curve[n - 1].item() for curve in curves] for n in NUMBERS]
    if seed < 3:
        points["PPO"] = ppo(seed)
    if seed < FEW:
        found["path"] = {f"{beta:g}": path(seed, pairs, beta) for beta in BETAS}
    return found | {"points": points, "right": before["right"], "judge": judged(seed, drawn, texts)}


def judged(seed, drawn, texts) -> dict:
    """The judge's agreement by principle; on three seeds also DPO by one principle."""
    judge = al.Judge(
        STORIES.model,
        STORIES.tokenizer,
        al.judgements(800, seed=seed, principles=al.written_principles()),
        separator=END,
    )
    cases = al.judgements(400, seed=100 + seed, principles=al.written_principles(), split="evaluation")
    cases = [case for case in cases if len(STORIES.tokenizer.encode(case.story)) < 256]
    right = judge.agreement(cases).tolist()
    found = {"all": sum(right) / len(right), "each": {}}
    for each in al.written_principles():
        answers = [answer for case, answer in zip(cases, right, strict=True) if case.principle == each]
        found["each"][each.text] = sum(answers) / len(answers)
    if seed < 3:
        odds = judge.log_odds(KIND, texts)
        policy = fine_tuned(al.direct_batch(pairs_of(drawn, odds), STORIES.model), seed, al.dpo_objective(beta=0.1))
        ends, ids = measured(policy, 50_000 + seed)
        after = [decode(row) for row in ids]
        kind = [sum(al.told(text)["kindness"] == {"kind"} for text in each) / len(each) for each in (texts, after)]
        says = [(each > 0).double().mean().item() for each in (odds, judge.log_odds(KIND, after))]
        found["rlaif"] = [*kind, *says, ends[2], ends[0]]
    return found


def answers(model, num_each, seed) -> dict:
    """Held-out sums answered: how many right of each, the share that shows its work, tokens an answer."""
    prompts = [[ADDER.separator, *ADDER.tokenizer.encode(problem)] for problem in HELD_OUT]
    rollout = al.sample_completions(
        model, prompts, num_each=num_each, max_new_tokens=48, stop_tokens=[ADDER.separator],
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    texts = [spell(ids) for ids in rollout.lists()]
    right = torch.tensor([verify(HELD_OUT[i // num_each], text) for i, text in enumerate(texts)]).view(-1, num_each)
    entropy = -rollout.log_probs.sum() / rollout.mask.sum()
    return {
        "right": right, "worked": sum("Answer:" in text for text in texts) / len(texts),
        "tokens": rollout.lengths.double().mean().item(), "entropy": entropy.item(), "clipped": 0.0,
    }  # fmt: skip


def finished(model, seed) -> dict:
    """The same with pass@k from 16 answers."""
    table = answers(model, 16, seed)
    right = table.pop("right").sum(1)
    return table | {"pass": [al.pass_at_k(right, 16, k).mean().item() for k in KS]}


def adding(seed, name) -> dict:
    """One run on sums; `before` and `rejection` train nothing, and on right answers of the untrained model."""
    model, prompts = copy.deepcopy(ADDER.model), [[ADDER.separator, *ADDER.tokenizer.encode(text)] for text in TRAINING]
    if name == "before":
        return finished(model, seed)
    given, differs, _ = SUMS.get(name, ({}, {}, 0))
    stream = al.GroupStream(
        model, prompts, al.verified_reward(TRAINING, verify, decode=spell), max_new_tokens=48,
        stop_tokens=[ADDER.separator], generator=torch.Generator().manual_seed(seed), **given,
    )  # fmt: skip
    rate = 1e-4 if name == "rejection" else 5e-5 if "batch_size" in given else 2e-4
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    if name == "rejection":
        asked, written = [], []
        for _ in zip(range(GRPO_UPDATES), stream, strict=False):  # nothing is trained between the draws
            texts, good = stream.rollout.lists(), stream.reward(stream.rollout).bool()
            asked += [prompts[i] for i in stream.rollout.prompt_indices[good].tolist()]
            written += [text for text, fine in zip(texts, good.tolist(), strict=True) if fine]
        run = Run(model, likelihood, optimizer, max_grad_norm=1.0)
        batches = Batches(tuple(al.pack_completions(asked, written)), batch_size=64, seed=seed)
        steps = 2 * len(asked) // 64
    else:
        steps = GRPO_UPDATES * (8 if "batch_size" in given else 1)
        falling = partial(warmup_linear, total=steps, warmup=3)
        run = Run(model, al.grpo_objective(**differs), optimizer, schedule=falling, max_grad_norm=1.0)
        batches = stream
    seen, clipped = [], []
    for step in train(run, batches, steps=steps):
        if name != "rejection":
            clipped.append(step.values()["clip_fraction"])
        if name == "GRPO" and step.index % EVERY == 0:
            table = answers(model, 4, step.index)
            seen.append([table["right"].double().mean().item(), table["worked"]])
    return finished(model, seed) | {"seen": seen, "clipped": float(sum(clipped)) / max(1, len(clipped))}


def experiment(seed: int) -> dict:
    """Everything once."""
    torch.set_num_threads(1)
    found = kept(f"{seed} stories", lambda: stories(seed))
    names = [
        "before",
        *(["rejection"] if seed < FEW else []),
        *(name for name, (*_, num) in SUMS.items() if seed < num),
    ]
    added = {name: kept(f"{seed} {name}", lambda name=name: adding(seed, name)) for name in names}
    gold = found["points"]["before"][2], found["points"]["DPO"][2]
    return {
        "dpo-gold": gold[1] - gold[0],
        "best4-over-dpo": found["best"][NUMBERS.index(4)][1] - gold[1],
        "judge-agreement": found["judge"]["all"],
        "grpo-gain": added["GRPO"]["pass"][0] - added["before"]["pass"][0],
        "pass16-change": added["GRPO"]["pass"][-1] - added["before"]["pass"][-1],
        "series": {"sums": added, "path": found.get("path", {})}
        | {k: found[k] for k in ("points", "best", "right", "judge")},
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)

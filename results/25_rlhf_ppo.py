"""Notebook 25 over eight seeds: PPO on a story model with and without a KL penalty, best-of-n, the price of length."""

import copy
import json
import os
from pathlib import Path
from typing import NamedTuple

import torch

from course_lib import zoo
from course_lib.alignment import (
    CompletionStream,
    KLController,
    PolicyAndValue,
    TokenRollout,
    best_of_n_curve,
    pack_completions,
    sample_completions,
    score_packed,
    sequence_log_probs,
    story_taste,
    token_ppo_objective,
)
from course_lib.data import tales
from course_lib.data.tales import grade
from course_lib.loops import Run, train
from course_lib.notebook.results import Claim, record

PRICE = 0.032  # of a word in the reward model, as its card states it
NUMBERS = (1, 2, 4, 8, 16, 32, 64)


class Setting(NamedTuple):
    """One way to run PPO. The first two carry claims and run over all seeds, the others over the first few."""

    beta: float
    seeds: int = 2
    rollouts: int = 16
    price: float = 0.0  # of a word, taken off the score
    reward: str = "proxy"  # "gold": the control whose reward is the gold reward itself, in log-odds as the proxy
    critic: float = 0.0  # weight of the critic's error, whose gradient goes through the policy's layers
    target: float | None = None  # KL in nats a story that the coefficient is steered to
    late: int = 0  # how many rollouts old the stories are


SETTINGS = {
    "0": Setting(0.0, seeds=8, rollouts=20),
    "0.1": Setting(0.1, seeds=8, rollouts=20),
    "gold": Setting(0.0, seeds=3, rollouts=20, reward="gold"),
    "gold, critic on the policy": Setting(0.0, seeds=3, reward="gold", critic=0.1),
    "0.03": Setting(0.03),
    "0.3": Setting(0.3),
    "0 fair": Setting(0.0, price=PRICE),
    "target 5": Setting(0.1, target=5.0),
    "0.1 late": Setting(0.1, late=4),
}

CLAIMS = (
    Claim("proxy-rise", "proxy reward without a penalty, rollouts 17 to 20 minus rollouts 1 and 2", above=0.0),
    Claim("gold-fall", "gold reward without a penalty, rollouts 5 to 13 minus rollouts 17 to 20"),
    Claim("kl-free", "KL in nats a story without a penalty, mean of rollouts 17 to 20", limits=(0, float("inf"))),
    Claim("bestofn-words", "words of the best of 16 stories by the reward model minus the mean story's", above=0.0),
    Claim("cure", "gold reward of the best of 16, with the price of length taken off minus without", above=0.0),
    Claim("tax", "nats a token on held-out tales, after 20 rollouts without a penalty minus before", above=0.0),
)

STORIES, JUDGE = zoo.load("stories"), zoo.load_reward_model("stories_reward")
END = STORIES.separator


def kept(name, make):
    """Return what `make` gives; with COURSE_KEPT_RUNS set to a folder, from there if it was made before."""
    if not (folder := os.environ.get("COURSE_KEPT_RUNS")):
        return make()
    path = Path(folder) / f"25_{name.replace(' ', '_')}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_text(json.dumps(make()), encoding="utf-8")
        path.with_suffix(".part").rename(path)
    return json.loads(path.read_text(encoding="utf-8"))


def texts_of(rollout: TokenRollout) -> list[str]:
    """The stories, without their end mark."""
    return [STORIES.tokenizer.decode(row, skip_special=True) for row in rollout.lists()]


def words_of(texts) -> torch.Tensor:
    """Words of each text."""
    return torch.tensor([float(len(text.split())) for text in texts])


@torch.no_grad()
def nats(policy) -> float:
    """Nats a token on 200 tales that no training has seen."""
    held = tales(200, seed=25, split="evaluation")
    rows = pack_completions([[END]] * 200, [[*STORIES.tokenizer.encode(tale.text), END] for tale in held])
    return (-sequence_log_probs(policy.eval(), *rows).sum() / rows.mask.sum()).item()


def ppo(seed: int, how: Setting) -> dict:
    """One run: a row of numbers for each rollout, loss on held-out tales at the end, a story of the last rollout."""
    words, whole, right, last = [], [], [], []

    def score(rollout):
        if how.reward == "gold":
            return 2 * story_taste(texts_of(rollout)).float()
        rewards = score_packed(JUDGE.model, rollout.tokens, rollout.mask)
        return rewards - how.price * (words_of(texts_of(rollout)) - 84)

    def gold(rollout):
        last[:] = texts = texts_of(rollout)
        grades = [grade(text) for text in texts]
        words.append(words_of(texts).mean().item())
        whole.append(sum(each.tale is not None for each in grades) / len(texts))
        right.append(sum(each.share for each in grades) / len(texts))
        return story_taste(texts)

    model = PolicyAndValue(copy.deepcopy(STORIES.model))
    stream = CompletionStream(
        model, [[END]], score, gold=gold, reference=STORIES.model,
        kl=KLController(how.beta, target=how.target, gain=1.0),
        max_new_tokens=150, stop_tokens=[END], num_completions=32, batch_size=16, epochs=2, lam=1.0,
        staleness=how.late, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.0)
    objective = token_ppo_objective(value_coefficient=how.critic)
    run = Run(model, objective, optimizer, schedule=lambda k: min(1.0, (k + 1) / 4), max_grad_norm=1.0)
    for _ in train(run, stream, steps=4 * how.rollouts):
        pass
    columns = {"words": words, "whole": whole, "right": right}
    for name in ("reward", "gold", "kl", "finished", "entropy", "kl_coefficient"):
        columns[name] = stream.column(name)
    rows = {name: [round(float(value), 4) for value in column] for name, column in columns.items()}
    return rows | {"held": nats(model.policy), "after": last[0]}


def best_of(seed: int) -> dict:
    """Best-of-n from 512 stories: by the reward model, and with the price of length taken off."""
    g = torch.Generator().manual_seed(seed)
    proxy, texts = [], []
    for _ in range(8):
        rollout = sample_completions(STORIES.model, [[END]] * 64, max_new_tokens=200, stop_tokens=[END], generator=g)
        proxy.append(score_packed(JUDGE.model, rollout.tokens, rollout.mask).double())
        texts += texts_of(rollout)
    rewards, words, gold = torch.cat(proxy), words_of(texts).double(), story_taste(texts)
    fair, found = rewards - PRICE * (words - words.mean()), {"before": texts[0]}
    for name, reward, worth in (
        ("proxy", rewards, rewards), ("gold", rewards, gold), ("words", rewards, words),
        ("fair gold", fair, gold), ("fair words", fair, words),
    ):  # fmt: skip
        curve = best_of_n_curve(reward[None], worth[None])[0]
        found[name] = [round(curve[n - 1].item(), 4) for n in NUMBERS]
    return found


def experiment(seed: int) -> dict:
    """Everything once."""
    torch.set_num_threads(1)
    runs = {}
    for name, how in SETTINGS.items():
        if seed < how.seeds:
            runs[name] = kept(f"{seed}_{name}", lambda chosen=how: ppo(seed, chosen))
            print(f"  seed {seed}, {name}: last gold {runs[name]['gold'][-1]:.2f}", flush=True)
    best = kept(f"{seed}_best", lambda: best_of(seed))
    mean = lambda column, first, end: sum(runs["0"][column][first:end]) / (end - first)  # noqa: E731
    sixteen = NUMBERS.index(16)
    # Points of the plane of KL and reward, each the mean of four rollouts (128 stories): [KL, proxy, gold].
    plane = {
        name: [
            [round(sum(run[column][k : k + 4]) / 4, 4) for column in ("kl", "reward", "gold")]
            for k in range(0, len(run["kl"]), 4)
        ]
        for name, run in runs.items()
    }
    return {
        "proxy-rise": mean("reward", 16, 20) - mean("reward", 0, 2),
        "gold-fall": mean("gold", 4, 13) - mean("gold", 16, 20),
        "kl-free": mean("kl", 16, 20),
        "bestofn-words": best["words"][sixteen] - best["words"][0],
        "cure": best["fair gold"][sixteen] - best["gold"][sixteen],
        "tax": runs["0"]["held"] - nats(STORIES.model),
        "series": {
            "runs": runs,
            "plane": plane,
            "best": best,
            "samples": {"before": best["before"], "after": runs["0"]["after"]},
        },
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)

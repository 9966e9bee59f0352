"""Notebook 24 over eight seeds: SFT, reward models, raters; over three: sloppy demonstrations, refusals, voices."""

import copy
import random
import re
import warnings

import numpy as np
import torch
from torch import nn

from course_lib.alignment import (
    Chat,
    ChatTemplate,
    RefusalRule,
    RewardModel,
    SimulatedRater,
    annotate,
    bradley_terry,
    chat_batch,
    cohen_kappa,
    completion_features,
    count_refusals,
    dawid_skene,
    demonstrations,
    fleiss_kappa,
    follows,
    forbidden_requests,
    length_slope,
    majority_vote,
    near_requests,
    pack_chats,
    refusal_demonstrations,
    reward_calibration,
    story_instructions,
    story_taste,
    style_of,
)
from course_lib.data import Batches, tales
from course_lib.loops import Loss, Run, next_token, train
from course_lib.nn.transformer import grow_vocabulary
from course_lib.notebook.results import Claim, record
from course_lib.zoo import load

ASKED, NUM_DEMOS, STEPS, REFUSALS, SWEEP_SEEDS = 32, 560, 40, 40, 3
TRAIN, TEST, L2 = 768, 256, 30.0
SIZES, NOISES, BIASES = (64, 512, 4096), (0.1, 0.5, 1.0), (0.0, 0.02, 0.04)

CLAIMS = (
    Claim("follow-before", "share of what was asked for that the base model's story happens to have", limits=(0, 1)),
    Claim("follow-gain", "share of what was asked for, after minus before SFT", above=0.0),
    Claim("hero-after", "stories about the hero asked for, after SFT", limits=(0, 1)),
    Claim("reward-accuracy", "agreement with the rater, 4,096 comparisons, noise 0.5", limits=(0, 1)),
    Claim("reward-ceiling", "the rater's ceiling on the same pairs", limits=(0, 1)),
    Claim("reward-gain", "agreement with the rater, 4,096 minus 64 comparisons", above=0.0),
    Claim("calibration", "calibration error of the reward model, 4,096 comparisons, noise 0.5", limits=(0, 1)),
    Claim("bias-found", "taste a word found for 0.04 planted, minus that of an unbiased rater", above=0.0),
    Claim("cure-price", "taste a word found for 0.04 planted, minus that found with length set aside", above=0.0),
    Claim("cure-order", "pairs in the order of gold for 0.04 planted, length set aside minus not", above=0.0),
    Claim("kappa-careful", "Cohen's kappa between careful raters", limits=(-1, 1)),
    Claim("dawid-skene-gain", "labels right, Dawid-Skene minus majority of seven raters", above=0.0),
)

base, stories_sft = load("stories"), load("stories_sft")
template, rule = ChatTemplate(), RefusalRule("fox")
tokenizer = base.tokenizer.with_special(template.marks)
warnings.filterwarnings("ignore", message=".*cut.*")  # of conversations and replies that are cut on purpose


def base_with_marks(seed):
    """The base model with four more tokens, each a noisy copy of its end of text; the end mark an exact one."""
    g = torch.Generator().manual_seed(seed)
    model = grow_vocabulary(base.model, 4, generator=g)
    with torch.no_grad():
        rows = model.embedding.weight
        for name in template.marks:
            noise = 0.3 * rows[: base.tokenizer.vocab_size].std() * torch.randn(rows.shape[1], generator=g)
            rows[tokenizer.special[name]] = rows[base.separator] + (0.0 if name == template.end else noise)
    return model


def tune(model, examples, *, steps, rows, seed, packed=True):
    """SFT of a copy: AdamW at 1e-3, five steps of warmup, then down to nothing."""
    model = copy.deepcopy(model).train()
    batch = chat_batch(pack_chats(examples, length=256, seed=seed), length=256) if packed else examples
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    run = Run(model, next_token, optimizer, schedule=lambda s: min(1, (s + 1) / 5) * (1 - s / steps), max_grad_norm=1.0)
    for _ in train(run, Batches(batch, batch_size=rows, seed=seed), steps=steps):
        pass
    return model.eval()


def encoded(conversations, tokenizer):
    """Conversations as tokens with their masks."""
    return [template.encode(tokenizer, conversation) for conversation in conversations]


def mismatched(conversations, share):
    """The same requests, the first so many answered with the story of the next request."""
    wrong, answers = round(share * len(conversations)), [conversation[-1] for conversation in conversations]
    moved = [answers[(k + 1) % wrong] if k < wrong else answer for k, answer in enumerate(answers)]
    return [[conversation[0], answer] for conversation, answer in zip(conversations, moved, strict=True)]


def measured(model, tokenizer, requests, seed):
    """Share of what was asked for, whole tales, and the share met of each attribute."""
    replies = Chat(model, tokenizer).reply([request.text for request in requests], seed=seed)
    found = [follows(reply, request) for reply, request in zip(replies, requests, strict=True)]
    met, missed = ([name for each in found for name in getattr(each, kind)] for kind in ("met", "missed"))
    by = [met.count(n) / (met.count(n) + missed.count(n)) for n in ("hero", "wish", "kindness", "ending", "length")]
    return [float(np.mean([each.share for each in found])), float(np.mean([each.whole for each in found])), *by]


def sft_experiment(seed):
    """Following before and after; on the first seeds other amounts and qualities of demonstrations."""
    requests = story_instructions(ASKED, seed=100 + seed, split="evaluation")
    start, demos = base_with_marks(seed), demonstrations(NUM_DEMOS, seed=seed)
    kinds = [demos]
    if seed < SWEEP_SEEDS:
        kinds += [demos[:64], mismatched(demos, 0.5)]
    before = measured(start, tokenizer, requests, seed)
    after = [
        measured(tune(start, encoded(kind, tokenizer), steps=STEPS, rows=4, seed=seed), tokenizer, requests, seed)
        for kind in kinds
    ]
    claims = {"follow-before": before[0], "follow-gain": after[0][0] - before[0], "hero-after": after[0][2]}
    shipped = measured(stories_sft.model, stories_sft.tokenizer, requests, seed) if seed < SWEEP_SEEDS else []
    return claims, {"before": before, "after": after[0], "quality": after[1:], "shipped": shipped}


def refusal_experiment(seed):
    """Forbidden, near and ordinary requests refused, without and with near ones among the demonstrations."""
    if seed >= SWEEP_SEEDS:
        return {}, {"refusals": []}
    kinds = (
        forbidden_requests(REFUSALS, seed=200 + seed, rule=rule, split="evaluation"),
        near_requests(REFUSALS, seed=300 + seed, rule=rule, split="evaluation"),
        [r for r in story_instructions(80, seed=400 + seed, split="evaluation") if not rule.forbids(r)][:REFUSALS],
    )
    ordinary, rates = [d for d in demonstrations(260, seed=500 + seed) if "fox" not in d[0]["content"]][:240], []
    for near in (0, 120):
        lessons = encoded(refusal_demonstrations(120, near, seed=seed, rule=rule) + ordinary, stories_sft.tokenizer)
        batch = chat_batch(lessons, length=48, truncate=True)
        model = tune(stories_sft.model, batch, steps=80, rows=12, seed=seed, packed=False)
        asked = [request.text for kind in kinds for request in kind]
        replies = Chat(model, stories_sft.tokenizer).reply(asked, max_new_tokens=24, seed=seed)
        parts = [replies[k * REFUSALS : (k + 1) * REFUSALS] for k in range(3)]
        counts = [count_refusals(part, kind, rule=rule) for part, kind in zip(parts, kinds, strict=True)]
        rates.append([counts[0].refusal_rate, counts[1].over_refusal_rate, counts[2].over_refusal_rate])
    return {}, {"refusals": rates}


def voice_experiment(seed):
    """Two fine-tunes of one model on the same stories in two voices: how each begins, and who a program says it is."""
    texts = [request.text for request in story_instructions(16, seed=600 + seed, split="evaluation")]
    begins = {"sailor": ("Ahoy", "Gather round the mast"), "grandmother": ("Come closer", "Sit down", "Hush now")}
    opened, told = [], []
    if seed >= SWEEP_SEEDS:
        return {}, {"voices": []}
    for style, openings in begins.items():
        lessons = encoded(demonstrations(300, seed=700 + seed, style=style), stories_sft.tokenizer)
        model = tune(stories_sft.model, lessons, steps=45, rows=4, seed=seed)
        replies = Chat(model, stories_sft.tokenizer).reply(texts, seed=seed)
        opened.append(float(np.mean([reply.startswith(openings) for reply in replies])))
        named = [style_of(reply) for reply in replies]
        told.append([named.count(name) / len(named) for name in ("sailor", "grandmother", "plain", None)])
    return {}, {"voices": [opened, told]}


def drafts(num, *, seed, split="train"):
    """Stories of which a third each has none, a tenth, a fifth of its sentences taken from another story."""
    rng = random.Random(seed)
    told = [re.findall(r"[^.?!]*[.?!]+\"?(?:\s|$)", tale.text) for tale in tales(num, seed=seed, split=split)]
    texts = []
    for parts in told:
        share = rng.choice((0.0, 0.1, 0.2))
        kept = [rng.choice(rng.choice(told)) if rng.random() < share else part for part in parts]
        texts.append(" ".join(part.strip() for part in kept))
    return texts


def features_of(texts):
    """The base model's hidden states averaged over each text, standardised by the training texts."""
    ids = [[*base.tokenizer.encode(text), base.separator] for text in texts]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))  # alike in length: little padding
    model = RewardModel(base.model, pooling="mean")
    found = torch.empty(len(ids), base.model.config.width)
    found[order] = completion_features(model, [[base.separator]] * len(ids), [ids[row] for row in order])
    return ((found - found[:TRAIN].mean(0)) / found[:TRAIN].std(0)).double()


def comparisons(worth, rows, num, seed):
    """Pairs of stories, the winner first, and the rater's probability of that answer."""
    g = torch.Generator().manual_seed(seed)
    first, second = torch.randint(rows.start, rows.stop, (2, num), generator=g)
    first, second = first[first != second], second[first != second]
    p = (worth[first] - worth[second]).sigmoid()
    won = torch.rand(len(p), generator=g, dtype=torch.float64) < p
    return torch.where(won, first, second), torch.where(won, second, first), torch.where(won, p, 1 - p)


def learn_rewards(features, chosen, rejected, steps=150, aside=None):
    """A linear head by Bradley-Terry, with a ridge; its rewards for all texts, without what `aside` explains."""
    num = features.shape[1]
    if aside is not None:  # one more column while learning
        features = torch.cat([features, aside[:, None]], dim=1)
    head = nn.Linear(features.shape[1], 1, bias=False).double()
    nn.init.zeros_(head.weight)

    def objective(model, batch):
        loss = bradley_terry(model(batch[0])[:, 0], model(batch[1])[:, 0], reduction="sum")
        return Loss(loss + L2 * model.weight[:, :num].square().sum(), len(batch[0]))

    run = Run(head, objective, torch.optim.Adam(head.parameters(), lr=0.03), schedule=lambda step: 1 - step / steps)
    for _ in train(run, [(features[chosen], features[rejected])] * steps, steps=steps):
        pass
    return (features[:, :num] @ head.weight[0, :num]).detach()


def right_order(rewards, gold, rows):
    """Share of all pairs of unequal gold that the rewards put in the right order."""
    r, g = rewards[rows.start : rows.stop], gold[rows.start : rows.stop]
    r, g = r[:, None] - r, g[:, None] - g
    return ((r * g) > 0)[g != 0].double().mean().item()


def reward_experiment(seed):
    """Comparisons and noise swept, calibration, length bias, and seven raters who disagree."""
    texts = drafts(TRAIN, seed=800 + seed) + drafts(TEST, seed=900 + seed, split="evaluation")
    seen, new = range(TRAIN), range(TRAIN, TRAIN + TEST)
    features, gold = features_of(texts), story_taste(texts)
    words = torch.tensor([float(len(text.split())) for text in texts], dtype=torch.float64)
    table, ceilings, curve = [], [], []
    for noise in NOISES:
        worth = SimulatedRater(story_taste, temperature=noise).worth(texts)
        test = comparisons(worth, new, 4096, 1000 + seed)
        ceilings.append(torch.maximum(test[2], 1 - test[2]).mean().item())
        for num in SIZES:
            rewards = learn_rewards(features, *comparisons(worth, seen, num, seed)[:2])
            known = torch.where(rewards[test[0]] > rewards[test[1]], test[2], 1 - test[2]).mean().item()
            found = reward_calibration(rewards[test[0]], rewards[test[1]], probability=test[2])
            table.append([noise, num, known, right_order(rewards, gold, new), found.error])
            if (noise, num) == (0.5, 4096):
                curve = [found.claimed.tolist(), found.observed.tolist(), found.count.tolist()]
    slopes, lengths = [], (words - 85) / 20  # nearly standardised
    for bias, aside in (*((bias, None) for bias in BIASES), (BIASES[-1], lengths)):
        worth = SimulatedRater(story_taste, temperature=0.5, length_bias=bias).worth(texts)
        rewards = learn_rewards(features, *comparisons(worth, seen, 4096, seed)[:2], aside=aside)
        r, w, g = (values[TRAIN:] for values in (rewards, words, gold))
        price = length_slope(r, w, given=g) / length_slope(r, g, given=w)
        slopes.append([bias, price, right_order(rewards, gold, new)])
    at = {(noise, num): (accuracy, error) for noise, num, accuracy, _, error in table}
    claims = {"reward-accuracy": at[0.5, 4096][0], "reward-ceiling": ceilings[1], "calibration": at[0.5, 4096][1]}
    claims |= {"reward-gain": at[0.5, 4096][0] - at[0.5, 64][0], "bias-found": slopes[2][1] - slopes[0][1]}
    claims |= {"cure-price": slopes[2][1] - slopes[3][1], "cure-order": slopes[3][2] - slopes[2][2]}
    more, raters = annotator_experiment(texts, gold, features, new, seed)
    return claims | more, {"rewards": table, "ceilings": ceilings, "curve": curve, "slopes": slopes, "raters": raters}


def annotator_experiment(texts, gold, features, new, seed):
    """Three careful and four careless raters on 1,000 pairs: agreement, majority, Dawid-Skene, and what they cost."""
    g = torch.Generator().manual_seed(1100 + seed)
    first, second = torch.randint(TRAIN, (2, 1000), generator=g)
    first, second = first[gold[first] != gold[second]], second[gold[first] != gold[second]]
    truth = (gold[first] > gold[second]).long()
    one, other = [texts[row] for row in first], [texts[row] for row in second]

    def crew(bias=0.0):
        careful = [SimulatedRater(story_taste, temperature=t, length_bias=bias) for t in (0.4, 0.5, 0.6)]
        careless = SimulatedRater(story_taste, temperature=0.5, lapse_rate=0.8, length_bias=bias)
        return annotate([*careful, *[careless] * 4], one, other, generator=g)

    def right(guess):
        return (guess == truth).double().mean().item()

    labels, order = crew(), [0, 3, 1, 4, 2, 5, 6]
    alone, majority = [right(column) for column in labels.T], right(majority_vote(labels))
    skilled, kinds = right(dawid_skene(labels).labels), (((0, 1), (0, 2), (1, 2)), ((3, 4), (5, 6)))
    pairs = [[cohen_kappa(labels[:, i], labels[:, j]) for i, j in kind] for kind in kinds]
    kappas = [float(np.mean(pairs[0])), float(np.mean(pairs[1])), fleiss_kappa(labels)]
    price = [right(majority_vote(labels[:, order[:k]])) for k in (3, 5, 7)]
    fooled = [right(majority_vote(shared := crew(bias=0.04))), right(dawid_skene(shared).labels)]
    answers = (labels[:, 6], majority_vote(labels), dawid_skene(labels).labels, truth)
    learnt = [(torch.where(a == 1, first, second), torch.where(a == 1, second, first)) for a in answers]
    order_right = [right_order(learn_rewards(features, *pair), gold, new) for pair in learnt]
    series = {"alone": alone, "majority": majority, "dawid_skene": skilled, "kappas": kappas, "price": price}
    series |= {"shared_bias": fooled, "learnt": order_right}
    return {"kappa-careful": kappas[0], "dawid-skene-gain": skilled - majority}, series


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    found = [part(seed) for part in (reward_experiment, sft_experiment, refusal_experiment, voice_experiment)]
    claims, series = ({k: v for part in parts for k, v in part.items()} for parts in zip(*found, strict=True))
    return {**claims, "series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)

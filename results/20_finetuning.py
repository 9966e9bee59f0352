"""Notebook 20 over eight seeds: six ways to learn places from few labels, forgetting, rounding, soups, facts."""

import copy
import re
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.data import Batches, glyphs, mnist_small, tales
from course_lib.evaluation import linear_probe
from course_lib.loops import Run, classification, train
from course_lib.nn import adapters
from course_lib.nn.transformer import Transformer, softmax_attention
from course_lib.notebook.results import Claim, record
from course_lib.optim.schedules import warmup_cosine
from course_lib.zoo import load, load_classifier

LENGTH, LABELS, STEPS, BATCH, SWEEP_SEEDS = 24, 160, 40, 16, 3
METHODS = ("full", "lora", "adapters", "prompt", "features", "scratch")
RATES = {"full": 2e-3, "lora": 1e-2, "adapters": 1e-2, "prompt": 3e-2, "features": 3e-2, "scratch": 4e-3}
GRID = {name: [rate / 3, rate, 3 * rate] for name, rate in RATES.items()}  # tried on stories that no score comes from
PEOPLE, THINGS, WIDTH, FACTS, READ_STEPS = 400, 20, 64, 200, 250

CLAIMS = (
    Claim("shift-printed", "printed digits that the glyph classifier reads right", limits=(0, 1)),
    Claim("shift", "printed minus handwritten digits that the glyph classifier reads right", above=0.0),
    Claim("shift-probe", "20 labels a digit, handwritten: probe on its features minus probe on pixels"),
    Claim("full", "places right with 160 labels, full fine-tuning", limits=(0, 1)),
    Claim("lora", "places right with 160 labels, LoRA of rank 8", limits=(0, 1)),
    Claim("lora-gap", "places right with 160 labels, LoRA minus full fine-tuning"),
    Claim("features-gap", "places right with 160 labels, full fine-tuning minus a head on frozen features"),
    Claim("scratch-gap", "places right with 160 labels, full fine-tuning minus training from scratch", above=0.0),
    Claim("forget-full", "nats a token lost on stories, full fine-tuning", above=0.0),
    Claim("forget-lora", "nats a token lost on stories, LoRA left on", above=0.0),
    Claim("round-4", "nats a token lost on stories, weights rounded to 4 bits", above=0.0),
    Claim("round-2", "nats a token lost on stories, weights rounded to 2 bits", above=0.0),
    Claim("qlora-gap", "places right, LoRA on the base in 4 bits minus LoRA on the whole base"),
    Claim("soup", "places right, average of two full fine-tunes minus the mean of their scores"),
    Claim("facts-long", "200 facts asked, all of them in the prompt", limits=(0, 1)),
    Claim("facts-rag", "200 facts asked, the 4 that a coarse index finds in the prompt", limits=(0, 1)),
    Claim("facts-tuned", "200 facts asked, no prompt, fine-tuned on them", limits=(0, 1)),
    Claim("facts-stale", "changed facts, fine-tuned model with the new fact alone in the prompt", limits=(0, 1)),
    Claim("facts-sum", "100 + 100 facts: two fine-tunes' task vectors added to the base, both asked", limits=(0, 1)),
    Claim("facts-average", "100 + 100 facts: the two fine-tunes averaged, both asked", limits=(0, 1)),
)

zoo = load("stories")
PLACES = sorted({tale.place for tale in tales(2000, seed=0)})


def examples(stories):
    """The tokens after a story's first sentence, sentences that name the place left out; and the place."""
    rows, labels = [], []
    for tale in stories:
        later = re.findall(r"[^.?!]*[.?!]+\"?(?:\s|$)", tale.text)[1:]
        ids = zoo.tokenizer.encode(" " + " ".join(part.strip() for part in later if tale.place not in part))
        if len(ids) >= LENGTH:
            rows.append(ids[:LENGTH])
            labels.append(PLACES.index(tale.place))
    return torch.tensor(rows), torch.tensor(labels)


class PlaceModel(nn.Module):
    """The story model's hidden states, averaged over the tokens, and a new head of 16 places."""

    def __init__(self, transformer, *, prompt=None):
        super().__init__()
        self.transformer, self.prompt = transformer, prompt
        self.head = nn.Linear(transformer.config.width, len(PLACES))
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens):
        """Return logits of the places."""
        num = 0 if self.prompt is None else self.prompt.num_tokens
        tokens = tokens if self.prompt is None else self.prompt.prefixed(tokens)
        return self.head(self.transformer.hidden_states(tokens)[:, num:].mean(1))


def adapted(method, seed, *, rank=8, base=None):
    """A place model whose parameters of one method, and no others, will learn."""
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed)
    transformer = copy.deepcopy(base or zoo.model)
    if method == "scratch":
        transformer = Transformer(zoo.model.config, generator=g)
    prompt = adapters.PromptTuned(transformer, 8, generator=g) if method == "prompt" else None
    model = PlaceModel(transformer, prompt=prompt)
    if method == "features":
        adapters.freeze(model, train_also=["head"])
    elif method == "lora":
        adapters.add_lora(model, ["query", "value"], rank=rank, alpha=2 * rank, train_also=["head"], generator=g)
    elif method == "adapters":
        behind = ["attention.output", "feed_forward.down"]
        adapters.add_bottlenecks(model, behind, width=8, train_also=["head"], generator=g)
    return model


def learn(model, batches, *, rate, steps=STEPS):
    """AdamW over what requires gradients, a short warmup, a cosine down to zero."""
    optimizer = torch.optim.AdamW(adapters.trainable_parameters(model).values(), lr=rate, weight_decay=0.01)
    schedule = partial(warmup_cosine, total=steps, warmup=steps // 10, floor=0.0)
    for _ in train(Run(model, classification, optimizer, schedule=schedule), batches, steps=steps):
        pass
    return model.eval()


def taught(method, data, seed, *, rate=None, **options):
    """A place model after learning from labels by one method."""
    batches = Batches(tuple(data), batch_size=BATCH, seed=seed)
    return learn(adapted(method, seed, **options), batches, rate=rate or RATES[method])


@torch.no_grad()
def right(model, x, y) -> float:
    """Share of places named rightly."""
    return (torch.cat([model(part) for part in x.split(200)]).argmax(-1) == y).double().mean().item()


@torch.no_grad()
def story_loss(transformer, rows) -> float:
    """Nats a token on stories: the base's own task."""
    logits = transformer(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).item()


@torch.no_grad()
def rounded(transformer, bits: int, block: int = 64):
    """A copy whose matrices are rounded, 64 numbers at a time, to 2^bits levels spaced as a normal's quantiles."""
    transformer = copy.deepcopy(transformer)
    levels = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(2**bits) + 0.5) / 2**bits)
    levels = levels / levels.abs().max()
    for weight in (p for p in transformer.parameters() if p.ndim == 2):
        parts = weight.reshape(-1, block)
        scale = parts.abs().amax(1, keepdim=True)
        nearest = (parts / scale)[..., None].sub(levels).abs().argmin(-1)
        weight.copy_((levels[nearest] * scale).reshape(weight.shape))
    return transformer


def places_experiment(seed: int) -> tuple[dict, dict]:
    """Six methods with 160 labels; labels and ranks swept on the first seeds; forgetting; rounding; a soup."""
    x, y = examples(tales(1600, seed=1000 + seed))
    new = examples(tales(450, seed=2000 + seed, split="evaluation"))
    told = [zoo.tokenizer.encode(tale.text)[:80] for tale in tales(48, seed=3000 + seed, split="evaluation")]
    stories = torch.tensor([row for row in told if len(row) == 80][:24])
    some = x[:LABELS], y[:LABELS]
    before, full = story_loss(zoo.model, stories), None
    score, lost = {}, {}
    for method in METHODS:
        model = taught(method, some, seed)
        score[method] = right(model, *new)
        if method in ("full", "lora", "adapters"):
            lost[method] = story_loss(model.transformer, stories) - before
        full = model if method == "full" else full
    other = taught("full", (x[-LABELS:], y[-LABELS:]), seed + 1)
    ends, path, between = [full.state_dict(), other.state_dict()], [], adapted("full", seed).eval()
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        between.load_state_dict(adapters.average_weights(ends, weights=[1 - share, share]))
        path.append(right(between, *new))
    bits = {number: rounded(zoo.model, number) for number in (4, 3, 2)}
    steps_lost = {number: story_loss(model, stories) - before for number, model in bits.items()}
    qlora = right(taught("lora", some, seed, base=bits[4]), *new)
    labels, ranks = [], []
    if seed < SWEEP_SEEDS:
        for number in (40, 640):
            few = x[:number], y[:number]
            labels.append([right(taught(m, few, seed), *new) for m in METHODS])
        ranks = [right(taught("lora", some, seed, rank=rank), *new) for rank in (1, 32)]
    full_right, lora_right = score["full"], score["lora"]
    claims = {"full": full_right, "lora": lora_right, "lora-gap": lora_right - full_right}
    claims |= {f"{m}-gap": full_right - score[m] for m in ("features", "scratch")}
    claims |= {"forget-full": lost["full"], "forget-lora": lost["lora"]}
    claims |= {"round-4": steps_lost[4], "round-2": steps_lost[2], "qlora-gap": qlora - lora_right}
    claims |= {"soup": path[2] - (path[0] + path[-1]) / 2}
    commonest = (new[1] == some[1].mode().values).double().mean().item()
    series = {"scores": [*score.values()], "lost": [*lost.values()], "bits": [*steps_lost.values()]}
    series |= {"labels": labels, "ranks": ranks, "path": path, "tuning": tuning() if seed == 0 else []}
    return claims, series | {"commonest": commonest}


def tuning() -> list:
    """Each method's rates on stories that no score comes from: [method, rate, places right]."""
    valid = examples(tales(450, seed=102))
    some = [part[:LABELS] for part in examples(tales(240, seed=101))]
    tried = [(method, rate) for method, rates in GRID.items() for rate in rates]
    return [[method, rate, right(taught(method, some, 100, rate=rate), *valid)] for method, rate in tried]


def shift_experiment(seed: int) -> tuple[dict, dict]:
    """Digits printed and written: what a classifier of printed characters makes of them."""
    reader, found = load_classifier("glyph_classifier"), mnist_small()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(found)))
    x, y = found.x[order], found.y[order]
    new_x, new_y = x[:400], y[:400]
    printed = glyphs(400, seed=5000 + seed, characters="0123456789")
    known = [reader.logits(images)[:, :10].argmax(1) for images in (printed.images, new_x)]
    scores = [(known[0] == printed.characters).double().mean().item(), (known[1] == new_y).double().mean().item()]
    rows = torch.cat([(y[400:] == digit).nonzero()[:20, 0] + 400 for digit in range(10)])
    probe = linear_probe(reader.features(x[rows]), y[rows], reader.features(new_x), new_y, l2=0.1)
    pixels = linear_probe(x[rows].flatten(1), y[rows], new_x.flatten(1), new_y, l2=0.1)
    claims = {"shift-printed": scores[0], "shift": scores[0] - scores[1], "shift-probe": probe - pixels}
    return claims, {"shift": [*scores, probe, pixels]}


class Reader(nn.Module):
    """Answers a question about a person from facts in its prompt: one attention layer, and what it remembers."""

    def __init__(self):
        super().__init__()
        self.person, self.thing = nn.Embedding(PEOPLE, WIDTH), nn.Embedding(THINGS, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.answer = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, THINGS))
        self.nothing = nn.Parameter(torch.zeros(1, 1, WIDTH))

    def facts(self, facts):
        """Return one vector a fact."""
        return self.person(facts[..., 0]) + self.thing(facts[..., 1])

    def forward(self, question_and_facts):
        """Return logits of the things."""
        asked, facts = question_and_facts
        memory = torch.cat([self.nothing.expand(len(asked), 1, WIDTH), self.facts(facts)], 1)
        query = self.person(asked)[:, None]
        read, _ = softmax_attention(self.query(query)[:, None], self.key(memory)[:, None], self.value(memory)[:, None])
        return self.answer(torch.cat([query, read[:, 0]], -1)[:, 0])


def episodes(g, rows=128, num=16):
    """Questions about one of so many facts that were never seen before."""
    while True:
        people = torch.rand(rows, PEOPLE, generator=g).argsort(1)[:, :num]
        facts = torch.stack([people, torch.randint(THINGS, (rows, num), generator=g)], 2)
        one = facts[torch.arange(rows), torch.randint(num, (rows,), generator=g)]
        yield (one[:, 0], facts), one[:, 1]


def memorise(model, facts):
    """Fine-tune a copy on facts asked without a prompt."""
    batch = ((facts[:, 0], facts[:, None][:, :0]), facts[:, 1])
    return learn(copy.deepcopy(model), [batch] * 100, rate=3e-3, steps=100)


@torch.no_grad()
def answers(model, facts, prompt) -> float:
    """Share of facts answered rightly; ``prompt``: facts for each question, (N, k, 2)."""
    return (model((facts[:, 0], prompt)).argmax(1) == facts[:, 1]).double().mean().item()


@torch.no_grad()
def found_by_index(model, facts, k: int, g):
    """The k facts that are nearest to each question in a coarse index of 16 dimensions."""
    coarse = torch.randn(WIDTH, 16, generator=g)
    index = F.normalize(model.facts(facts) @ coarse, dim=1)
    nearest = (F.normalize(model.person(facts[:, 0]) @ coarse, dim=1) @ index.T).topk(k).indices
    return facts[nearest], (nearest == torch.arange(len(facts))[:, None]).any(1).double().mean().item()


def facts_experiment(seed: int) -> tuple[dict, dict]:
    """Two hundred facts by fine-tuning, by retrieval and by a long prompt; changed facts; two fine-tunes added."""
    g = torch.Generator().manual_seed(7000 + seed)
    torch.manual_seed(seed)
    model = learn(Reader(), episodes(torch.Generator().manual_seed(seed)), rate=3e-3, steps=READ_STEPS)
    facts = torch.stack([torch.randperm(PEOPLE, generator=g)[:FACTS], torch.randint(THINGS, (FACTS,), generator=g)], 1)
    none = facts[:, None][:, :0]
    found = [found_by_index(model, facts, k, torch.Generator().manual_seed(seed)) for k in (1, 4, 16)]
    retrieval = [[recall, answers(model, facts, prompt)] for prompt, recall in found]
    tuned = memorise(model, facts)
    fresh, truth = next(episodes(torch.Generator().manual_seed(9000 + seed), 500))
    with torch.no_grad():
        reads = [(m(fresh).argmax(1) == truth).double().mean().item() for m in (model, tuned)]
    changed = facts.clone()
    changed[:, 1] = (changed[:, 1] + 1 + torch.randint(THINGS - 1, (FACTS,), generator=g)) % THINGS
    halves = [memorise(model, part) for part in facts.split(FACTS // 2)]
    base, states = model.state_dict(), [half.state_dict() for half in halves]
    vectors, both = [adapters.task_vector(state, base) for state in states], copy.deepcopy(model)
    arithmetic = [[answers(half, part, none[: len(part)]) for part in facts.split(FACTS // 2)] for half in halves]
    for state in (adapters.average_weights(states), adapters.add_task_vectors(base, vectors)):
        both.load_state_dict(state)
        arithmetic.append([answers(both, part, none[: len(part)]) for part in facts.split(FACTS // 2)])
    everything = answers(model, facts, facts.expand(FACTS, FACTS, 2))
    claims = {"facts-long": everything, "facts-rag": retrieval[1][1], "facts-tuned": answers(tuned, facts, none)}
    claims |= {"facts-stale": answers(tuned, changed, changed[:, None])}
    claims |= {"facts-average": float(np.mean(arithmetic[2])), "facts-sum": float(np.mean(arithmetic[3]))}
    before = [answers(model, facts, none), answers(model, changed, changed[:, None])]
    return claims, {"retrieval": retrieval, "reads": reads, "arithmetic": arithmetic, "closed": before}


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    found = [part(seed) for part in (shift_experiment, facts_experiment, places_experiment)]
    claims, series = ({k: v for part in parts for k, v in part.items()} for parts in zip(*found, strict=True))
    return {**claims, "series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)

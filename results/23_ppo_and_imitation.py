"""Notebook 23 over eight seeds: PPO and its rivals, its settings, cloning, DAgger, offline learning, a world model."""

import dataclasses
import functools

import gymnasium
import numpy as np
import torch
from torch import nn

from course_lib.notebook.results import Claim, record
from course_lib.rl import (
    MDP,
    ActorCritic,
    Collector,
    GridWorld,
    Transitions,
    actor_critic,
    actor_critic_for,
    clone,
    cql,
    demonstrations,
    evaluate_policy,
    gridworld,
    improve,
    join_transitions,
    make_envs,
    policy_batch,
    policy_values,
    ppo,
    ppo_objective,
    reinforce,
    value_iteration,
)
from course_lib.rl.training import Progress, adam_run

ENV, FAR, FAST = "CartPole-v1", 10_000, "vector_entry_point"
STEPS, SHORT = 50_000, 16_000  # of the comparison, of the ablations
FEW = 3  # how many seeds the small ablations get
GRID = np.linspace(2_000, STEPS, 40)
WHOLE = {"max_grad_norm": 1e9}  # gradients are not cut
METHODS = {  # each at its own learning rate, found on other seeds
    "PPO": (ppo, {"learning_rate": 5e-3}),
    "REINFORCE": (reinforce, {"learning_rate": 1e-2, **WHOLE}),
    "actor-critic": (actor_critic, {"learning_rate": 5e-3, **WHOLE}),
}
VARIANTS = {"default": {}, "1 epoch": {"epochs": 1}, "lambda 0": {"lam": 0.0}}
DETAILS = {
    "15 epochs": {"epochs": 15},
    "15 epochs, no clipping": {"epochs": 15, "clip": 1e6},
    "no clipping": {"clip": 1e6},
    "lambda 1": {"lam": 1.0},
    "advantages not normalised": {"normalise": None},
    "torch's initialisation": {"orthogonal": False},
    "clip 0.05": {"clip": 0.05},
    "constant learning rate": {"decay": False},
    "clipped value loss": {"value_clip": 0.2},
    "entropy bonus 0.01": {"entropy": 0.01},
    "reset steps kept": {"resets": True},
}
NUM_DEMONSTRATIONS = (1, 3, 10, 30, 100)
SINGLES, TRIES = 5, 3  # clones of one demonstration, and pairs of a clone of ten and a DAgger, behind one claim's value
WORLD = gridworld(
    ["S..#....", ".#.#.##.", ".#...#..", ".###.#.#", "...C...G"], slip=0.1, rewards={"G": 20.0, "C": -20.0}, gamma=0.95
)
WALKED = (100, 300, 1000, 3000)

CLAIMS = (
    Claim("ppo-area", "mean return of PPO's training on CartPole, averaged over 50,000 steps", limits=(0, 500)),
    Claim("over-reinforce", "that mean minus REINFORCE's with a baseline"),
    Claim("epochs", "mean return of 16,000 steps of training, 6 epochs minus 1 epoch", above=0.0),
    Claim("lambda", "mean return of 16,000 steps of training, lambda 0.95 minus lambda 0", above=0.0),
    Claim("critic-truncation", "value of the start, time limits as truncations minus as terminations", above=0.0),
    Claim(
        "demonstrations",
        "return of a clone of 100 short demonstrations minus the mean of five clones of 1",
        above=0.0,
        limits=(-500, 500),
    ),
    Claim("own-mistakes", "share of wrong actions of three clones of 10, own states minus the teacher's", above=0.0),
    Claim("dagger", "share of wrong actions on own states, three clones minus three DAggers of 250 labels", above=0.0),
)


def lean(seen: torch.Tensor) -> torch.Tensor:
    """The teacher: push to the side to which the pole leans and falls."""
    return (seen[:, 2] + seen[:, 3] > 0).long()


def score(policy, episodes=50) -> float:
    """Mean return of whole greedy episodes that no training has seen."""
    return evaluate_policy(policy, ENV, episodes=episodes, seed=FAR).mean


def curve(learned) -> list[float]:
    """Mean return of the last 20 episodes at 40 equally spaced numbers of steps."""
    rows = [(row["environment_steps"], row["mean_return"]) for row in learned.rows if row["mean_return"] > 0]
    return [round(float(value), 1) for value in np.interp(GRID, *zip(*rows, strict=True))]


def short_ppo(seed, *, clip=0.2, epochs=6, lam=0.95, normalise="minibatch", decay=True, value_clip=None,
              entropy=0.0, orthogonal=True, resets=False):  # fmt: skip
    """PPO from the library's parts, with one of them changed; returns the training's mean return and the policy's."""
    g = torch.Generator().manual_seed(seed)
    envs = make_envs(ENV, 8, vectorization=FAST)
    policy = actor_critic_for(envs, generator=g)
    if not orthogonal:
        torch.manual_seed(seed)
        for module in policy.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
    collector, progress, means = Collector(envs, seed=seed), Progress(SHORT, decay), []
    objective = ppo_objective(clip=clip, value_clip=value_clip, entropy_coefficient=entropy)
    run = adam_run(policy, objective, progress, 1e-3, 0.5, g)
    while collector.num_steps < SHORT:
        progress.played = collector.num_steps
        rollout = collector.collect(policy, 128, generator=g)
        if resets:
            rollout = dataclasses.replace(rollout, valid=torch.ones_like(rollout.valid))
        batch = policy_batch(policy, rollout, gamma=0.99, lam=lam)
        improve(run, batch, epochs=epochs, batch_size=128, generator=g, normalise=normalise)
        means.append(np.mean(collector.episode_returns[-20:]))
    envs.close()
    return float(np.mean(means)), score(policy)


def critic(seed: int, *, truncation: bool) -> float:
    """Train only the critic of the teacher under a time limit of 100; return its value of starts."""
    envs = make_envs(functools.partial(gymnasium.make, ENV, max_episode_steps=100), 8)
    policy = actor_critic_for(envs, generator=torch.Generator().manual_seed(seed))
    collector, g = Collector(envs, seed=seed), torch.Generator().manual_seed(seed)
    run = adam_run(policy, ppo_objective(), Progress(1, False), 3e-3, 100.0, g)
    for _ in range(20):
        rollout = collector.collect(lean, 128)
        if not truncation:
            rollout = dataclasses.replace(rollout, terminated=rollout.done, truncated=torch.zeros_like(rollout.done))
        improve(run, policy_batch(policy, rollout, gamma=0.99, lam=0.95), epochs=2, batch_size=128, generator=g)
    starts, _ = envs.reset(seed=FAR)
    envs.close()
    with torch.no_grad():
        return policy.values(torch.from_numpy(starts)).mean().item()


def wrong(pupil: ActorCritic, data: Transitions) -> float:
    """Share of the data's states on which the pupil and the teacher differ."""
    return (pupil.act(data.observations) != lean(data.observations)).double().mean().item()


def judged(pupil: ActorCritic, known: Transitions) -> tuple[float, float, float]:
    """Mean return; share of wrong actions on the teacher's states, and on the pupil's own."""
    met = demonstrations(pupil, ENV, episodes=50, seed=FAR)
    mean_return = sum(len(episode.rewards) for episode in met) / len(met)
    return mean_return, wrong(pupil, known), wrong(pupil, join_transitions(met))


def taught(seed: int, shown: list[Transitions], known: Transitions) -> tuple[float, float, float]:
    """A clone of these demonstrations, judged."""
    pupil = ActorCritic(4, 2, generator=torch.Generator().manual_seed(seed))
    clone(pupil, join_transitions(shown), steps=400, seed=seed)
    return judged(pupil, known)


def taught_by_dagger(seed: int, first: Transitions, play: int, known: Transitions) -> tuple[float, float, float]:
    """DAgger with 25 labels in each of ten rounds, of one demonstration and then of the pupil's own episodes."""
    pupil, g = ActorCritic(4, 2, generator=torch.Generator().manual_seed(seed)), torch.Generator().manual_seed(seed)
    gathered = [(first.observations, first.actions)]
    for number in range(10):
        data = Transitions(*map(torch.cat, zip(*gathered, strict=True)), *[None] * 3)
        clone(pupil, data, steps=40, seed=seed + number)
        (met,) = demonstrations(pupil, ENV, episodes=1, seed=play + number)
        asked = met.observations[torch.randperm(len(met.rewards), generator=g)[:25]]
        gathered.append((asked, lean(asked)))
    return judged(pupil, known)


def imitate(seed: int) -> dict[str, list[tuple[float, float, float]]]:
    """Clones of 1 to 100 demonstrations of 25 steps, and DAgger at the labels and updates of those of 10."""
    short = functools.partial(gymnasium.make, ENV, max_episode_steps=25)
    shown = demonstrations(lean, short, episodes=200, seed=1000 * seed)
    known, tens = join_transitions(shown[100:]), [shown[10 * k : 10 * k + 10] for k in range(TRIES)]
    numbers = [taught(seed, shown[:number], known) for number in NUM_DEMONSTRATIONS]
    return {
        "numbers": numbers,
        "singles": [numbers[0], *(taught(seed, [one], known) for one in shown[1:SINGLES])],
        "tens": [numbers[2], *(taught(seed, ten, known) for ten in tens[1:])],
        "daggers": [taught_by_dagger(seed, ten[0], 1000 * seed + 500 + 10 * k, known) for k, ten in enumerate(tens)],
    }


def often(teacher, share: float, g: torch.Generator):
    """Follow `teacher` with probability `share`, else act at random."""

    def act(seen):
        follows = torch.rand(len(seen), generator=g) < share
        return torch.where(follows, teacher(seen), torch.randint(2, (len(seen),), generator=g))

    return act


def offline(seed: int) -> dict[str, float]:
    """Cloning and Q-learning on two mixes of logged episodes, about half of the steps from a poor player."""
    g = torch.Generator().manual_seed(seed)
    good = demonstrations(often(lean, 0.5, g), ENV, episodes=20, seed=1000 * seed)
    random = demonstrations(often(lean, 0.0, g), ENV, episodes=100, seed=1000 * seed + 100)
    contrary = demonstrations(often(lambda seen: 1 - lean(seen), 0.5, g), ENV, episodes=200, seed=1000 * seed + 300)
    found = {}
    for name, episodes in (("random", good + random), ("contrary", good + contrary)):
        data, best = join_transitions(episodes), sorted(episodes, key=lambda episode: -len(episode.rewards))
        for how, part in (("cloning", data), ("cloning the best tenth", join_transitions(best[: len(best) // 10]))):
            pupil = ActorCritic(4, 2, generator=torch.Generator().manual_seed(seed))
            clone(pupil, part, steps=800, seed=seed)
            found[f"{name}: {how}"] = score(pupil)
        for how, alpha in (("Q-learning", 0.0), ("CQL", 1.0)):
            learned = cql(data, num_actions=2, steps=1000, seed=seed, conservative=alpha)
            found[f"{name}: {how}"] = score(learned.policy)
    return found


def walk(world: GridWorld, steps: int, seed: int) -> np.ndarray:
    """Rows of state, action, reward, next state of a random walk that starts anew at every end."""
    rng, mdp = np.random.default_rng([seed, 23]), world.mdp
    tables, start = mdp.transitions.numpy(), mdp.start.numpy()
    rows, state = [], int(rng.choice(len(start), p=start))
    for _ in range(steps):
        action = int(rng.integers(4))
        after = int(rng.choice(len(start), p=tables[state, action]))
        rows.append((state, action, float(mdp.rewards[state, action]), after))
        state = int(rng.choice(len(start), p=start)) if mdp.terminal[after] else after
    return np.array(rows)


def world_model(seed: int) -> dict[str, list[float]]:
    """True value of the start under policies learnt from 100 to 3,000 random steps, by planning and by Q-learning."""
    mdp, found = WORLD.mdp, {"planned": [], "once": [], "replayed": []}
    rows = walk(WORLD, max(WALKED), seed)
    for steps in WALKED:
        counts, rewards = torch.zeros_like(mdp.transitions), torch.full_like(mdp.rewards, -1.0)
        for s, a, reward, after in rows[:steps]:
            counts[int(s), int(a), int(after)] += 1
            rewards[int(s), int(a)] = reward
        unseen = counts.sum(-1) == 0  # what was never tried is taken to lead nowhere
        counts[unseen] = torch.eye(len(counts), dtype=counts.dtype).unsqueeze(1).expand_as(counts)[unseen]
        rewards[mdp.terminal] = 0.0
        tables = counts / counts.sum(-1, keepdim=True)
        model = MDP(tables, rewards, start=mdp.start, terminal=mdp.terminal, gamma=mdp.gamma)
        once = q_learning_on(rows[:steps], passes=1)
        policies = {"planned": value_iteration(model).policy, "once": once, "replayed": q_learning_on(rows[:steps], 50)}
        for name, policy in policies.items():
            found[name].append(float(policy_values(mdp, policy) @ mdp.start))
    return found


def q_learning_on(rows: np.ndarray, passes: int) -> torch.Tensor:
    """Greedy policy of Q-learning on logged steps, in their order, so many times."""
    q, ends = np.zeros(tuple(WORLD.mdp.rewards.shape)), WORLD.mdp.terminal.numpy()
    places = [(int(s), int(a), float(reward), int(after)) for s, a, reward, after in rows]
    for s, a, reward, after in places * passes:
        q[s, a] += 0.1 * (reward + WORLD.mdp.gamma * (not ends[after]) * q[after].max() - q[s, a])
    return torch.from_numpy(q.argmax(-1))


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    same = {"steps": STEPS, "seed": seed, "vectorization": FAST}
    learned = {name: how(ENV, **same, **options) for name, (how, options) in METHODS.items()}
    curves = {name: curve(each) for name, each in learned.items()}
    area = {name: float(np.mean(values)) for name, values in curves.items()}
    runs = {name: short_ppo(seed, **change) for name, change in VARIANTS.items()}
    small = {name: short_ppo(seed, **change) for name, change in DETAILS.items()} if seed < FEW else {}
    found, logs, worlds = imitate(seed), offline(seed), world_model(seed)
    _, on_teacher, on_own = zip(*found["tens"], strict=True)
    return {
        "ppo-area": area["PPO"],
        "over-reinforce": area["PPO"] - area["REINFORCE"],
        "epochs": runs["default"][0] - runs["1 epoch"][0],
        "lambda": runs["default"][0] - runs["lambda 0"][0],
        "critic-truncation": critic(seed, truncation=True) - critic(seed, truncation=False),
        "demonstrations": float(found["numbers"][-1][0] - np.mean([each[0] for each in found["singles"]])),
        "own-mistakes": float(np.mean(on_own) - np.mean(on_teacher)),
        "dagger": float(np.mean(on_own) - np.mean([each[2] for each in found["daggers"]])),
        "series": {
            "curves": curves,
            "final": {name: score(each.policy, 100) for name, each in learned.items()},
            "variants": runs,
            "details": small,
            "clones": found,
            "offline": logs,
            "worlds": worlds,
        },
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)

"""Learning from a teacher: demonstrations, behaviour cloning, and DAgger, where the pupil acts and is told."""

from __future__ import annotations

import torch
from torch import nn

from course_lib.data import Batches
from course_lib.loops import Run, train
from course_lib.loops.loss import Batch, Loss
from course_lib.rl.collector import Policy, choose, play_episodes
from course_lib.rl.environments import MakeEnv, make_envs
from course_lib.rl.evaluation import device_of
from course_lib.rl.policies import ActorCritic, actor_critic_for
from course_lib.rl.rollout import Transitions, join_transitions
from course_lib.rl.training import Learned, OnRow


def behaviour_cloning(model: nn.Module, batch: Batch) -> Loss:
    """Cross-entropy of the pupil's policy against what the teacher did: ``-log pi(action)``, summed over steps.

    Supervised learning, nothing else: it knows neither rewards nor where its own mistakes will lead.

    Args:
        model: Called as ``model(observations, actions)``, gives ``log_probs`` (an `ActorCritic`).
        batch: ``(observations, actions)``.

    Shape:
        - observations ``(B, ...)``; actions ``(B,)``, int64, or ``(B, A)``

    Returns:
        The summed loss in nats; per step ``log`` of the number of actions for a pupil that knows nothing, and the
        teacher's own entropy at best, 0 if it always does the same.

    Example:
        >>> loss = behaviour_cloning(ActorCritic(4, 2), (torch.zeros(10, 4), torch.zeros(10, dtype=torch.int64)))
        >>> loss.count, round(loss.total.item() / 10, 4)  # ln 2
        (10, 0.6931)

    Reference: Pomerleau 1988, ALVINN: An autonomous land vehicle in a neural network
    """
    observations, actions = batch
    log_probs = model(observations, actions).log_probs
    return Loss(-log_probs.sum(), len(log_probs))


def demonstrations(policy: Policy, env: MakeEnv, *, episodes: int, seed: int, greedy: bool = True) -> list[Transitions]:
    """Play whole episodes and return the transitions of each; join some or all with `join_transitions`.

    Args:
        policy: The teacher.
        env: As for `make_envs`.
        episodes: How many.
        seed: Episode ``i`` starts from the environment's ``reset(seed=seed + i)``.
        greedy: Whether the teacher takes its best action rather than one at random.

    Raises:
        ValueError: If ``episodes`` is less than 1.

    Example:
        >>> left = demonstrations(lambda seen: torch.zeros(len(seen)).long(), "CartPole-v1", episodes=3, seed=0)
        >>> len(left), all(len(episode.rewards) < 15 for episode in left)  # the pole falls soon
        (3, True)
    """
    device = device_of(policy)
    generator = None if greedy else torch.Generator(device).manual_seed(seed)
    envs = make_envs(env, episodes)
    try:
        rollout = play_episodes(envs, policy, generator=generator, seed=seed, device=device)
    finally:
        envs.close()
    columns = (
        rollout.observations[:-1],
        rollout.actions,
        rollout.rewards,
        rollout.next_observations,
        rollout.terminated,
    )
    return [Transitions(*(column[rollout.valid[:, i], i] for column in columns)) for i in range(episodes)]


def clone(
    policy: ActorCritic,
    data: Transitions,
    *,
    steps: int,
    seed: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
) -> list[float]:
    """Train ``policy`` in place to do as in ``data``; return the loss of each update.

    Args:
        policy: The pupil; its critic is left as it is.
        data: What the teacher did.
        steps: Updates.
        seed: Of the order of the data.
        batch_size: Steps in an update.
        learning_rate: Of Adam.

    Example:
        >>> left = demonstrations(lambda seen: torch.zeros(len(seen)).long(), "CartPole-v1", episodes=3, seed=0)
        >>> losses = clone(ActorCritic(4, 2), join_transitions(left), steps=100, seed=0)
        >>> losses[-1] < 0.1
        True
    """
    batches = Batches((data.observations, data.actions), batch_size=batch_size, seed=seed)
    learning = [*policy.actor.parameters(), *([] if policy.log_std is None else [policy.log_std])]
    run = Run(policy, behaviour_cloning, torch.optim.Adam(learning, lr=learning_rate, fused=True))
    return [step.values()["loss"] for step in train(run, batches, steps=steps)]


def dagger(
    expert: Policy,
    env: MakeEnv,
    *,
    rounds: int,
    steps: int,
    seed: int,
    episodes: int = 1,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    on_row: OnRow | None = None,
) -> Learned:
    """Clone a teacher that can be asked: the pupil acts, the teacher says what it would have done, all data is kept.

    A clone sees, in training, only what its teacher meets; its own small mistakes lead it where it was never told what
    to do. Here the pupil's own mistakes are in the data. The first round is the teacher's own episodes: plain cloning.

    Args:
        expert: The teacher; the pupil learns on its device.
        env: As for `make_envs`.
        rounds: How often data is added.
        steps: Updates after each round, of the same pupil.
        seed: Of everything; round ``k`` plays the environment's resets from ``seed + k * episodes`` on.
        episodes: Played in each round.
        batch_size: Steps in an update.
        learning_rate: Of Adam.
        on_row: Called with each row as it is made.

    Returns:
        The pupil, and a row for each round: ``round``, ``labels`` (how many answers the teacher has given so far),
        ``mean_return`` of the episodes played in that round, ``loss`` of its last update.

    Raises:
        ValueError: If ``rounds`` or ``steps`` is less than 1, or the environment's spaces do not fit.

    Example:
        >>> def lean(seen):
        ...     return (seen[:, 2] + seen[:, 3] > 0).long()
        >>> learned = dagger(lean, "CartPole-v1", rounds=2, steps=10, seed=0)
        >>> learned.column("labels")[0] == learned.column("mean_return")[0]  # the teacher's own, 1 for each step
        True

    Reference: Ross, Gordon and Bagnell 2011, A reduction of imitation learning and structured prediction to no-regret
    online learning, algorithm 3.1 with beta 1 in the first round and 0 after it, https://arxiv.org/abs/1011.0686
    """
    for name, count in {"rounds": rounds, "steps": steps}.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}.")
    envs = make_envs(env, 1)
    try:
        pupil = actor_critic_for(envs, generator=torch.Generator().manual_seed(seed)).to(device_of(expert))
    finally:
        envs.close()
    gathered: list[Transitions] = []
    rows: list[dict[str, float]] = []
    returns: list[float] = []
    for number in range(rounds):
        player: Policy = expert if number == 0 else pupil
        played = demonstrations(player, env, episodes=episodes, seed=seed + number * episodes)
        for episode in played:
            with torch.no_grad():
                gathered.append(episode._replace(actions=choose(expert, episode.observations)))
        returns += [float(episode.rewards.sum()) for episode in played]
        data = join_transitions(gathered)
        losses = clone(pupil, data, steps=steps, seed=seed + number, batch_size=batch_size, learning_rate=learning_rate)
        rows.append(
            {
                "round": float(number),
                "labels": float(len(data.rewards)),
                "mean_return": sum(returns[-episodes:]) / episodes,
                "loss": losses[-1],
            }
        )
        if on_row is not None:
            on_row(rows[-1])
    return Learned(pupil, rows, returns)

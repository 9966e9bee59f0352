"""Learning from a fixed set of transitions, without acting: conservative Q-learning (CQL)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from course_lib.data import Batches
from course_lib.loops import Run, train
from course_lib.rl.policies import QNetwork
from course_lib.rl.q_objective import QLearning
from course_lib.rl.rollout import Transitions
from course_lib.rl.training import Learned


def cql(
    data: Transitions,
    *,
    num_actions: int,
    steps: int,
    seed: int,
    conservative: float = 1.0,
    double: bool = True,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    gamma: float = 0.99,
    period: int = 100,
    hidden: Sequence[int] = (64, 64),
) -> Learned:
    """Train a `QNetwork` on transitions that somebody else made, good and bad ones alike.

    Cloning imitates the mean of its teachers. This finds what is best in the data: it stitches good pieces together by
    their rewards. Without ``conservative`` it would trust the values of actions that nobody tried, which are guesses,
    and the maximum picks the highest guess.

    Args:
        data: For example several `demonstrations` joined.
        num_actions: How many actions there are; the data need not show all.
        steps: Updates.
        seed: Of starting weights and of the order of the data.
        conservative: How hard unseen actions are pressed down; 0 is plain Q-learning. See `QLearning`.
        double: Whether to use double Q-learning's target.
        batch_size: Transitions in an update.
        learning_rate: Of Adam.
        gamma: Discount.
        period: Updates after which the target network catches up.
        hidden: Widths of the hidden layers.

    Returns:
        The network, and a row for each of about 20 parts of the training: ``updates``, ``loss``,
        ``temporal_difference``, ``value`` and, if conservative, ``conservative_gap``, as means over that part.

    Raises:
        ValueError: If an action in the data is not one of ``num_actions``, or a setting is out of range.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> seen, action = torch.randn(256, 2, generator=g), torch.randint(2, (256,), generator=g)
        >>> data = Transitions(seen, action, action.float(), seen, torch.ones(256, dtype=torch.bool))
        >>> learned = cql(data, num_actions=2, steps=200, conservative=0.1, seed=0)
        >>> learned.policy.act(seen).float().mean() > 0.95  # action 1 pays
        tensor(True)

    Reference: Kumar et al. 2020, Conservative Q-learning for offline reinforcement learning, eq. 4,
    https://arxiv.org/abs/2006.04779
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    least, most = data.actions.min().item(), data.actions.max().item()
    if data.actions.dtype != torch.int64 or not 0 <= least <= most < num_actions:
        raise ValueError(
            f"actions must be int64 from 0 to {num_actions - 1}, got {data.actions.dtype} from {least} to {most}."
        )
    size = data.observations[0].numel()
    network = QNetwork(size, num_actions, hidden=hidden, generator=torch.Generator().manual_seed(seed))
    network.to(data.observations.device)
    objective = QLearning(network, gamma=gamma, double=double, conservative=conservative, period=period)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)
    run = Run(network, objective, optimizer, after_step=[objective.follow])
    batches = Batches(data, batch_size=batch_size, seed=seed)
    rows: list[dict[str, float]] = []
    part: list[dict[str, float]] = []
    every = max(1, steps // 20)
    for step in train(run, batches, steps=steps):
        part.append(step.values())
        if step.index % every == 0 or step.index == steps:
            means = {name: sum(values[name] for values in part) / len(part) for name in part[0]}
            rows.append({"updates": float(step.index)} | means)
            part = []
    return Learned(network, rows, [])

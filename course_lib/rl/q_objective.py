"""Q-learning's objective: the value of an action is its reward plus what the best next one is worth. DQN and CQL."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.loops import Run
from course_lib.loops.loss import Batch, Loss
from course_lib.rl.rollout import Transitions

# Shape letters used in this file: B = rows, A = actions.


class QLearning(nn.Module):
    """The error of ``Q(s, a)`` against ``r + gamma * max_a' Q_target(s', a')``, with the target network it needs.

    The target comes from a copy of the network that stands still between updates: otherwise each update would move what
    it aims at. Give the method `follow` to the run, ``Run(..., after_step=[objective.follow])``, and the copy catches
    up every ``period`` updates. The objective is a module, so the copy is saved with the run.

    Args:
        network: What will learn: observations ``(B, ...)`` to one value for each action ``(B, A)``.
        gamma: Discount, from 0 to below 1.
        double: Whether the learning network chooses the next action and the target network only says its worth. The
            maximum of noisy values is too large on average; two networks rarely err alike.
        conservative: Above 0, ``log sum_a exp Q(s, a) - Q(s, a_taken)`` times this is added: values of actions that the
            data does not show are pressed down. That is conservative Q-learning (CQL), for data that nobody adds to.
        period: Updates after which the target network becomes a copy of the learning one.

    Shape:
        - batch: `Transitions`, or a plain tuple in its order; actions ``(B,)``, int64

    Returns:
        As an objective: the summed Huber error (quadratic up to 1, then linear), ``count`` the number of rows. It is
        measured against a target that moves, so it need not fall. Metrics: ``temporal_difference`` (the Huber error),
        ``value`` (mean Q of the actions taken) and, if conservative, ``conservative_gap``.

    Raises:
        ValueError: If a setting is out of range; when called, if rewards or ends are not one for each row.

    Example:
        >>> network = nn.Linear(1, 2, bias=False)
        >>> _ = nn.init.ones_(network.weight)
        >>> objective = QLearning(network, gamma=0.5)
        >>> one = torch.ones(1, 1)
        >>> batch = Transitions(one, torch.tensor([0]), torch.tensor([2.0]), one, torch.tensor([False]))
        >>> objective(network, batch).total.item()  # 1 against 2 + 0.5 * 1: off by 1.5, Huber's 1.5 - 0.5
        1.0

    Reference: Mnih et al. 2015, Human-level control through deep reinforcement learning; van Hasselt, Guez and Silver
    2016, Deep reinforcement learning with double Q-learning, https://arxiv.org/abs/1509.06461; Kumar et al. 2020,
    Conservative Q-learning for offline reinforcement learning, eq. 4, https://arxiv.org/abs/2006.04779
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        gamma: float = 0.99,
        double: bool = False,
        conservative: float = 0.0,
        period: int = 100,
    ) -> None:
        super().__init__()
        if not 0 <= gamma < 1:
            raise ValueError(f"gamma must lie in [0, 1), got {gamma}.")
        if not 0 <= conservative < float("inf"):
            raise ValueError(f"conservative must be 0 or more, got {conservative}.")
        if period < 1:
            raise ValueError(f"period must be at least 1 update, got {period}.")
        self.gamma, self.two_networks, self.conservative, self.period = gamma, double, conservative, period
        self.target = copy.deepcopy(network).eval().requires_grad_(False)

    def forward(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the loss of ``model`` on transitions."""
        batch = Transitions(*batch)
        values_BA = model(batch.observations)
        taken = _at(values_BA, batch.actions)
        if not taken.shape == batch.rewards.shape == batch.terminated.shape:
            raise ValueError(
                f"rewards and terminated must be one for each row, {tuple(taken.shape)}, got "
                f"{tuple(batch.rewards.shape)} and {tuple(batch.terminated.shape)}: a wrong axis would broadcast."
            )
        errors = F.smooth_l1_loss(taken, self.targets(model, batch), reduction="sum")
        metrics = {"temporal_difference": errors.detach(), "value": taken.detach().sum()}
        if self.conservative == 0:
            return Loss(errors, len(taken), metrics)
        gap = (values_BA.logsumexp(-1) - taken).sum()
        return Loss(errors + self.conservative * gap, len(taken), metrics | {"conservative_gap": gap.detach()})

    @torch.no_grad()
    def targets(self, model: nn.Module, batch: Transitions) -> Tensor:
        """Return what the values of the actions taken are compared with, ``(B,)``."""
        next_values = self.target(batch.next_observations)
        chooser = model(batch.next_observations) if self.two_networks else next_values
        best = _at(next_values, chooser.argmax(-1))
        return batch.rewards + self.gamma * best.masked_fill(batch.terminated, 0)

    def follow(self, run: Run) -> None:
        """Copy the learning network into the target one if it is time; an after-step action of the `Run`."""
        if run.index % self.period == 0:
            self.target.load_state_dict(run.model.state_dict())


def _at(values_BA: Tensor, actions: Tensor) -> Tensor:
    return values_BA.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

"""Learning from reward: bandits and gridworlds solved exactly, Gymnasium rollouts, PPO and its kin, imitation."""

from course_lib.rl.actor_critic import actor_critic
from course_lib.rl.advantages import discounted_returns, gae
from course_lib.rl.bandit_strategies import epsilon_greedy, thompson_bernoulli, thompson_gaussian, ucb1
from course_lib.rl.bandits import Bandit, BanditPlays, play_bandit
from course_lib.rl.collector import Collector, play_episodes
from course_lib.rl.dqn import dqn
from course_lib.rl.dynamic_programming import Solution, action_values, policy_values, value_iteration
from course_lib.rl.environments import make_envs
from course_lib.rl.evaluation import Evaluation, evaluate_policy
from course_lib.rl.exact_gradient import exact_policy_gradient, expected_return, trajectories
from course_lib.rl.gridworld import GridWorld, gridworld
from course_lib.rl.imitation import behaviour_cloning, clone, dagger, demonstrations
from course_lib.rl.mdp import MDP
from course_lib.rl.offline import cql
from course_lib.rl.on_policy import improve, minibatches, policy_batch
from course_lib.rl.policies import ActorCritic, Judged, QNetwork, actor_critic_for, q_network_for
from course_lib.rl.policy_gradient import PolicyBatch, policy_gradient
from course_lib.rl.ppo import ppo
from course_lib.rl.ppo_objective import approximate_kl, clipped_surrogate, ppo_objective
from course_lib.rl.q_objective import QLearning
from course_lib.rl.reinforce import reinforce
from course_lib.rl.replay import ReplayBuffer
from course_lib.rl.rollout import Rollout, Transitions, join_transitions
from course_lib.rl.sampled_gradient import Episodes, reinforce_gradients, sample_episodes
from course_lib.rl.tabular import TabularResult, q_learning, sarsa
from course_lib.rl.training import Learned

__all__ = [
    "MDP",
    "ActorCritic",
    "Bandit",
    "BanditPlays",
    "Collector",
    "Episodes",
    "Evaluation",
    "GridWorld",
    "Judged",
    "Learned",
    "PolicyBatch",
    "QLearning",
    "QNetwork",
    "ReplayBuffer",
    "Rollout",
    "Solution",
    "TabularResult",
    "Transitions",
    "action_values",
    "actor_critic",
    "actor_critic_for",
    "approximate_kl",
    "behaviour_cloning",
    "clipped_surrogate",
    "clone",
    "cql",
    "dagger",
    "demonstrations",
    "discounted_returns",
    "dqn",
    "epsilon_greedy",
    "evaluate_policy",
    "exact_policy_gradient",
    "expected_return",
    "gae",
    "gridworld",
    "improve",
    "join_transitions",
    "make_envs",
    "minibatches",
    "play_bandit",
    "play_episodes",
    "policy_batch",
    "policy_gradient",
    "policy_values",
    "ppo",
    "ppo_objective",
    "q_learning",
    "q_network_for",
    "reinforce",
    "reinforce_gradients",
    "sample_episodes",
    "sarsa",
    "thompson_bernoulli",
    "thompson_gaussian",
    "trajectories",
    "ucb1",
    "value_iteration",
]

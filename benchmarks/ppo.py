"""PPO on CartPole-v1: environment steps a second beside stable-baselines3's, and whether every seed solves it.

Both play 8 synchronous environments with separate 64-wide tanh networks for actor and critic, rollouts of 128 steps,
6 epochs of minibatches of 128, Adam, and a learning rate that falls to 0. Run it on an otherwise idle machine:
``python benchmarks/ppo.py``. It prints its tables.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch

from course_lib.rl import evaluate_policy, ppo

ENV = "CartPole-v1"
NUM_ENVS, ROLLOUT_LENGTH, EPOCHS, BATCH_SIZE, LEARNING_RATE = 8, 128, 6, 128, 1e-3
ENOUGH, SECONDS = 475.0, 30.0  # mean return that counts as solved, and the CPU time allowed for it
EVALUATION_SEED = 10_000


def ours(steps: int, seed: int) -> None:
    ppo(
        ENV,
        steps=steps,
        seed=seed,
        num_envs=NUM_ENVS,
        rollout_length=ROLLOUT_LENGTH,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
    )


def stable_baselines3(steps: int, seed: int) -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    model = PPO(
        "MlpPolicy",
        make_vec_env(ENV, n_envs=NUM_ENVS, seed=seed),
        n_steps=ROLLOUT_LENGTH,
        n_epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=lambda remaining: LEARNING_RATE * remaining,
        seed=seed,
        device="cpu",
    )
    model.learn(steps)


PPOS: dict[str, Callable[[int, int], None]] = {"`course_lib.rl.ppo`": ours, "stable-baselines3": stable_baselines3}


def compare(steps: int, rounds: int) -> None:
    """Both train from scratch in each round, on the same seed, taking turns in who is first."""
    speeds: dict[str, list[float]] = {name: [] for name in PPOS}
    for train in PPOS.values():
        train(NUM_ENVS * ROLLOUT_LENGTH, 0)  # imports and first calls
    for number in range(rounds):
        for name in sorted(PPOS, reverse=number % 2 == 1):
            started = time.process_time()
            PPOS[name](steps, number)
            speeds[name].append(steps / (time.process_time() - started))
    mine, theirs = speeds.values()
    print(f"\n{rounds} rounds of {steps:,} steps, environment steps for each second of CPU time\n")
    print("| PPO | median (range) |")
    print("| --- | ---: |")
    for name, found in speeds.items():
        print(f"| {name} | {spread(found)} |")
    print(f"| ratio of pairs | {spread([a / b for a, b in zip(mine, theirs, strict=True)], 2)} |", flush=True)


def solve(steps: int, seeds: int) -> None:
    """Train on each seed, then play 100 episodes greedily."""
    print(f"\n{steps:,} steps, then 100 episodes by the likeliest action; solved is a mean of {ENOUGH:.0f} or more\n")
    print("| seed | mean return | least | seconds of CPU time |")
    print("| ---: | ---: | ---: | ---: |", flush=True)
    solved = 0
    for seed in range(seeds):
        started = time.process_time()
        learned = ppo(ENV, steps=steps, seed=seed)
        seconds = time.process_time() - started
        result = evaluate_policy(learned.policy, ENV, episodes=100, seed=EVALUATION_SEED)
        solved += result.mean >= ENOUGH and seconds <= SECONDS
        print(f"| {seed} | {result.mean:.1f} | {result.returns.min():.0f} | {seconds:.1f} |", flush=True)
    print(f"\nsolved within {SECONDS:.0f} s: {solved} of {seeds} seeds")


def spread(numbers: list[float], digits: int = 0) -> str:
    return f"{statistics.median(numbers):,.{digits}f} ({min(numbers):,.{digits}f} to {max(numbers):,.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the comparison; 0 leaves it out (default 7)")
    parser.add_argument("--round-steps", type=int, default=16_384, help="steps of a training in a round")
    parser.add_argument("--seeds", type=int, default=8, help="seeds to solve CartPole with; 0 for none (default 8)")
    parser.add_argument("--steps", type=int, default=80_000, help="steps of those trainings (default 80,000)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import gymnasium
    import stable_baselines3 as sb3

    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, gymnasium {gymnasium.__version__}, "
        f"stable-baselines3 {sb3.__version__}; {platform.machine()} with {os.cpu_count()} CPUs, one thread."
    )
    if arguments.rounds:
        compare(arguments.round_steps, arguments.rounds)
    if arguments.seeds:
        solve(arguments.steps, arguments.seeds)


if __name__ == "__main__":
    main()

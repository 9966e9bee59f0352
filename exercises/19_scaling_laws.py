"""Exercises 19.1 and 19.2: days and dollars of a run, the best split of a budget."""

from __future__ import annotations

import math

from course_lib.study.exercises import Case, Exercise


def days_and_dollars(num_parameters, num_tokens, num_chips, peak, mfu, price):
    """Return the days that a training run takes, and its rent in dollars."""
    chip_hours = 6 * num_parameters * num_tokens / (peak * mfu) / 3600
    return chip_hours / num_chips / 24, chip_hours * price


def _cost_oracle(num_parameters, num_tokens, num_chips, peak, mfu, price):
    total = 2.0 * num_parameters * num_tokens + 4.0 * num_parameters * num_tokens
    seconds = total / (float(peak) * mfu * num_chips)
    return seconds / 86_400, seconds / 3600 * num_chips * price


def _draw_run(rng):
    num_parameters = float(10 ** rng.uniform(8, 12))
    num_tokens = num_parameters * float(10 ** rng.uniform(0.3, 3))
    peak = float(rng.choice([312e12, 989.4e12, 2.25e15]))
    return (
        num_parameters,
        num_tokens,
        int(rng.integers(2, 20_000)),
        peak,
        float(rng.uniform(0.2, 0.6)),
        float(rng.uniform(1, 9)),
    )


def _explain_cost(case, expected, got):
    flops = 6 * case.args[0] * case.args[1]
    return f"{flops:.3g} FLOP in all; that is {expected[0] * 24 * case.args[2]:.4g} chip-hours at this utilisation"


def _forgets_backward(num_parameters, num_tokens, num_chips, peak, mfu, price):
    days, dollars = days_and_dollars(num_parameters, num_tokens, num_chips, peak, mfu, price)
    return days / 3, dollars / 3


def _ignores_mfu(num_parameters, num_tokens, num_chips, peak, mfu, price):
    return days_and_dollars(num_parameters, num_tokens, num_chips, peak, 1.0, price)


def _multiplies_by_mfu(num_parameters, num_tokens, num_chips, peak, mfu, price):
    return days_and_dollars(num_parameters, num_tokens, num_chips, peak, 1 / mfu, price)


def _pays_for_one_chip(num_parameters, num_tokens, num_chips, peak, mfu, price):
    days, dollars = days_and_dollars(num_parameters, num_tokens, num_chips, peak, mfu, price)
    return days, dollars / num_chips


def _returns_hours(num_parameters, num_tokens, num_chips, peak, mfu, price):
    days, dollars = days_and_dollars(num_parameters, num_tokens, num_chips, peak, mfu, price)
    return days * 24, dollars


def _one_chip_works(num_parameters, num_tokens, num_chips, peak, mfu, price):
    days, dollars = days_and_dollars(num_parameters, num_tokens, num_chips, peak, mfu, price)
    return days * num_chips, dollars


def _price_a_day(num_parameters, num_tokens, num_chips, peak, mfu, price):
    days, dollars = days_and_dollars(num_parameters, num_tokens, num_chips, peak, mfu, price)
    return days, dollars / 24


def best_split(flops, A, B, alpha, beta):
    """Return the compute-optimal number of parameters and of tokens."""
    scale = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    num_parameters = scale * (flops / 6) ** (beta / (alpha + beta))
    return num_parameters, flops / (6 * num_parameters)


def _split_oracle(flops, A, B, alpha, beta):
    """Halve the interval in which the derivative by log N changes its sign."""
    low, high = -200.0, 400.0
    for _ in range(300):
        middle = (low + high) / 2
        gain_of_size = math.log(alpha * A) - alpha * middle
        gain_of_tokens = math.log(beta * B) - beta * (math.log(flops / 6) - middle)
        if gain_of_size > gain_of_tokens:
            low = middle
        else:
            high = middle
    return math.exp(low), flops / 6 / math.exp(low)


def _draw_budget(rng):
    alpha, beta = (float(value) for value in rng.uniform(0.2, 0.6, 2))
    return float(10 ** rng.uniform(17, 26)), float(10 ** rng.uniform(2, 4)), float(10 ** rng.uniform(2, 4)), alpha, beta


def _explain_split(case, expected, got):
    flops, A, B, alpha, beta = case.args
    try:
        n, d = (float(value) for value in got)
    except (TypeError, ValueError):
        return None
    if not (n > 0 and d > 0):
        return None
    if abs(6 * n * d / flops - 1) > 1e-6:
        return f"6ND is {6 * n * d:.4g} with your numbers, and the budget {flops:.4g}"
    more, longer = alpha * A / n**alpha, beta * B / d**beta
    return (
        f"at your N a little more size gains {more:.4g} a unit of ln N, and more tokens {longer:.4g}: equal at the best"
    )


def _half_and_half(flops, A, B, alpha, beta):
    n = (A / B) ** (1 / (alpha + beta)) * math.sqrt(flops / 6)
    return n, flops / 6 / n


def _twenty_tokens(flops, A, B, alpha, beta):
    n = math.sqrt(flops / 120)
    return n, 20 * n


def _exponents_swapped(flops, A, B, alpha, beta):
    n = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (alpha / (alpha + beta))
    return n, flops / 6 / n


def _equal_terms(flops, A, B, alpha, beta):
    n = (A / B) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    return n, flops / 6 / n


def _forgets_six(flops, A, B, alpha, beta):
    return best_split(6 * flops, A, B, alpha, beta)


def _tokens_without_six(flops, A, B, alpha, beta):
    n, d = best_split(flops, A, B, alpha, beta)
    return n, 6 * d


EXERCISES = (
    Exercise(
        id="19.1",
        title="Days and dollars",
        difficulty=1,
        minutes=10,
        solution=days_and_dollars,
        cases=_draw_run,
        oracle=_cost_oracle,
        edge_cases=(
            Case((1e9, 6e11, 1, 1e15, 1.0, 3.6), note="one chip at its peak: one million chip-seconds times 3.6"),
            Case((70e9, 1.4e12, 1024, 989.4e12, 0.4, 2.95), note="Chinchilla on 1,024 H100s"),
        ),
        explain=_explain_cost,
        hints=(
            "First the arithmetic: training takes about 6 FLOP for each parameter and each token.",
            "A chip gives `peak * mfu` FLOP a second. Divide, and by 3600: chip-hours.",
            "The rent is chip-hours times the price. The days are chip-hours over the number of chips, over 24.",
        ),
        wrong={
            "counts the forward pass alone": _forgets_backward,
            "takes the peak for granted": _ignores_mfu,
            "multiplies the time by the utilisation": _multiplies_by_mfu,
            "pays for one chip": _pays_for_one_chip,
            "returns hours": _returns_hours,
            "lets one chip do it all": _one_chip_works,
            "takes the price for that of a day": _price_a_day,
        },
    ),
    Exercise(
        id="19.2",
        title="The best split of a budget",
        difficulty=2,
        minutes=15,
        solution=best_split,
        cases=_draw_budget,
        oracle=_split_oracle,
        edge_cases=(
            Case((6e20, 500.0, 500.0, 0.35, 0.35), note="all alike: N = D"),
            Case((5.76e23, 482.01, 2085.43, 0.3478, 0.3658), note="Gopher's budget, Besiroglu's coefficients"),
        ),
        explain=_explain_split,
        hints=(
            "At the best split one per cent more parameters gains as much as one per cent more tokens.",
            "That is alpha A / N^alpha = beta B / D^beta, with D = C / 6N. Solve for N.",
            "N = (alpha A / (beta B))^(1/(alpha+beta)) times (C/6)^(beta/(alpha+beta)); then D = C / 6N.",
        ),
        wrong={
            "grows both by the square root": _half_and_half,
            "takes 20 tokens a parameter": _twenty_tokens,
            "swaps the exponents": _exponents_swapped,
            "makes the two terms equal, not their slopes": _equal_terms,
            "forgets the 6": _forgets_six,
            "forgets the 6 in the tokens": _tokens_without_six,
        },
    ),
)

"""Learning-rate schedules: plain functions of the step that say which share of the peak rate is used.

Step 0 is the first update. Nothing is remembered: the factor depends on the arguments alone, so it is the same on
every rank and after a resume. Steps may be fractions (of an epoch, say). Beyond its end a schedule stays at its floor;
the last update of ``total`` has step ``total - 1``, so it is made just before the floor is reached. Hand one to a
``Run`` as ``schedule=partial(warmup_cosine, total=1000, warmup=100)``, or combine two by their product::

    lambda step: warmup(step, steps=100) * exponential_decay(step, factor=0.999)
"""

from __future__ import annotations

import math


def constant(step: float) -> float:
    """Return 1.0 at every step.

    Example:
        >>> constant(1000)
        1.0
    """
    _check(step)
    return 1.0


def warmup(step: float, *, steps: float) -> float:
    """Rise in a straight line to 1, which is reached at the last of ``steps`` updates; 1 from then on.

    The first update already moves: its factor is ``1 / steps``, not 0.

    Example:
        >>> [warmup(step, steps=4) for step in range(6)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    _check(step, steps=steps)
    return _rise(step, steps)


def step_decay(step: float, *, every: float, factor: float = 0.1) -> float:
    """Multiply by ``factor`` after every ``every`` updates, as `torch.optim.lr_scheduler.StepLR` does.

    Example:
        >>> [step_decay(step, every=2, factor=0.5) for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    _check(step, positive={"every": every}, factor=factor)
    return float(factor ** (step // every))


def exponential_decay(step: float, *, factor: float) -> float:
    """Multiply by ``factor`` after each update, as `torch.optim.lr_scheduler.ExponentialLR` does.

    Example:
        >>> [exponential_decay(step, factor=0.5) for step in range(4)]
        [1.0, 0.5, 0.25, 0.125]
    """
    _check(step, factor=factor)
    return float(factor**step)


def linear_decay(step: float, *, total: float, floor: float = 0.0) -> float:
    """Fall in a straight line from 1 at step 0 to ``floor`` at step ``total``, as torch's ``LinearLR`` does.

    Example:
        >>> [linear_decay(step, total=4) for step in range(6)]
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    _check(step, positive={"total": total}, floor=floor)
    return floor + (1 - floor) * (1 - min(1.0, step / total))


def cosine(step: float, *, total: float, floor: float = 0.0) -> float:
    """Fall along half a cosine from 1 at step 0 to ``floor`` at step ``total``: slow at both ends, fast between.

    As torch's ``CosineAnnealingLR``, but beyond ``total`` it stays at the floor where torch's rises again.

    Example:
        >>> [round(cosine(step, total=4, floor=0.1), 3) for step in range(6)]
        [1.0, 0.868, 0.55, 0.232, 0.1, 0.1]

    Reference: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", eq. 5 (one cycle),
    https://arxiv.org/abs/1608.03983
    """
    _check(step, positive={"total": total}, floor=floor)
    return floor + (1 - floor) * (1 + math.cos(math.pi * min(1.0, step / total))) / 2


def cyclical(step: float, *, up: float, down: float | None = None, low: float = 0.25) -> float:
    """Go up from ``low`` to 1 in ``up`` updates and down again in ``down`` (None: as many), for ever.

    This is the "triangular" policy of torch's ``CyclicLR``; the paper advises a ``low`` of 1/4 or 1/3.

    Example:
        >>> [cyclical(step, up=2, low=0.5) for step in range(6)]
        [0.5, 0.75, 1.0, 0.75, 0.5, 0.75]

    Reference: Smith 2017, "Cyclical learning rates for training neural networks", section 3,
    https://arxiv.org/abs/1506.01186
    """
    down = up if down is None else down
    _check(step, positive={"up": up, "down": down}, low=low)
    place = step % (up + down)
    height = place / up if place <= up else (up + down - place) / down
    return low + (1 - low) * height


def wsd(step: float, *, total: float, warmup: float, decay: float, floor: float = 0.0) -> float:
    """Warm up, stay at 1, and fall in a straight line to ``floor`` in the last ``decay`` of ``total`` updates.

    Warmup-stable-decay: the middle can be made longer later, and a run branched off from it to decay at any time. The
    paper decays exponentially; a line from 1 to 0 has become usual.

    Example:
        >>> [wsd(step, total=8, warmup=2, decay=4) for step in range(10)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]

    Reference: Hu et al. 2024, "MiniCPM: unveiling the potential of small language models with scalable training
    strategies", section 4, https://arxiv.org/abs/2404.06395; Haegele et al. 2024, "Scaling laws and compute-optimal
    training beyond fixed training durations", https://arxiv.org/abs/2405.18392
    """
    _check(step, positive={"total": total, "decay": decay}, warmup=warmup, floor=floor)
    if warmup + decay > total:
        raise ValueError(f"wsd needs warmup + decay <= total, got {warmup} + {decay} > {total}: shorten one of them.")
    falling = linear_decay(max(0.0, step - (total - decay)), total=decay, floor=floor)
    return _rise(step, warmup) * falling


def warmup_cosine(step: float, *, total: float, warmup: float, floor: float = 0.0) -> float:
    """Warm up, then fall along half a cosine to ``floor`` at step ``total``: the usual choice for transformers.

    The fall starts after the warmup, so the last update of the warmup and the one after it are both at the peak.

    Example:
        >>> [round(warmup_cosine(step, total=6, warmup=2), 3) for step in range(7)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    rest = _rest(total, warmup)
    _check(step, floor=floor)
    return _rise(step, warmup) * cosine(max(0.0, step - warmup), total=rest, floor=floor)


def warmup_linear(step: float, *, total: float, warmup: float, floor: float = 0.0) -> float:
    """Warm up, then fall in a straight line to ``floor`` at step ``total``: as BERT was trained.

    Example:
        >>> [warmup_linear(step, total=6, warmup=2) for step in range(7)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    rest = _rest(total, warmup)
    _check(step, floor=floor)
    return _rise(step, warmup) * linear_decay(max(0.0, step - warmup), total=rest, floor=floor)


def inverse_sqrt(step: float, *, warmup: float) -> float:
    """Warm up, then fall as one over the root of the update's number: the schedule of the first Transformer.

    The paper's rate is ``width ** -0.5 * min(n ** -0.5, n * warmup ** -1.5)`` with n = step + 1; here its peak is 1.

    Example:
        >>> [round(inverse_sqrt(step, warmup=4), 3) for step in (0, 1, 3, 15)]
        [0.25, 0.5, 1.0, 0.5]

    Reference: Vaswani et al. 2017, "Attention is all you need", eq. 3, https://arxiv.org/abs/1706.03762
    """
    _check(step, positive={"warmup": warmup})
    return min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))


def _rise(step: float, warmup: float) -> float:
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def _rest(total: float, warmup: float) -> float:
    _check(0, positive={"total": total}, warmup=warmup)
    if warmup >= total:
        raise ValueError(f"warmup must end before total, got warmup {warmup} of total {total}: shorten the warmup.")
    return total - warmup


def _check(step: float, *, positive: dict[str, float] | None = None, **at_least_0: float) -> None:
    for name, value in {"step": step, **at_least_0}.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and at least 0, got {value!r}.")
        if name in ("floor", "low") and value > 1:
            raise ValueError(f"{name} is a share of the peak rate, so at most 1, got {value!r}.")
    for name, value in (positive or {}).items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and above 0, got {value!r}.")

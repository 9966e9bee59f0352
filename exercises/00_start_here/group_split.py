"""Exercise 00.4: a split that keeps all rows of a group, such as one writer's digits, on one side."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import torch
from torch import Tensor

from course_lib.study.exercises import Case, Exercise, Property

SEEDS = 64


def split_by_group(groups: Tensor, validation_share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the row indices of a training and of a validation part that have no group in common."""
    generator = torch.Generator().manual_seed(seed)
    names = groups.unique()
    names = names[torch.randperm(len(names), generator=generator)]
    in_validation = torch.zeros(len(groups), dtype=torch.bool)
    for name in names:
        if in_validation.sum() >= validation_share * len(groups):
            break
        in_validation |= groups == name
    rows = torch.arange(len(groups))
    return rows[~in_validation], rows[in_validation]


def _draw_groups(rng):
    many = rng.random() < 0.25
    sizes = rng.choice([1, 1, 1, 6], 60) if many else rng.integers(1, 5, rng.integers(1, 9))
    names = rng.choice(1000, len(sizes), replace=False)  # neither in order nor without gaps
    groups = torch.tensor(rng.permutation(np.repeat(names, sizes)))
    return groups, float(rng.integers(1, 8)) / 8, int(rng.integers(1000))


def _parts(result):
    train, validation = (np.asarray(part) for part in result)
    return train, validation


def _form(function, case, result):
    for name, part in zip(("training", "validation"), _parts(result), strict=True):
        if part.ndim != 1 or (part.size and part.dtype.kind not in "iu"):
            return f"the {name} part has shape {part.shape} and dtype {part.dtype}, not one dimension of whole numbers"
    return None


def _partition(function, case, result):
    rows = Counter(np.concatenate(_parts(result)).astype(int).tolist())
    wanted = set(range(len(case.args[0])))
    twice = sorted(row for row, count in rows.items() if count > 1)
    for what, which in (
        ("appear twice", twice),
        ("are missing", wanted - set(rows)),
        ("do not exist", set(rows) - wanted),
    ):
        if which:
            return f"rows {sorted(which)[:6]} {what}"
    return None


def _groups_whole(function, case, result):
    groups = case.args[0].numpy()
    train, validation = (set(groups[part.astype(int)].tolist()) for part in _parts(result))
    both = sorted(train & validation)
    return f"groups {both[:6]} have rows in both parts" if both else None


def _size(function, case, result):
    groups, share, _ = case.args
    wanted, got, largest = share * len(groups), len(_parts(result)[1]), int(groups.unique(return_counts=True)[1].max())
    if abs(got - wanted) < largest:
        return None
    return f"validation has {got} rows where {wanted:g} are wanted, and the largest group has {largest}"


def _same_seed(function, case, result):
    again = _parts(function(*case.args))
    equal = all(np.array_equal(first, second) for first, second in zip(_parts(result), again, strict=True))
    return None if equal else "a second call with the same arguments gave another split"


def _by_chance(function, case, result):
    """Over many seeds: splits differ, each group goes either way, and no two neighbours in number go together."""
    groups, share, seed = case.args
    names, index = np.unique(groups, return_inverse=True)
    if len(names) < 20 or share != 0.5:
        return None  # with few groups, or a share near 0 or 1, a fair split may look unfair
    taken = []
    for step in range(SEEDS):
        rows = _parts(function(groups, share, seed + step))[1].astype(int)
        taken.append(np.bincount(index[rows], minlength=len(names)) > 0)
    taken = np.array(taken)  # (SEEDS, groups): whether the group is in validation
    if len(np.unique(taken, axis=0)) < SEEDS // 2:
        return f"{SEEDS} seeds gave only {len(np.unique(taken, axis=0))} different splits"
    often = taken.sum(0)
    if often.min() < SEEDS // 8 or often.max() > SEEDS - SEEDS // 8:
        odd = int(np.abs(often - SEEDS / 2).argmax())
        return f"over {SEEDS} seeds the group {names[odd]} was in validation {int(often[odd])} times"
    together = (taken[:, 1:] == taken[:, :-1]).sum(0)
    if together.max() > SEEDS - SEEDS // 8:
        pair = int(together.argmax())
        return f"over {SEEDS} seeds groups {names[pair]} and {names[pair + 1]} went together {together[pair]} times"
    return None


def _global_state():
    return [torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()]


def _global_generators(function, case, result):
    before = _global_state()
    function(*case.args)
    return None if _global_state() == before else "torch's, NumPy's or Python's own one was seeded or drawn from"


def _splits_rows(groups, validation_share, seed):
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))
    num_validation = round(validation_share * len(groups))
    return order[num_validation:], order[:num_validation]


def _first_groups(groups, validation_share, seed):
    in_validation = torch.zeros(len(groups), dtype=torch.bool)
    for name in groups.unique():
        if in_validation.sum() < validation_share * len(groups):
            in_validation |= groups == name
    return torch.nonzero(~in_validation).flatten(), torch.nonzero(in_validation).flatten()


def _share_of_groups(groups, validation_share, seed):
    names = np.random.default_rng(seed).permutation(groups.unique().numpy())
    in_validation = np.isin(groups.numpy(), names[: round(validation_share * len(names))])
    return np.flatnonzero(~in_validation), np.flatnonzero(in_validation)


def _rotates_the_groups(groups, validation_share, seed):
    names, in_validation = groups.unique().roll(seed), torch.zeros(len(groups), dtype=torch.bool)
    for name in names:
        if in_validation.sum() < validation_share * len(groups):
            in_validation |= groups == name
    return torch.nonzero(~in_validation).flatten(), torch.nonzero(in_validation).flatten()


def _seeds_everything(groups, validation_share, seed):
    torch.manual_seed(seed)
    return split_by_group(groups, validation_share, int(torch.randint(1000, ())))


def _returns_groups(groups, validation_share, seed):
    train, validation = split_by_group(groups, validation_share, seed)
    return groups[train].unique(), groups[validation].unique()


def _edge_groups(seed):
    groups = torch.tensor([*range(100, 60, -1), *np.repeat(range(20), 6).tolist()])
    return Case((groups, 0.5, seed), note="40 groups of one row, 20 groups of six")


EXERCISES = (
    Exercise(
        id="00.4",
        title="A split that does not leak",
        difficulty=4,
        minutes=20,
        solution=split_by_group,
        num_draws=16,
        cases=_draw_groups,
        edge_cases=(
            _edge_groups(0),
            Case((torch.tensor([7, 7, 7]), 0.5, 0), note="one group only"),
            Case((torch.tensor([5, 2, 9, 4, 2, 5, 4, 9]), 0.5, 1), note="the share can be met exactly"),
        ),
        properties=(
            Property("returns two one-dimensional collections of row indices", _form),
            Property("puts each row into exactly one of the two parts", _partition),
            Property("keeps the rows of a group together", _groups_whole),
            Property("ends up less than one largest group away from the wanted number of rows", _size),
            Property("gives the same split for the same seed", _same_seed),
            Property("lets the seed decide by chance which groups go where", _by_chance),
            Property("leaves the global random generators alone", _global_generators),
        ),
        hints=(
            "Shuffle the groups, not the rows. `groups.unique()` lists them.",
            "`torch.randperm(n, generator=torch.Generator().manual_seed(seed))` is a random order of your own; nobody "
            "else's random numbers change.",
            "Hand one group after the other to validation until it has `validation_share * len(groups)` rows or more. "
            "The last group makes it too large by less than that group.",
            "Keep a boolean for each row, `in_validation |= groups == name`. At the end, `torch.arange(len(groups))` "
            "indexed by it, and by its opposite `~in_validation`, gives the two parts.",
        ),
        wrong={
            "splits rows instead of groups": _splits_rows,
            "takes the groups in order, whatever the seed": _first_groups,
            "rotates the groups by the seed": _rotates_the_groups,
            "takes a share of the groups instead of the rows": _share_of_groups,
            "seeds the global generator": _seeds_everything,
            "returns groups instead of rows": _returns_groups,
        },
    ),
)

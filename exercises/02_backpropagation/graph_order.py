"""Exercise 02.4: a topological order that survives deep graphs and graphs with very many paths."""

from __future__ import annotations

import sys
from collections import deque

from course_lib.study.exercises import Case, Exercise, Property


def order_without_recursion(parents, output):
    """Return ``output`` and all its ancestors, each once, each after all of its parents."""
    order, done = [], set()
    stack = [(output, False)]
    while stack:
        node, parents_done = stack.pop()
        if node in done:
            continue
        if parents_done:
            done.add(node)
            order.append(node)
        else:
            stack.append((node, True))
            stack.extend((parent, False) for parent in parents[node] if parent not in done)
    return order


def _draw_graph(rng):
    size = int(rng.integers(1, 9))
    names = rng.permutation(size * 3)[:size].tolist()
    parents = {}
    for place, name in enumerate(names):
        count = int(rng.integers(0, min(place, 3) + 1))
        parents[name] = [int(one) for one in rng.choice(names[:place], count)] if count else []  # repeats may occur
    shuffled = {names[i]: parents[names[i]] for i in rng.permutation(size).tolist()}
    return shuffled, int(rng.choice(names))


def _chain(length):
    return {node: [node - 1] if node else [] for node in range(length)}


def _ancestors(parents, output):
    found, waiting = {output}, [output]
    while waiting:
        new = [parent for parent in parents[waiting.pop()] if parent not in found]
        found.update(new)
        waiting.extend(new)
    return found


def _each_once(function, case, result):
    wanted, got = _ancestors(*case.args), list(result)
    if len(set(got)) < len(got):
        twice = next(node for node in got if got.count(node) > 1)
        return f"node {twice} comes {got.count(twice)} times"
    if missing := sorted(wanted - set(got)):
        return f"{missing[:5]} are missing, which {case.args[1]} was computed from"
    if extra := sorted(set(got) - wanted):
        return f"{extra[:5]} are there, on which {case.args[1]} does not depend"
    return None


def _after_its_parents(function, case, result):
    place = {node: index for index, node in enumerate(result)}
    for node in result:
        for parent in case.args[0][node]:
            if place.get(parent, -1) > place[node]:
                return f"node {node} comes before its parent {parent}"
    return None


def _is_list(function, case, result):
    return None if isinstance(result, list) else f"it returned a {type(result).__name__}"


def _keeps_its_own_stack(function, case, result):
    if len(case.args[0]) > 1:  # once is enough, and the smallest input is the shortest to show
        return None
    depth = deepest = 0

    def count(frame, event, argument):
        nonlocal depth, deepest
        depth += (event == "call") - (event == "return")
        deepest = max(deepest, depth)

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function(_chain(200), 199)
    finally:
        sys.setprofile(before)
    return f"on a chain of 200 nodes its calls were {deepest} deep" if deepest > 100 else None


def _with_recursion(parents, output):
    order, done = [], set()

    def visit(node):
        if node not in done:
            done.add(node)
            for parent in parents[node]:
                visit(parent)
            order.append(node)

    visit(output)
    return order


def _with_a_higher_limit(parents, output):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        return _with_recursion(parents, output)
    finally:
        sys.setrecursionlimit(limit)


def _as_dictionary(parents, output):
    return dict.fromkeys(order_without_recursion(parents, output))


def _counts_two_edges_as_one(parents, output):
    wanted = _ancestors(parents, output)
    children, missing = {node: [] for node in wanted}, {node: len(set(parents[node])) for node in wanted}
    for node in wanted:
        for parent in parents[node]:
            children[parent].append(node)  # twice for a parent that is listed twice
    order, ready = [], deque(node for node in wanted if not missing[node])
    while ready:
        order.append(ready.popleft())
        for child in children[order[-1]]:
            missing[child] -= 1
            if missing[child] == 0:
                ready.append(child)
    return order


def _by_distance_without_a_second_look(parents, output):
    distance, expanded, waiting = {output: 0}, set(), deque([output])
    while waiting:
        node = waiting.popleft()
        expanded.add(node)
        for parent in parents[node]:
            distance[parent] = max(distance.get(parent, 0), distance[node] + 1)
            if parent not in expanded:
                expanded.add(parent)
                waiting.append(parent)
    return sorted(distance, key=distance.get, reverse=True)


def _as_met(parents, output):
    order, stack = [], [output]
    while stack:
        node = stack.pop()
        if node not in order:
            order.append(node)
            stack.extend(parents[node])
    return order[::-1]


def _level_by_level(parents, output):
    order, waiting = [output], deque([output])
    while waiting:
        for parent in parents[waiting.popleft()]:
            if parent not in order:
                order.append(parent)
                waiting.append(parent)
    return order[::-1]


def _marks_too_early(parents, output):
    order, seen, stack = [], {output}, [(output, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
            continue
        stack.append((node, True))
        for parent in parents[node]:
            if parent not in seen:
                seen.add(parent)
                stack.append((parent, False))
    return order


def _all_nodes(parents, output):
    order = order_without_recursion(parents, output)
    for node in sorted(set(parents) - set(order)):
        order += [one for one in order_without_recursion(parents, node) if one not in order]
    return order


def _repeats(parents, output):
    order, stack = [], [(output, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif len(order) + len(stack) > 100_000:
            raise MemoryError("too many paths")
        else:
            stack.append((node, True))
            stack.extend((parent, False) for parent in parents[node])
    return order


def _output_first(parents, output):
    return order_without_recursion(parents, output)[::-1]


EXERCISES = (
    Exercise(
        id="02.4",
        title="An order for deep graphs",
        difficulty=4,
        minutes=25,
        solution=order_without_recursion,
        cases=_draw_graph,
        edge_cases=(
            Case((_chain(3000), 2999), note="a chain of 3,000 nodes"),
            Case(({0: [], **{i: [i - 1, i - 1] for i in range(1, 40)}}, 39), note="39 doublings, so 2**39 paths"),
            Case(({0: [], 1: [0], 2: [1], 3: [0, 2]}, 3), note="a short way and a long way to the same node"),
            Case(({0: [], 1: [0], 2: [1], 3: [2, 0]}, 3), note="a long way and a short way to the same node"),
            Case(({0: [], 1: [0], 2: [1, 0], 3: [1, 2], 4: [2, 1]}, 4), note="parents that are parents of each other"),
            Case(({0: [], 1: [0], 2: [0, 0, 1]}, 2), note="a parent that is listed twice"),
            Case(({0: [], 1: [0], 2: [1], 3: [0, 0, 2]}, 3), note="a parent that is listed twice, and a long way"),
            Case(({0: [], 1: [0], 2: [1], 3: [2], 4: [1, 3]}, 4), note="a node that is reached early, and again late"),
            Case(({0: [], 1: [0], 2: [0]}, 1), note="a node that the output does not depend on"),
            Case(({5: []}, 5), note="a single node"),
        ),
        properties=(
            Property("is a list", _is_list),
            Property("has the output and all it was computed from, each once", _each_once),
            Property("puts each node after its parents", _after_its_parents),
            Property("comes from a stack of your own, not from Python's", _keeps_its_own_stack),
        ),
        hints=(
            "Recursion keeps its unfinished calls on a stack. Keep that stack yourself, as a list.",
            "A node must be met twice: once to put its parents on the stack above it, and again, when they are all "
            "done, to be appended. So put pairs `(node, parents_done)` on the stack.",
            "A node counts as done when it is appended, not when it is first seen: in a diamond it may be on the stack "
            "several times. When you take a node from the stack that is done already, skip it.",
        ),
        wrong={
            "calls itself": _with_recursion,
            "calls itself, with a higher limit": _with_a_higher_limit,
            "returns a dictionary": _as_dictionary,
            "counts a parent listed twice once": _counts_two_edges_as_one,
            "sorts by distance, each node expanded once": _by_distance_without_a_second_look,
            "reverses the order in which nodes are met": _as_met,
            "goes level by level": _level_by_level,
            "marks nodes when they are first seen": _marks_too_early,
            "returns every node of the dictionary": _all_nodes,
            "walks every path": _repeats,
            "puts the output first": _output_first,
        },
    ),
)

"""The rules by which mutants are made: for one node of a syntax tree, the nodes that could stand there instead."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

_PAIRS = [
    ("min", "max"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("minimum", "maximum"),
    ("mean", "sum"),
    ("nanmean", "nansum"),
    ("any", "all"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("floor", "ceil"),
    ("sin", "cos"),
]
_OTHER_NAME = dict(_PAIRS) | {second: first for first, second in _PAIRS}

# fmt: off
_DROPPED = {
    "abs", "absolute", "fabs", "exp", "expm1", "log", "log1p", "log2", "log10", "logsumexp", "softmax", "log_softmax",
    "sigmoid", "tanh", "relu", "sqrt", "square", "reciprocal", "normalize", "round", "floor", "ceil", "clamp", "clip",
    "clone", "copy", "detach", "flip", "sort", "unique", "float", "int", "double", "long", "bool",
}
# fmt: on

_OTHER_OPERATOR: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}

_OTHER_COMPARISON: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def expression_variants(node: ast.expr, _definition: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield what could stand in the place of an expression."""
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) and not isinstance(node, ast.Subscript):
        return
    match node:
        case ast.Constant(value=value):
            yield from (ast.Constant(other) for other in _other_constants(value))
        case ast.Name(id=name) if name in _OTHER_NAME:
            yield ast.Name(_OTHER_NAME[name], node.ctx)
        case ast.Attribute(attr=name) if name in _OTHER_NAME:
            yield ast.Attribute(node.value, _OTHER_NAME[name], node.ctx)
        case ast.Attribute(attr="T" | "mT"):
            yield node.value
        case ast.BinOp():
            yield from _binary_variants(node)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)):  # most often an axis or an index from the end
            yield from (ast.Constant(0), ast.Constant(1))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
            yield node.operand
            yield from (ast.UnaryOp(ast.USub(), ast.Constant(other)) for other in _other_constants(value))
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield node.operand
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                changed = copy.copy(node)
                changed.ops = [*node.ops[:index], _OTHER_COMPARISON[type(operator)](), *node.ops[index + 1 :]]
                yield changed
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            yield from (_without(node, index) for index in range(len(node.values)))
        case ast.IfExp():
            yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.Call():
            yield from _call_variants(node)
        case ast.Subscript(slice=ast.Tuple(elts=[first, second])):
            yield ast.Subscript(node.value, ast.Tuple([second, first], ast.Load()), node.ctx)


def statement_variants(node: ast.stmt, definition: ast.FunctionDef) -> Iterator[ast.stmt]:
    """Yield what could stand in the place of a statement."""
    match node:
        case ast.If() | ast.While():
            negated = copy.copy(node)
            negated.test = ast.UnaryOp(ast.Not(), node.test)
            yield negated
            yield ast.Pass()
        case ast.AugAssign(op=operator) if type(operator) in _OTHER_OPERATOR:
            yield ast.AugAssign(node.target, _OTHER_OPERATOR[type(operator)](), node.value)
            yield ast.Pass()
        case ast.For() | ast.Expr() | ast.AugAssign() | ast.Break() | ast.Continue():
            yield ast.Pass()
        case ast.Assign(targets=targets) if all(_is_bound_before(target, node, definition) for target in targets):
            yield ast.Pass()


def is_negative_constant(node: ast.AST) -> bool:
    """Tell ``-3``, which is changed as a whole."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant)


def _other_constants(value: object) -> Iterator[bool | int | float]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float) and value in (0, 1):
        yield from (1,) if value == 0 else (0, 2)
    elif isinstance(value, int | float):
        yield from (value + 1, value * 2)


def _binary_variants(node: ast.BinOp) -> Iterator[ast.expr]:
    other = _OTHER_OPERATOR.get(type(node.op))
    if other is not None:
        yield ast.BinOp(node.left, other(), node.right)
    yield node.left
    if isinstance(node.op, ast.Add | ast.Mult | ast.BitAnd | ast.BitOr):
        yield node.right
    elif isinstance(node.op, ast.Sub):
        yield ast.UnaryOp(ast.USub(), node.right)


def _call_variants(node: ast.Call) -> Iterator[ast.expr]:
    for index, keyword in enumerate(node.keywords):
        if keyword.arg in {"axis", "dim", "keepdim", "keepdims"}:
            changed = copy.copy(node)
            changed.keywords = node.keywords[:index] + node.keywords[index + 1 :]
            yield changed
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name not in _DROPPED:
        return
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield node.func.value
    elif node.args and not isinstance(node.args[0], ast.Starred):
        yield node.args[0]


def _is_module(node: ast.expr) -> bool:
    """Tell ``torch.exp(x)`` and ``F.softmax(x)`` from ``x.exp()``: by the names that modules go by."""
    names = {"torch", "np", "numpy", "math", "F", "functional", "linalg", "special"}
    return (isinstance(node, ast.Name) and node.id in names) or (isinstance(node, ast.Attribute) and node.attr in names)


def _without(node: ast.BoolOp, index: int) -> ast.expr:
    rest = node.values[:index] + node.values[index + 1 :]
    return rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _is_bound_before(target: ast.expr, node: ast.stmt, definition: ast.FunctionDef) -> bool:
    """Tell whether a name has a value already, so that removing its new assignment leaves a program that runs."""
    if not isinstance(target, ast.Name):
        return isinstance(target, ast.Subscript | ast.Attribute)
    arguments = definition.args
    known = {argument.arg for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
    for other in ast.walk(definition):
        if isinstance(other, ast.Name) and isinstance(other.ctx, ast.Store) and other.lineno < node.lineno:
            known.add(other.id)
    return target.id in known

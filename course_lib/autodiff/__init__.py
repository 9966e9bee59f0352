"""Automatic differentiation over NumPy arrays: reverse mode, forward mode, and the check that both are right."""

from course_lib.autodiff.forward_mode import Dual, jvp
from course_lib.autodiff.gradient_check import GradientMismatch, central_differences, gradcheck
from course_lib.autodiff.graph_view import Graph, as_text, draw, graph, saved_bytes
from course_lib.autodiff.operation_count import count_operations
from course_lib.autodiff.reverse_mode import backward, topological_order
from course_lib.autodiff.rules import Result, Vjp, unbroadcast
from course_lib.autodiff.variable import Variable, apply, no_grad

__all__ = [
    "Dual",
    "GradientMismatch",
    "Graph",
    "Result",
    "Variable",
    "Vjp",
    "apply",
    "as_text",
    "backward",
    "central_differences",
    "count_operations",
    "draw",
    "gradcheck",
    "graph",
    "jvp",
    "no_grad",
    "saved_bytes",
    "topological_order",
    "unbroadcast",
]

"""The update that every model in the course learns through, and the loops around it."""

from course_lib.loops.early_stopping import EarlyStopping
from course_lib.loops.evaluation import evaluate, evaluating
from course_lib.loops.fit import fit
from course_lib.loops.history import History
from course_lib.loops.loss import Loss, Objective
from course_lib.loops.objectives import classification, regression
from course_lib.loops.run import Run, backprop
from course_lib.loops.step import NonFiniteStep, Step
from course_lib.loops.train import train

__all__ = [
    "EarlyStopping",
    "History",
    "Loss",
    "NonFiniteStep",
    "Objective",
    "Run",
    "Step",
    "backprop",
    "classification",
    "evaluate",
    "evaluating",
    "fit",
    "regression",
    "train",
]

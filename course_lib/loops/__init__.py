"""The update that every model in the course learns through, and the loops around it."""

from course_lib.loops.backprop import backprop
from course_lib.loops.checkpoints import CheckpointError, Checkpoints
from course_lib.loops.contrastive import clip_objective, contrastive_objective, simsiam_objective
from course_lib.loops.early_stopping import EarlyStopping
from course_lib.loops.ema import EMA
from course_lib.loops.evaluation import evaluate, evaluating
from course_lib.loops.fit import fit
from course_lib.loops.history import History
from course_lib.loops.log import LoggedRun, RunLog, TensorBoardMirror, read_log, write_tensorboard
from course_lib.loops.loss import Loss, Objective
from course_lib.loops.monitors import ActivationStatistics, UpdateRatios, gradient_norms
from course_lib.loops.objectives import classification, next_token, regression
from course_lib.loops.over_ranks import OverRanks
from course_lib.loops.precision import LossScaler, in_precision
from course_lib.loops.run import Run
from course_lib.loops.sam import sharpness_aware
from course_lib.loops.seeds import fingerprint, seed_all, seeded
from course_lib.loops.step import NonFiniteStep, Step
from course_lib.loops.train import train

__all__ = [
    "EMA",
    "ActivationStatistics",
    "CheckpointError",
    "Checkpoints",
    "EarlyStopping",
    "History",
    "LoggedRun",
    "Loss",
    "LossScaler",
    "NonFiniteStep",
    "Objective",
    "OverRanks",
    "Run",
    "RunLog",
    "Step",
    "TensorBoardMirror",
    "UpdateRatios",
    "backprop",
    "classification",
    "clip_objective",
    "contrastive_objective",
    "evaluate",
    "evaluating",
    "fingerprint",
    "fit",
    "gradient_norms",
    "in_precision",
    "next_token",
    "read_log",
    "regression",
    "seed_all",
    "seeded",
    "sharpness_aware",
    "simsiam_objective",
    "train",
    "write_tensorboard",
]

"""Measuring what a model has learnt: how good its embeddings are, and how good its samples."""

from course_lib.evaluation.embeddings import alignment, uniformity
from course_lib.evaluation.generation import (
    Neighbours,
    PrecisionRecall,
    frechet_distance,
    frechet_floor,
    nearest_neighbours,
    precision_recall,
)
from course_lib.evaluation.knn_accuracy import knn_accuracy
from course_lib.evaluation.linear_probe import LinearProbe, fit_linear_probe, linear_probe
from course_lib.evaluation.retrieval import recall_at_k
from course_lib.evaluation.zero_shot import zero_shot

__all__ = [
    "LinearProbe",
    "Neighbours",
    "PrecisionRecall",
    "alignment",
    "fit_linear_probe",
    "frechet_distance",
    "frechet_floor",
    "knn_accuracy",
    "linear_probe",
    "nearest_neighbours",
    "precision_recall",
    "recall_at_k",
    "uniformity",
    "zero_shot",
]

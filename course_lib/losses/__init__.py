"""What to minimise: losses from likelihoods, written out and equal to torch's where torch has them."""

from course_lib.losses.binary_cross_entropy import binary_cross_entropy
from course_lib.losses.calibration import expected_calibration_error
from course_lib.losses.contrastive import barlow_twins, clip_loss, info_nce, nt_xent, simsiam, vicreg
from course_lib.losses.conventions import Reduction
from course_lib.losses.cross_entropy import cross_entropy
from course_lib.losses.distillation import distillation
from course_lib.losses.entropy import entropy
from course_lib.losses.focal import focal
from course_lib.losses.gaussian_nll import gaussian_nll
from course_lib.losses.hinge import hinge
from course_lib.losses.huber import huber
from course_lib.losses.kl_divergence import kl_divergence
from course_lib.losses.mae import mae
from course_lib.losses.mse import mse
from course_lib.losses.multiclass_hinge import multiclass_hinge
from course_lib.losses.softmax import log_softmax, log_sum_exp, softmax
from course_lib.losses.triplet import triplet
from course_lib.losses.uncertainty_weighting import UncertaintyWeighting

__all__ = [
    "Reduction",
    "UncertaintyWeighting",
    "barlow_twins",
    "binary_cross_entropy",
    "clip_loss",
    "cross_entropy",
    "distillation",
    "entropy",
    "expected_calibration_error",
    "focal",
    "gaussian_nll",
    "hinge",
    "huber",
    "info_nce",
    "kl_divergence",
    "log_softmax",
    "log_sum_exp",
    "mae",
    "mse",
    "multiclass_hinge",
    "nt_xent",
    "simsiam",
    "softmax",
    "triplet",
    "vicreg",
]

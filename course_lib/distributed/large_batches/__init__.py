"""Large batches and few messages: noise scale, critical batch size, AdaScale, local SGD and DiLoCo."""

from course_lib.distributed.large_batches.adascale import AdaScale, gain
from course_lib.distributed.large_batches.critical_batch import (
    CriticalBatch,
    fit_critical_batch,
    scaled_rate,
    step_efficiency,
)
from course_lib.distributed.large_batches.diloco import DiLoCo
from course_lib.distributed.large_batches.measured_gradients import MeasuredGradients
from course_lib.distributed.large_batches.noise_scale import AveragedNoiseScale, NoiseScale, noise_scale
from course_lib.distributed.large_batches.outer_step import OuterStep
from course_lib.distributed.large_batches.simulated_diloco import simulate_diloco

__all__ = [
    "AdaScale",
    "AveragedNoiseScale",
    "CriticalBatch",
    "DiLoCo",
    "MeasuredGradients",
    "NoiseScale",
    "OuterStep",
    "fit_critical_batch",
    "gain",
    "noise_scale",
    "scaled_rate",
    "simulate_diloco",
    "step_efficiency",
]

"""Learning to undo noise: schedules, denoising and flow matching, samplers, guidance, and an exact score as oracle."""

from course_lib.diffusion.flow_samplers import flow_euler, flow_heun, sampling_times
from course_lib.diffusion.forward import add_noise, interpolate
from course_lib.diffusion.guidance import guided
from course_lib.diffusion.mixture import GaussianMixture
from course_lib.diffusion.objectives import denoising, flow_matching, shifted_time
from course_lib.diffusion.predictions import convert
from course_lib.diffusion.samplers import ancestral, ddim, sampling_steps
from course_lib.diffusion.schedules import NoiseSchedule, cosine_schedule, linear_schedule, shifted

__all__ = [
    "GaussianMixture",
    "NoiseSchedule",
    "add_noise",
    "ancestral",
    "convert",
    "cosine_schedule",
    "ddim",
    "denoising",
    "flow_euler",
    "flow_heun",
    "flow_matching",
    "guided",
    "interpolate",
    "linear_schedule",
    "sampling_steps",
    "sampling_times",
    "shifted",
    "shifted_time",
]

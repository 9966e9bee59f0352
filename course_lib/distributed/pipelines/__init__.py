"""Pipeline parallelism: schedules, their timelines, and engines that carry them out."""

from course_lib.distributed.pipelines.pipeline import Pipeline
from course_lib.distributed.pipelines.schedules import Action, Schedule, gpipe, one_forward_one_backward
from course_lib.distributed.pipelines.stages import TransformerStage
from course_lib.distributed.pipelines.timeline import Event, Timeline, bubble_share, simulate
from course_lib.distributed.pipelines.torch_pipeline import TorchPipeline

__all__ = [
    "Action",
    "Event",
    "Pipeline",
    "Schedule",
    "Timeline",
    "TorchPipeline",
    "TransformerStage",
    "bubble_share",
    "gpipe",
    "one_forward_one_backward",
    "simulate",
]

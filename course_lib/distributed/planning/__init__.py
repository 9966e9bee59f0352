"""Planning a distributed run before paying for it: links, collectives, memory, time of a step, choice of a layout."""

from course_lib.distributed.planning.choose import LayoutPlan, choose_layout, rank_layouts
from course_lib.distributed.planning.clusters import FABRICS, Cluster, Fabric, cluster
from course_lib.distributed.planning.collective_costs import CollectiveCost, collective_cost
from course_lib.distributed.planning.efficiency import ScalingPoint, exposed_seconds, strong_scaling, weak_scaling
from course_lib.distributed.planning.layout import Layout, dealt_layers
from course_lib.distributed.planning.links import CommunicationModel, fit_communication
from course_lib.distributed.planning.published_layouts import (
    PUBLISHED_LAYOUTS,
    Comparison,
    PublishedLayout,
    compare_published,
)
from course_lib.distributed.planning.rank_memory import RankMemory, micro_batches_held, rank_memory, stage_parameters
from course_lib.distributed.planning.step_time import RankTraffic, StepTime, predict_step, rank_traffic
from course_lib.distributed.planning.zero_formulas import (
    FLOAT32,
    MIXED,
    MIXED_FLOAT32_GRADIENTS,
    NumberBytes,
    zero_memory,
    zero_traffic,
)

__all__ = [
    "FABRICS",
    "FLOAT32",
    "MIXED",
    "MIXED_FLOAT32_GRADIENTS",
    "PUBLISHED_LAYOUTS",
    "Cluster",
    "CollectiveCost",
    "CommunicationModel",
    "Comparison",
    "Fabric",
    "Layout",
    "LayoutPlan",
    "NumberBytes",
    "PublishedLayout",
    "RankMemory",
    "RankTraffic",
    "ScalingPoint",
    "StepTime",
    "choose_layout",
    "cluster",
    "collective_cost",
    "compare_published",
    "dealt_layers",
    "exposed_seconds",
    "fit_communication",
    "micro_batches_held",
    "predict_step",
    "rank_layouts",
    "rank_memory",
    "rank_traffic",
    "stage_parameters",
    "strong_scaling",
    "weak_scaling",
    "zero_memory",
    "zero_traffic",
]

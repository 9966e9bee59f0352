"""Engines: ways to share a model's training among ranks, each of them a ``gradients`` function of `Run`."""

from course_lib.distributed.engines.checkpointed import checkpoint_activations
from course_lib.distributed.engines.data_parallel import DDP
from course_lib.distributed.engines.fully_sharded import FullySharded
from course_lib.distributed.engines.live_bytes import live_bytes
from course_lib.distributed.engines.norms import norm_over_shards
from course_lib.distributed.engines.same_model import check_same_model
from course_lib.distributed.engines.units import blocks
from course_lib.distributed.engines.zero import Zero

__all__ = [
    "DDP",
    "FullySharded",
    "Zero",
    "blocks",
    "check_same_model",
    "checkpoint_activations",
    "live_bytes",
    "norm_over_shards",
]

"""Collectives made of send and receive, with their traffic counted, and data parallelism by hand."""

from course_lib.distributed.rings.other_ways import naive_all_reduce, tree_broadcast
from course_lib.distributed.rings.overlapped import Overlapped, Reduction, bucketed
from course_lib.distributed.rings.ring import ring_all_gather, ring_all_reduce, ring_broadcast, ring_reduce_scatter
from course_lib.distributed.rings.traffic import Traffic, chunk_sizes, ring_traffic

__all__ = [
    "Overlapped",
    "Reduction",
    "Traffic",
    "bucketed",
    "chunk_sizes",
    "naive_all_reduce",
    "ring_all_gather",
    "ring_all_reduce",
    "ring_broadcast",
    "ring_reduce_scatter",
    "ring_traffic",
    "tree_broadcast",
]

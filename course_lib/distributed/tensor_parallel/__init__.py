"""Tensor parallelism: layers of which each rank holds a part, by hand and by torch's DTensor."""

from course_lib.distributed.tensor_parallel.engine import TensorParallel
from course_lib.distributed.tensor_parallel.linear import ColumnParallelLinear, RowParallelLinear
from course_lib.distributed.tensor_parallel.plan import parallelize_transformer, transformer_plan
from course_lib.distributed.tensor_parallel.regions import (
    copy_to_ranks,
    gather_parts,
    gather_sequence,
    scatter_sum,
    split_parts,
    sum_over_ranks,
)
from course_lib.distributed.tensor_parallel.split_transformer import split_block, split_transformer
from course_lib.distributed.tensor_parallel.traffic import CountedCollectives, block_traffic, counting_collectives
from course_lib.distributed.tensor_parallel.vocabulary import (
    VocabularyParallelEmbedding,
    vocabulary_parallel_cross_entropy,
    vocabulary_parallel_next_token,
)

__all__ = [
    "ColumnParallelLinear",
    "CountedCollectives",
    "RowParallelLinear",
    "TensorParallel",
    "VocabularyParallelEmbedding",
    "block_traffic",
    "copy_to_ranks",
    "counting_collectives",
    "gather_parts",
    "gather_sequence",
    "parallelize_transformer",
    "scatter_sum",
    "split_block",
    "split_parts",
    "split_transformer",
    "sum_over_ranks",
    "transformer_plan",
    "vocabulary_parallel_cross_entropy",
    "vocabulary_parallel_next_token",
]

"""Adapting a trained model by little: LoRA, bottlenecks, a learnt prompt, a head; and arithmetic with fine-tunes."""

from course_lib.nn.adapters.bottleneck import add_bottlenecks, remove_bottlenecks
from course_lib.nn.adapters.lora import add_lora, lora_names, use_lora, without_lora
from course_lib.nn.adapters.lora_files import load_lora, save_lora
from course_lib.nn.adapters.lora_merge import lora_updates, merge_lora, remove_lora, unmerge_lora
from course_lib.nn.adapters.prompt_tuning import PromptTuned
from course_lib.nn.adapters.targets import freeze
from course_lib.nn.adapters.trainable import (
    ParameterCount,
    count_parameters,
    load_trainable,
    save_trainable,
    trainable_parameters,
)
from course_lib.nn.adapters.weight_arithmetic import add_task_vectors, average_weights, task_vector

__all__ = [
    "ParameterCount",
    "PromptTuned",
    "add_bottlenecks",
    "add_lora",
    "add_task_vectors",
    "average_weights",
    "count_parameters",
    "freeze",
    "load_lora",
    "load_trainable",
    "lora_names",
    "lora_updates",
    "merge_lora",
    "remove_bottlenecks",
    "remove_lora",
    "save_lora",
    "save_trainable",
    "task_vector",
    "trainable_parameters",
    "unmerge_lora",
    "use_lora",
    "without_lora",
]

"""What deep nets are made of: initialisation, norms, residual blocks, and small nets of them."""

from course_lib.nn.basic_block import BasicBlock
from course_lib.nn.batch_norm import BatchNorm
from course_lib.nn.conv_net import ConvNet
from course_lib.nn.group_norm import GroupNorm
from course_lib.nn.initialisers import (
    activation_gain,
    fan_in_and_fan_out,
    he_normal_,
    he_uniform_,
    initialise,
    xavier_normal_,
    xavier_uniform_,
)
from course_lib.nn.layer_norm import LayerNorm
from course_lib.nn.message_passing import MessagePassing
from course_lib.nn.mlp import MLP
from course_lib.nn.receptive_field import receptive_field
from course_lib.nn.residual_block import ResidualBlock
from course_lib.nn.resnet import ResNet
from course_lib.nn.rms_norm import RMSNorm

__all__ = [
    "MLP",
    "BasicBlock",
    "BatchNorm",
    "ConvNet",
    "GroupNorm",
    "LayerNorm",
    "MessagePassing",
    "RMSNorm",
    "ResNet",
    "ResidualBlock",
    "activation_gain",
    "fan_in_and_fan_out",
    "he_normal_",
    "he_uniform_",
    "initialise",
    "receptive_field",
    "xavier_normal_",
    "xavier_uniform_",
]

"""What deep nets are made of: initialisation, norms, residual blocks, and small nets of them."""

from course_lib.nn.basic_block import BasicBlock
from course_lib.nn.batch_norm import BatchNorm
from course_lib.nn.caption_encoder import CaptionEncoder
from course_lib.nn.conv_encoder import ConvEncoder
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
from course_lib.nn.projection_head import ProjectionHead
from course_lib.nn.receptive_field import receptive_field
from course_lib.nn.residual_block import ResidualBlock
from course_lib.nn.resnet import ResNet
from course_lib.nn.rms_norm import RMSNorm
from course_lib.nn.siamese import Siamese
from course_lib.nn.time_embedding import TimeEmbedding
from course_lib.nn.time_mlp import TimeMLP
from course_lib.nn.two_tower import TwoTower
from course_lib.nn.unet import UNet

__all__ = [
    "MLP",
    "BasicBlock",
    "BatchNorm",
    "CaptionEncoder",
    "ConvEncoder",
    "ConvNet",
    "GroupNorm",
    "LayerNorm",
    "MessagePassing",
    "ProjectionHead",
    "RMSNorm",
    "ResNet",
    "ResidualBlock",
    "Siamese",
    "TimeEmbedding",
    "TimeMLP",
    "TwoTower",
    "UNet",
    "activation_gain",
    "fan_in_and_fan_out",
    "he_normal_",
    "he_uniform_",
    "initialise",
    "receptive_field",
    "xavier_normal_",
    "xavier_uniform_",
]

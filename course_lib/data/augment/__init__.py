"""Random changes that keep what an image shows: crop, affine map, noise, blur, flip; batched, seeded, on any device.

Every function takes a whole batch and a generator, and draws each image's own parameters. They combine as plain
functions: ``compose(random_crop, partial(gaussian_blur, sigma=(0.1, 1.0)))`` is an augmentation too.
"""

from .geometry import horizontal_flip, random_affine, random_crop
from .pixels import add_noise, gaussian_blur
from .views import Augment, compose, two_views

__all__ = [
    "Augment",
    "add_noise",
    "compose",
    "gaussian_blur",
    "horizontal_flip",
    "random_affine",
    "random_crop",
    "two_views",
]

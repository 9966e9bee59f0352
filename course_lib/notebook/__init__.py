"""What the course's pages share: the scale dial, claims, and the look of figures."""

from course_lib.notebook.claims import ClaimFailed, claim, stored_claim, stored_results
from course_lib.notebook.scale import device, scale, setting
from course_lib.notebook.style import (
    BLUE,
    COLORS,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    PINK,
    SKY,
    YELLOW,
    figure,
    images,
    show,
)

__all__ = [
    "BLUE",
    "COLORS",
    "GREEN",
    "GREY",
    "LIGHT",
    "ORANGE",
    "PINK",
    "SKY",
    "YELLOW",
    "ClaimFailed",
    "claim",
    "device",
    "figure",
    "images",
    "scale",
    "setting",
    "show",
    "stored_claim",
    "stored_results",
]

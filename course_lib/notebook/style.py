"""One look for every figure of the course: colour-blind safe, labelled directly, readable at half size."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PNG_BYTES = 60_000
# The palette of Okabe and Ito (2008), told apart with every common kind of colour blindness.
BLUE, ORANGE, GREEN, PINK, SKY, YELLOW = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
GREY, LIGHT = "#666666", "#CCCCCC"
COLORS = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW)

_SETTINGS: dict[str, Any] = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "font.size": 11,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "figure.dpi": 100,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}


def figure(width: float = 6.6, height: float = 3.4, *, rows: int = 1, columns: int = 1, **options: Any) -> Any:
    """Return a new figure and its axes in the course's look, as ``plt.subplots`` does.

    Args:
        width: Inches.
        height: Inches.
        rows: Rows of axes.
        columns: Columns of axes.
        options: Passed on to ``plt.subplots`` (``sharey=True``, ``width_ratios=[2, 1]``).

    Returns:
        ``(figure, axes)``; axes is an array when there are several.
    """
    import matplotlib.pyplot as plt
    from cycler import cycler

    plt.style.use({**_SETTINGS, "axes.prop_cycle": cycler(color=COLORS)})
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def images(ax: Axes, pictures: Any, *, labels: Sequence[str] = (), columns: int = 8) -> None:
    """Draw small grey pictures as a grid on one ``ax``, each with its label underneath.

    Args:
        ax: Where to draw.
        pictures: Values in [0, 1]; 1 is ink.
        labels: One short text a picture, or none.
        columns: Pictures in a row.

    Shape:
        - pictures: ``(n, height, width)`` or ``(n, 1, height, width)``
    """
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        left, top = column * 1.15, row * (1.5 if labels else 1.15)
        ax.imshow(
            picture.reshape(picture.shape[-2:]), cmap="gray_r", vmin=0, vmax=1, extent=(left, left + 1, top + 1, top)
        )
        if labels:
            ax.text(left + 0.5, top + 1.07, labels[place], ha="center", va="top", fontsize=10)
    rows = -(-len(pictures) // columns)
    ax.set(xlim=(-0.05, columns * 1.15), ylim=(rows * (1.5 if labels else 1.15), -0.05), aspect="equal")
    ax.axis("off")


def show(fig: Figure, alt: str) -> None:
    """Display ``fig`` as a small PNG with ``alt`` as its text alternative, and close it.

    Args:
        fig: The figure.
        alt: What someone who cannot see it would be told: what is drawn, and what there is to see. It becomes the
            output's ``text/plain``.

    Raises:
        ValueError: If ``alt`` is too short to say anything, or the picture is larger than 60 KB.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    alt = " ".join(alt.split())
    if len(alt) < 40:
        raise ValueError(f"a text alternative says what is drawn and what there is to see; got {alt!r}.")
    png = _small_png(fig)
    plt.close(fig)
    if len(png) > MAX_PNG_BYTES:
        raise ValueError(
            f"the figure takes {len(png):,} bytes, more than {MAX_PNG_BYTES:,}: make it smaller or simpler."
        )
    bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": alt}
    display(bundle, metadata={"image/png": {"alt": alt}}, raw=True)  # type: ignore[no-untyped-call]


def _small_png(fig: Figure) -> bytes:
    """Render with 256 colours, which drawings do not miss."""
    from PIL import Image

    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, format="png", metadata={"Software": None})
    full.seek(0)
    Image.open(full).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()

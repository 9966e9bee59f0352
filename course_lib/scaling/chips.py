"""Accelerators: what their makers say they can do, and how much of it a training run gets out of them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from course_lib.scaling.sources import Source


@dataclass(frozen=True, slots=True)
class Chip:
    """One accelerator.

    Args:
        name: As it is called here.
        peak_flops_per_second: Of bf16 matrix products, dense. Data sheets print twice that, "with sparsity", which
            no ordinary training can use.
        memory_bytes: Of the high-bandwidth memory.
        memory_bytes_per_second: Of reading it.
        watts: Rated power, None where the maker does not publish it.
        source: The data sheet.
    """

    name: str
    peak_flops_per_second: float
    memory_bytes: float
    memory_bytes_per_second: float
    watts: float | None
    source: Source


_A100 = Source("NVIDIA A100 tensor core GPU, data sheet", "NVIDIA", "June 2021")
_H100 = Source("NVIDIA H100 tensor core GPU architecture, white paper, table 2", "NVIDIA", "2022")
_H200 = Source("NVIDIA H200 tensor core GPU, data sheet", "NVIDIA", "November 2023")
_B200 = Source("NVIDIA Blackwell architecture, technical brief, HGX B200", "NVIDIA", "2024")
_TPU = "Cloud TPU documentation, system architecture, "

CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("A100 SXM 80GB", 312e12, 80e9, 2.039e12, 400, _A100),
        Chip("H100 SXM", 989.4e12, 80e9, 3.35e12, 700, _H100),
        Chip("H200 SXM", 989.4e12, 141e9, 4.8e12, 700, _H200),
        Chip("B200", 2.25e15, 180e9, 8e12, 1000, _B200),
        Chip("TPU v4", 275e12, 32e9, 1.228e12, None, Source(_TPU + "TPU v4", "Google Cloud", "undated")),
        Chip("TPU v5e", 197e12, 16e9, 819e9, None, Source(_TPU + "TPU v5e", "Google Cloud", "undated")),
        Chip("TPU v5p", 459e12, 95e9, 2.765e12, None, Source(_TPU + "TPU v5p", "Google Cloud", "undated")),
    )
}
_DEVICE_NAMES = {  # what torch.cuda.get_device_name() says, spelled out: a PCIe card of the same name is slower
    "NVIDIA A100-SXM4-80GB": "A100 SXM 80GB",
    "NVIDIA H100 80GB HBM3": "H100 SXM",
    "NVIDIA H200": "H200 SXM",
    "NVIDIA B200": "B200",
}


def chip(name: str) -> Chip:
    """Return a chip by its name in `CHIPS`.

    Raises:
        ValueError: If it is not listed; the message says which are.
    """
    if name not in CHIPS:
        raise ValueError(f"no data sheet of {name!r} here; there are {', '.join(CHIPS)}. Others: build a Chip.")
    return CHIPS[name]


def chip_of(device_name: str) -> Chip:
    """Return the chip that ``torch.cuda.get_device_name()`` names.

    Args:
        device_name: Spelled as torch spells it; cards of one name but another slot have another peak.

    Raises:
        ValueError: If its data sheet is not listed.

    Example:
        >>> chip_of("NVIDIA H100 80GB HBM3").peak_flops_per_second / 1e12
        989.4
    """
    if device_name not in _DEVICE_NAMES:
        raise ValueError(
            f"no data sheet of {device_name!r} here, only of {', '.join(_DEVICE_NAMES)}: look its dense bf16 peak up, "
            "or measure what it gives with measured_peak()."
        )
    return CHIPS[_DEVICE_NAMES[device_name]]


def measured_peak(
    device: str | torch.device = "cpu", *, dtype: torch.dtype = torch.float32, size: int = 1024, repeats: int = 5
) -> float:
    """Return the FLOP a second of one large square matrix product: a peak for machines without a data sheet.

    The best of a few repetitions, with as many threads as torch uses. Less than the maker's figure, so a utilisation
    against it is higher than one against a data sheet: do not compare the two.

    Args:
        device: Where to measure.
        dtype: Of the matrices.
        size: Rows and columns.
        repeats: Products timed.
    """
    device = torch.device(device)
    left = torch.ones(size, size, device=device, dtype=dtype)
    seconds = math.inf
    for _ in range(repeats + 1):  # the first one warms up
        started = time.perf_counter()
        product = left @ left
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        product[0, 0].item()
        seconds = min(seconds, time.perf_counter() - started)
    return 2 * size**3 / seconds


def mfu(*, flops_per_token: float, tokens_per_second: float, peak_flops_per_second: float, num_chips: int = 1) -> float:
    """Return the model FLOP utilisation: the share of the chips' peak that goes into the model's own arithmetic.

    Only what the model needs counts: activations computed a second time to save memory do not. (With them it is called
    hardware FLOP utilisation, and is higher.)

    Args:
        flops_per_token: Of training, forward and backward; see `flops_per_token`.
        tokens_per_second: Of all chips together.
        peak_flops_per_second: Of one chip, dense, in the precision used.
        num_chips: How many work together.

    Returns:
        0 to 1. Large runs report 0.3 to 0.5; above 1 the peak or the count is wrong.

    Raises:
        ValueError: If a value is not positive and finite.

    Example:
        >>> round(mfu(flops_per_token=6 * 8e9, tokens_per_second=9000, peak_flops_per_second=989.4e12), 3)
        0.437

    Reference: Chowdhery et al. 2022, "PaLM: scaling language modeling with pathways", section 4.1 and appendix B,
    https://arxiv.org/abs/2204.02311
    """
    for name, value in {
        "flops_per_token": flops_per_token,
        "tokens_per_second": tokens_per_second,
        "peak_flops_per_second": peak_flops_per_second,
        "num_chips": num_chips,
    }.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value!r}.")
    return flops_per_token * tokens_per_second / (peak_flops_per_second * num_chips)

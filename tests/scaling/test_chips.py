"""Data sheets and utilisation."""

import pytest
import torch

from course_lib.scaling import CHIPS, chip_of, measured_peak, mfu


def test_peaks_are_dense_ones():
    """Half of the 1,979 teraFLOP/s "with sparsity" that data sheets of the H100 and the H200 print in large."""
    assert CHIPS["H100 SXM"].peak_flops_per_second == CHIPS["H200 SXM"].peak_flops_per_second == 1978.8e12 / 2
    assert CHIPS["A100 SXM 80GB"].peak_flops_per_second == 624e12 / 2
    assert CHIPS["B200"].peak_flops_per_second == 4.5e15 / 2


def test_cards_are_told_apart_by_torchs_name():
    assert chip_of("NVIDIA H100 80GB HBM3") is CHIPS["H100 SXM"]
    with pytest.raises(ValueError, match=r"no data sheet of 'NVIDIA H100 PCIe'.*measured_peak"):
        chip_of("NVIDIA H100 PCIe")


def test_palm_by_its_own_figures():
    """PaLM 540B: 238,300 tokens a second on 6,144 TPU v4 chips; 0.457 without attention's scores, as it reports."""
    share = mfu(
        flops_per_token=6 * 540.35e9,
        tokens_per_second=238_300,
        peak_flops_per_second=CHIPS["TPU v4"].peak_flops_per_second,
        num_chips=6144,
    )
    assert share == pytest.approx(0.457, abs=1e-3)


def test_twice_the_chips_at_the_same_speed_is_half_the_utilisation():
    one, two = (
        mfu(flops_per_token=1e9, tokens_per_second=1e4, peak_flops_per_second=1e14, num_chips=k) for k in (1, 2)
    )
    assert one == 2 * two == 0.1


def test_a_measured_peak_is_the_speed_of_a_product(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("course_lib.scaling.chips.time.perf_counter", lambda: next(ticks) / 10)  # each takes 0.1 s
    assert measured_peak("cpu", dtype=torch.float64, size=50) == pytest.approx(2 * 50**3 / 0.1)


@pytest.mark.parametrize(("name", "value"), [("tokens_per_second", 0), ("peak_flops_per_second", float("inf"))])
def test_bad_input_is_named(name, value):
    given = {"flops_per_token": 1.0, "tokens_per_second": 1.0, "peak_flops_per_second": 1.0} | {name: value}
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got {value}"):
        mfu(**given)

"""augment: where each pixel comes from, noise and blur against SciPy, seeds, devices' promises, errors."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.stats import kstest
from torch.testing import assert_close

from course_lib.data import augment
from course_lib.data.augment import (
    add_noise,
    compose,
    gaussian_blur,
    horizontal_flip,
    random_affine,
    random_crop,
    two_views,
)

EVERY = [random_crop, random_affine, add_noise, gaussian_blur, horizontal_flip]
STILL = {"degrees": 0.0, "translate": 0.0, "scale": (1.0, 1.0), "shear": 0.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rulers(num, height, width, dtype=torch.float64):
    """Images that know where they are: channel 0 is the column, channel 1 the row, channel 2 a random picture."""
    row, column = torch.meshgrid(*(torch.arange(s, dtype=dtype) for s in (height, width)), indexing="ij")
    picture = torch.rand(num, height, width, generator=seeded(9), dtype=dtype)
    return torch.stack([column.expand_as(picture), row.expand_as(picture), picture], dim=1)


def maps_of(out, rows=slice(None), columns=slice(None)):
    """Fit "came from = matrix @ place + offset" to each output of rulers, (N, 2, 3), in pixels from the centre."""
    height, width = out.shape[-2:]
    row, column = torch.meshgrid(
        *(torch.arange(s, dtype=out.dtype) - (s - 1) / 2 for s in (height, width)), indexing="ij"
    )
    places = torch.stack([column, row, torch.ones_like(row)], -1)[rows, columns].reshape(-1, 3)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=out.dtype)
    came_from = out[:, :2, rows, columns].flatten(2).mT - centre
    fits = torch.linalg.lstsq(places.expand(len(out), -1, -1), came_from)
    assert_close(places @ fits.solution, came_from)  # the map is affine
    return fits.solution.mT


def test_crop_takes_a_rectangle_of_the_area_asked_for():
    out = random_crop(rulers(200, 20, 30), generator=seeded(), scale=(0.25, 0.25), ratio=(1.0, 1.0))
    maps = maps_of(out, slice(1, -1), slice(1, -1))  # half a pixel at the edge has no neighbour to be mixed with
    assert_close(maps[:, :, :2], (0.5 * torch.eye(2, dtype=torch.float64)).expand(200, -1, -1))
    reach = torch.tensor([30 / 4, 20 / 4], dtype=torch.float64)  # from the centre to a corner's, half the side is free
    shares = (maps[:, :, 2] / reach + 1) / 2
    assert all(kstest(share, "uniform").pvalue > 0.001 for share in shares.T)


def test_crop_draws_area_and_proportion_within_their_ranges():
    out = random_crop(rulers(2000, 24, 24), generator=seeded(1), scale=(0.2, 0.5), ratio=(0.5, 2.0))
    maps = maps_of(out, slice(2, -2), slice(2, -2))
    wide, tall = maps[:, 0, 0], maps[:, 1, 1]
    assert kstest((wide * tall - 0.2) / 0.3, "uniform").pvalue > 0.001
    assert kstest(torch.log2(wide / tall) / 2 + 0.5, "uniform").pvalue > 0.001


def test_crop_never_leaves_the_image():
    out = random_crop(rulers(500, 9, 17), generator=seeded(2), scale=(0.9, 1.0), ratio=(0.25, 4.0))
    assert out[:, 0].min() >= 0
    assert out[:, 0].max() <= 16
    assert out[:, 1].min() >= 0
    assert out[:, 1].max() <= 8
    whole = rulers(5, 9, 17)
    assert_close(random_crop(whole, generator=seeded(), scale=(1.0, 1.0), ratio=(1.0, 1.0)), whole)


@pytest.mark.parametrize("change", [partial(random_crop, scale=(0.1, 0.9)), partial(random_affine, scale=(1.8, 2.5))])
def test_pixels_are_looked_up_as_scipy_does(change):
    images = rulers(20, 15, 22)
    out = change(images, generator=seeded(3))
    for image, (columns, rows, picture) in zip(images, out, strict=True):
        looked_up = map_coordinates(image[2].numpy(), [rows.numpy(), columns.numpy()], order=1, mode="nearest")
        assert_close(picture, torch.from_numpy(looked_up))


def forward_maps(num=1500, **settings):
    """What random_affine did to 24x36 rulers: source to destination, looked at in the middle, where all is inside."""
    back = maps_of(
        random_affine(rulers(num, 24, 36), generator=seeded(4), **{**STILL, **settings}), slice(9, 15), slice(15, 21)
    )
    forward = torch.linalg.inv(back[:, :, :2])
    return forward, -(forward @ back[:, :, 2:]).squeeze(-1)


def test_each_part_of_the_affine_map_is_what_it_is_called():
    turned, shift = forward_maps(degrees=30.0)
    angle = torch.atan2(turned[:, 1, 0], turned[:, 0, 0])
    assert_close(turned @ turned.mT, torch.eye(2, dtype=torch.float64).expand(1500, -1, -1))  # in pixels, not sides
    assert_close(shift, torch.zeros_like(shift), atol=1e-9, rtol=0)
    assert kstest(torch.rad2deg(angle) / 60 + 0.5, "uniform").pvalue > 0.001

    scaled, _ = forward_maps(scale=(0.8, 1.5))
    assert_close(scaled, scaled[:, :1, :1] * torch.eye(2, dtype=torch.float64))
    assert kstest((scaled[:, 0, 0] - 0.8) / 0.7, "uniform").pvalue > 0.001

    sheared, _ = forward_maps(shear=20.0)
    upright = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64).repeat(1500, 1, 1)
    upright[:, 0, 1] = sheared[:, 0, 1]
    assert_close(sheared, upright)  # rows move sideways alone
    assert kstest(torch.rad2deg(torch.atan(sheared[:, 0, 1])) / 40 + 0.5, "uniform").pvalue > 0.001

    still, shift = forward_maps(translate=0.1)
    assert_close(still, torch.eye(2, dtype=torch.float64).expand(1500, -1, -1))
    assert all(
        kstest(s / (0.2 * side) + 0.5, "uniform").pvalue > 0.001 for s, side in zip(shift.T, (36, 24), strict=True)
    )


def test_the_affine_map_shears_then_turns_and_scales_then_shifts():
    forward, shift = forward_maps(degrees=20.0, translate=0.05, scale=(0.9, 1.2), shear=15.0)
    factor = forward[:, :, 0].norm(dim=1)
    turn = torch.atan2(forward[:, 1, 0], forward[:, 0, 0])
    rotation = torch.stack([torch.stack([turn.cos(), -turn.sin()], -1), torch.stack([turn.sin(), turn.cos()], -1)], -2)
    rest = rotation.mT @ forward / factor[:, None, None]
    expected = torch.eye(2, dtype=torch.float64).repeat(1500, 1, 1)
    expected[:, 0, 1] = rest[:, 0, 1]
    assert_close(rest, expected)
    assert factor.min() >= 0.9
    assert factor.max() <= 1.2
    assert rest[:, 0, 1].abs().max() <= math.tan(math.radians(15))
    assert turn.abs().max() <= math.radians(20)
    assert (shift.abs() <= torch.tensor([0.05 * 36, 0.05 * 24])).all()


def test_what_comes_in_from_outside_is_black():
    out = random_affine(torch.ones(200, 1, 10, 10), generator=seeded(5), **{**STILL, "translate": 1.0})
    covered = out.mean(dim=(1, 2, 3))
    assert covered.min() < 0.05
    assert covered.max() > 0.8
    assert covered.mean() == pytest.approx(0.25, abs=0.06)  # half of each side is left on average


def test_noise_has_the_spread_asked_for():
    grey = torch.full((400, 1, 30, 30), 0.5, dtype=torch.float64)
    fixed = (add_noise(grey, generator=seeded(6), std=0.1) - grey) / 0.1
    assert kstest(fixed.flatten()[:20_000], "norm").pvalue > 0.001
    spread = add_noise(grey, generator=seeded(6), std=(0.02, 0.1)).std(dim=(1, 2, 3))
    assert kstest((spread - 0.02) / 0.08, "uniform").pvalue > 0.001


def test_noise_stays_within_black_and_white():
    ends = torch.tensor([0.0, 1.0]).repeat(50, 1, 8, 8)
    out = add_noise(ends, generator=seeded(7), std=5.0)
    assert out.min() == 0
    assert out.max() == 1
    assert ((out == 0) | (out == 1)).float().mean() > 0.8


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_blur_is_scipys_with_the_weights_of_missing_pixels_shared_out(sigma):
    images = rulers(2, 11, 17)
    weights = gaussian_filter(np.ones((11, 17)), sigma, mode="constant", truncate=40)
    for image, out in zip(images, gaussian_blur(images, generator=seeded(), sigma=sigma), strict=True):
        for channel, blurred in zip(image, out, strict=True):
            expected = gaussian_filter(channel.numpy(), sigma, mode="constant", truncate=40) / weights
            assert_close(blurred, torch.from_numpy(expected))


def test_blur_keeps_even_images_and_runs_from_nothing_to_the_mean():
    images = rulers(3, 9, 12)
    even = torch.full_like(images, 0.7)
    assert_close(gaussian_blur(even, generator=seeded()), even)
    assert_close(gaussian_blur(images, generator=seeded(), sigma=1e-4), images, rtol=0, atol=0)
    mean = images.mean(dim=(-2, -1), keepdim=True).expand_as(images)
    assert_close(gaussian_blur(images, generator=seeded(), sigma=1e8), mean)


def test_each_image_gets_a_width_of_its_own():
    dot = torch.zeros(2000, 1, 1, 41, dtype=torch.float64)
    dot[..., 20] = 1
    distance = torch.arange(41) - 20
    width = (gaussian_blur(dot, generator=seeded(8), sigma=(1.0, 3.0)) * distance.square()).sum((1, 2, 3)).sqrt()
    assert kstest((width - 1) / 2, "uniform").pvalue > 0.001


def test_flip_mirrors_some_and_leaves_the_others():
    images = torch.rand(1000, 1, 2, 3, generator=seeded(10))
    out = horizontal_flip(images, generator=seeded(11), probability=0.3)
    mirrored = (out == images.flip(-1)).flatten(1).all(1)
    assert (mirrored ^ (out == images).flatten(1).all(1)).all()
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 1000))
    assert_close(horizontal_flip(images, generator=seeded(), probability=0.0), images, rtol=0, atol=0)
    assert_close(horizontal_flip(images, generator=seeded(), probability=1.0), images.flip(-1), rtol=0, atol=0)


def test_composition_is_one_after_the_other_on_one_generator():
    images, by_hand, noisy = torch.rand(4, 1, 8, 8, generator=seeded()), seeded(1), partial(add_noise, std=0.1)
    expected = noisy(random_crop(images, generator=by_hand), generator=by_hand)
    assert_close(compose(random_crop, noisy)(images, generator=seeded(1)), expected, rtol=0, atol=0)
    assert compose()(images, generator=seeded()) is images


def test_two_views_are_two_draws_of_the_same_rows():
    images, by_hand = torch.rand(4, 1, 8, 8, generator=seeded()), seeded(2)
    first, second = two_views(images, random_affine, generator=seeded(2))
    assert_close(first, random_affine(images, generator=by_hand), rtol=0, atol=0)
    assert_close(second, random_affine(images, generator=by_hand), rtol=0, atol=0)
    assert ((first - second).abs().amax((1, 2, 3)) > 0.01).all()


@pytest.mark.parametrize("change", EVERY)
def test_seeds_decide_alone_and_inputs_stay_as_they_are(change, global_random_states):
    before = global_random_states()
    if change is gaussian_blur:
        change = partial(gaussian_blur, sigma=(0.5, 1.5))  # widths near 0.1 leave every image as it is
    images = torch.rand(1, 2, 9, 12, generator=seeded()).repeat(64, 1, 1, 1)
    kept = images.clone()
    out = change(images, generator=seeded(3))
    assert_close(change(images, generator=seeded(3)), out, rtol=0, atol=0)
    assert len(out.flatten(1).unique(dim=0)) == (2 if change is horizontal_flip else 64)  # each image its own
    assert_close(images, kept, rtol=0, atol=0)
    assert global_random_states() == before


@pytest.mark.parametrize("change", EVERY)
def test_dtypes_are_kept_and_autocast_changes_nothing(change):
    images = torch.rand(16, 1, 12, 12, generator=seeded())
    out = change(images, generator=seeded(4))
    half = change(images.bfloat16(), generator=seeded(4))
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), out, atol=0.02, rtol=0)  # as coarse as bf16, with the same parameters
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(change(images, generator=seeded(4)), out, rtol=0, atol=0)
    assert change(images.double(), generator=seeded(4)).dtype == torch.float64
    assert change(images[:0], generator=seeded(4)).shape == (0, 1, 12, 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (partial(random_crop, scale=(0.0, 1.0)), r"scale must be .* above 0.0 and at most 1.0, got \(0.0, 1.0\)"),
        (partial(random_crop, scale=(0.5, 1.5)), r"got \(0.5, 1.5\)"),
        (partial(random_crop, ratio=(2.0, 1.0)), r"ratio must be .* above 0.0, got \(2.0, 1.0\)"),
        (partial(random_affine, scale=(0.5, math.inf)), r"scale must be .* got \(0.5, inf\)"),
        (partial(random_affine, degrees=-1.0), "got degrees=-1.0, translate=0.1 and shear=5.0"),
        (partial(random_affine, translate=1.5), "translate from 0 to 1 .* translate=1.5"),
        (partial(random_affine, shear=90.0), "below 90, got .* shear=90.0"),
        (partial(random_affine, degrees=math.nan), "degrees=nan"),
        (partial(add_noise, std=-0.1), "std must be a number of 0 or more, .* got -0.1"),
        (partial(add_noise, std=(0.2, 0.1)), r"got \(0.2, 0.1\)"),
        (partial(gaussian_blur, sigma=(0.0, 1.0)), r"sigma must be above 0, got \(0.0, 1.0\)"),
        (partial(gaussian_blur, sigma=(2.0, 1.0)), r"sigma must be a number .* got \(2.0, 1.0\)"),
        (partial(horizontal_flip, probability=1.1), "probability must be from 0 to 1, got 1.1"),
    ],
)
def test_bad_parameters_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        change(torch.zeros(2, 1, 4, 4), generator=seeded())


@pytest.mark.parametrize("change", EVERY)
def test_bad_images_and_generators_are_named(change):
    with pytest.raises(ValueError, match=r"torch.uint8 of shape \(2, 1, 4, 4\); divide whole numbers by 255"):
        change(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), generator=seeded())
    with pytest.raises(ValueError, match=r"torch.float32 of shape \(2, 4, 4\); .* unsqueeze\(1\)"):
        change(torch.zeros(2, 4, 4), generator=seeded())
    with pytest.raises(ValueError, match=r"generator is on cpu and the images on meta: .*torch.Generator\('meta'\)"):
        change(torch.zeros(2, 1, 4, 4, device="meta"), generator=seeded())


def test_the_module_is_reached_through_the_package():
    assert augment.random_crop is random_crop

# SPDX-License-Identifier: Apache-2.0
"""Windows of images, compared as the textbook says."""

import cv2
import numpy as np
import pytest

from da3_ros.estimation.refinement.frame import mirrored
from da3_ros.estimation.refinement.patches import NOISE, Patches, looked_up

H, W = 24, 31


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(20, 230, (4, H, W)).astype(np.float32)


def zncc(a, b, side):
    """Of each pixel (h, w), window by window; images go on beyond their borders as in a mirror."""
    r, out = side // 2, np.zeros(a.shape)
    a, b = (np.pad(image.astype(np.float64), r, mode="reflect") for image in (a, b))
    for y, x in np.ndindex(out.shape):
        p, q = (image[y : y + side, x : x + side] for image in (a, b))
        p, q = p - p.mean(), q - q.mean()
        out[y, x] = (p * q).mean() / np.sqrt(((p * p).mean() + NOISE) * ((q * q).mean() + NOISE))
    return out


def compared(own, others, side):
    patches = Patches(own, side).part(slice(None), slice(None))
    margin = side // 2
    return patches.compare(np.stack([mirrored(other, margin) for other in others]))[:, margin:-margin]


@pytest.mark.parametrize("side", [3, 7])
def test_scores_are_those_of_the_formula_however_many_are_compared_at_once(images, side):
    """Nothing of one image reaches into the scores of the next: they lie above each other while they are compared."""
    own, others = images[0], [0.5 * images[0] + 0.5 * images[1], images[2], images[0] * np.float32(0.3) + 40]
    scores = compared(own, others, side)
    assert scores.shape == (3, H, W)
    for score, other in zip(scores, others, strict=True):
        np.testing.assert_allclose(score, zncc(own, other, side), atol=2e-4)
        np.testing.assert_array_equal(score, compared(own, [other], side)[0])


def test_variance_is_that_of_the_window(images):
    around = np.pad(images[0], 3, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(around, (7, 7)).reshape(H, W, 49)
    np.testing.assert_allclose(Patches(images[0], 7).variance, windows.var(axis=2), rtol=1e-3)


def test_blank_patches_score_nothing(images):
    blank = np.full((H, W), 213.7, np.float32)
    assert Patches(blank, 7).variance.max() < 0.05
    scores = compared(blank, [blank, images[0]], 7)
    assert np.isfinite(scores).all()
    assert np.abs(scores).max() < 0.05
    assert np.abs(compared(images[0], [blank], 7)).max() < 0.05


def test_a_part_ends_as_in_a_mirror(images):
    rows, columns = slice(4, 17), slice(6, 29)
    part = Patches(images[0], 7).part(rows, columns)
    other = images[0][rows, columns] * np.float32(0.5) + 10
    score = part.compare(mirrored(other, 3)[None])[0, 3:-3]
    assert score.shape == (13, 23)
    # Away from its border the part scores as the whole does.
    np.testing.assert_allclose(score[3:-3, 3:-3], zncc(images[0], images[0] * 0.5 + 10, 7)[7:14, 9:26], atol=2e-4)


def test_between_pixels_images_are_linear_and_beyond_them_they_stay(images):
    columns, rows = [2, 2.5, 9, -4, 40, 3], [5, 5, 7.25, 5, 6, -9]
    found = looked_up(images[0], *(np.array(at, np.float32).reshape(2, 1, 3) for at in (columns, rows)))
    assert found.shape == (2, 1, 3)
    i = images[0]
    expected = [i[5, 2], (i[5, 2] + i[5, 3]) / 2, 0.75 * i[7, 9] + 0.25 * i[8, 9], i[5, 0], i[6, W - 1], i[0, 3]]
    np.testing.assert_allclose(found.ravel(), expected, atol=0.5)


def test_mirrored_rows():
    plane = np.arange(15, dtype=np.float32).reshape(5, 3)
    more = mirrored(plane[:, ::2], 2)
    np.testing.assert_array_equal(more[:, 0], [6, 3, 0, 3, 6, 9, 12, 9, 6])
    np.testing.assert_array_equal(more, cv2.copyMakeBorder(plane[:, ::2].copy(), 2, 2, 0, 0, cv2.BORDER_REFLECT_101))

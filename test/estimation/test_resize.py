# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from da3_ros.estimation.resize import resize


@pytest.fixture(scope="module")
def photograph():
    """Detail of every size, as in a picture of the world."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.uniform(0, 255 / 6, (500 // s, 741 // s, 3)).astype(np.float32), (741, 500))
        for s in (1, 3, 8, 20, 60, 120)
    ]
    return np.sum(layers, axis=0).astype(np.uint8)


@pytest.mark.parametrize("width", [600, 370, 252, 182, 98])
def test_smaller_is_the_mean_of_the_area(photograph, width):
    height = round(width * 500 / 741)
    found = resize(photograph, width, height)
    area = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
    assert found.shape == area.shape
    assert np.abs(found.astype(int) - area).mean() < 3


def test_fine_stripes_do_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (400, 200))
    small = resize(stripes, 90, 90)
    assert np.abs(small.astype(int) - 127).max() < 50


def test_larger_and_equal(photograph):
    assert resize(photograph, 800, 600).shape == (600, 800, 3)
    np.testing.assert_array_equal(resize(photograph, 741, 500), photograph)

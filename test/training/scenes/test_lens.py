# SPDX-License-Identifier: Apache-2.0
"""What a calibration leaves of a lens."""

import numpy as np
import pytest

from da3_training.scenes.lens import bend, draw_distortion, focal_factor


def test_a_mild_lens_bends_image_and_depth_alike():
    y, x = np.mgrid[:60, :80].astype(np.float32)
    for coefficient in (-0.02, 0.02):
        image, depth = bend(np.stack([x, y, x], -1), x + 1, coefficient)
        assert np.abs(image[..., 0] + 1 - depth).max() <= 0.51  # depth is that of the nearest pixel
        assert 0.3 < np.abs(image[..., 0] - x).max() < 2
        centre = (image[30, 48, 0] - image[30, 32, 0]) / 16  # OpenCV 4 takes places to 1/32 of a pixel
        assert centre == pytest.approx(1 / focal_factor(coefficient), abs=2e-3)
    drawn = [draw_distortion(np.random.default_rng(i)) for i in range(200)]
    assert 0.5 < np.mean(np.array(drawn) == 0) < 0.9
    assert np.abs(drawn).max() <= 0.02

# SPDX-License-Identifier: Apache-2.0
"""The photo of a cheap camera."""

from needs import needs

needs("torch")

from dataclasses import replace

import cv2
import numpy as np
import pytest

from da3_training.scenes.sensor import Sensor, smear


def test_every_part_of_the_sensor_takes_effect():
    rng = np.random.default_rng(0)
    linear = cv2.resize(rng.random((12, 16, 3), np.float32), (160, 120))
    depth = np.tile(np.where(np.arange(160) % 20 < 10, 1.5, 4).astype(np.float32), (120, 1))
    plain = Sensor(0.2, 0.0, np.ones(3), 2.2, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 90)
    before = plain.expose(linear, depth, np.random.default_rng(1)).astype(float)
    changes = {
        "brightness": 0.3, "exposure_jitter": 0.3, "white_balance": np.array([1.2, 1.0, 0.9]), "gamma": 1.8,
        "contrast": 0.5, "saturation": 0.4, "vignette": 0.4, "blur": 1.0, "motion": 8.0, "noise": 0.03, "shade": 0.9,
    }  # fmt: skip
    for name, value in changes.items():
        after = replace(plain, **{name: value}).expose(linear, depth, np.random.default_rng(1)).astype(float)
        assert np.abs(after - before).mean() > 0.2, name
    sharp = np.zeros((41, 41, 3), np.float32)
    sharp[20, 20] = 1
    line = smear(sharp, 9.0, 0.0)
    assert line.sum() == pytest.approx(3, rel=1e-4)
    assert (line[..., 0] > 1e-4).sum(0).max() == 1
    assert 8 <= (line[20, :, 0] > 1e-4).sum() <= 11

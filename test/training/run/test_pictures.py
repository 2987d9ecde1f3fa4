# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import numpy as np
import pytest

from da3_training.run.pictures import Gallery, panel

H, W = 8, 12


def views(count=1, depth=2.0):
    images = np.zeros((count, 3, H, W), np.float32)
    truth = np.linspace(1, 4, count * H * W, dtype=np.float32).reshape(count, H, W)
    return images, np.full_like(truth, depth), truth, truth > 1.5


def test_estimate_and_truth_share_a_colour_scale():
    images, _, truth, valid = views(2)
    picture = panel(images, truth, truth, valid)
    assert picture.shape == (3 * H, 2 * W, 3)
    estimate, true = picture[H : 2 * H], picture[2 * H :]
    known = np.concatenate(list(valid), axis=1)
    assert (estimate[known] == true[known]).all()
    assert (true[~known] == 0).all()
    assert estimate[~known].any()
    near, far = estimate[0, 0], estimate[-1, -1]
    assert near[0] > near[2]  # red is near
    assert far[2] > far[0] or far[1] > far[0]


def test_nothing_known_is_no_error():
    images, estimate, truth, valid = views()
    assert not panel(images, estimate, truth, valid & False)[2 * H :].any()


def test_the_gallery_shows_best_to_worst():
    gallery = Gallery()
    for error in (0.3, 0.1, 0.2, 0.9, 0.5):
        images, estimate, truth, valid = views()
        gallery.add(error, images + np.float32(error), estimate, truth, valid)
    picture = gallery.picture(shares=(0, 0.5, 1))
    assert picture.shape == (20 + 3 * H, 3 * W, 3)
    brightness = picture[20 : 20 + H].reshape(H, 3, W, 3).mean(axis=(0, 2, 3))
    assert list(brightness) == sorted(brightness)  # images were as bright as their error
    assert gallery.picture(shares=(0, 0, 0.01)).shape[1] == W  # each once


def test_sets_without_depth_are_not_shown():
    gallery = Gallery()
    images, estimate, truth, valid = views()
    gallery.add(0.1, images, estimate, truth, valid & False)
    with pytest.raises(ValueError, match="nothing to show"):
        gallery.picture()

# SPDX-License-Identifier: Apache-2.0
"""Features and matches beside plain code."""

import cv2
import numpy as np
import pytest

from da3_ros.estimation.pose.features import FeatureConfig, Features, detect, match
from da3_ros.geometry import CameraModel

CAMERA = CameraModel.pinhole(120, 90, 100.0, 110.0, 61.0, 44.0)


def image(width=120, height=90, seed=0):
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def features(descriptors, pixels=None):
    pixels = np.arange(2.0 * len(descriptors)).reshape(-1, 2) if pixels is None else np.asarray(pixels, float)
    return Features(pixels, np.asarray(descriptors, np.float32), CAMERA)


def by_hand(a, b, ratio):
    """Pairs that are each other's nearest, and clearly nearer than the second nearest seen from a."""
    apart = np.linalg.norm(a.descriptors[:, None] - b.descriptors[None], axis=2)
    found = set()
    for i, row in enumerate(apart):
        j, second = np.argsort(row)[:2]
        if row[j] < ratio * row[second] and apart[:, j].argmin() == i:
            found.add((i, int(j)))
    return found


@pytest.mark.parametrize("ratio", [0.7, 0.8, 0.99])
def test_matches_are_those_of_every_pair_compared(ratio):
    rng = np.random.default_rng(2)
    a = rng.random((60, 128))
    b = np.concatenate([a[10:50] + rng.normal(0, 0.2, (40, 128)), rng.random((30, 128))])
    expected = by_hand(features(a), features(b), ratio)
    assert {tuple(pair) for pair in match(features(a), features(b), ratio)} == expected
    assert len(expected) > 5
    turned = {(j, i) for i, j in by_hand(features(b), features(a), ratio)}
    assert {tuple(pair) for pair in match(features(b), features(a), ratio)} == {(j, i) for i, j in turned}


@pytest.mark.parametrize(("nearest", "is_kept"), [(0.79, True), (0.81, False)])
def test_the_usual_ratio_is_lowe_s(nearest, is_kept):
    eye = np.eye(3, 128)
    a, b = features([0 * eye[0], 9 * eye[2]]), features([nearest * eye[0], eye[1]])
    assert match(a, b, FeatureConfig().ratio).tolist() == ([[0, 0]] if is_kept else [])


@pytest.mark.parametrize("counts", [(0, 5), (1, 5), (5, 0), (5, 1), (0, 0), (1, 1)])
def test_fewer_than_two_keypoints_match_nothing(counts):
    eye = np.eye(5, 128)
    assert match(features(eye[: counts[0]]), features(eye[: counts[1]]), 0.8).shape == (0, 2)


def test_two_keypoints_are_enough():
    eye = np.eye(2, 128)
    assert sorted(map(tuple, match(features(eye), features(eye[::-1]), 0.8))) == [(0, 1), (1, 0)]


def test_nothing_alike_is_an_empty_array_of_pairs():
    found = match(features(np.eye(3, 128)), features(np.eye(3, 128, 40)), 0.8)
    assert (found.shape, found.dtype) == ((0, 2), np.int64)


def test_keypoints_at_one_place_in_both_images_count_once():
    """A corner with two orientations; a neighbour that is half a pixel off in one image is another point."""
    eye = np.eye(4, 128)
    a = features(eye, [[5, 5], [5.001, 5], [5, 5], [9, 9]])
    b = features(eye, [[7, 7], [7, 7], [7.5, 7], [7, 7]])
    assert len(match(a, b, 0.8)) == 3
    far = features(eye, [[5, 5], [6, 5], [5, 6], [9, 9]])
    assert len(match(far, b, 0.8)) == 4


@pytest.mark.parametrize(("size", "longest", "searched"), [
    ((120, 90), 640, (120, 90)), ((120, 90), 120, (120, 90)), ((120, 90), 60, (60, 45)), ((90, 120), 60, (45, 60)),
    ((100, 3), 10, (10, 1)),
])  # fmt: skip
def test_the_size_that_is_searched(size, longest, searched):
    camera = CameraModel.pinhole(*size, 100.0, 110.0, size[0] / 2, size[1] / 2)
    found = detect(image(*size), camera, FeatureConfig(longest=longest))
    assert found.camera == camera.scaled(*searched)
    assert found.descriptors.shape == (len(found.pixels), 128)
    if len(found.pixels):
        assert (found.pixels <= np.array(searched)).all()


def test_descriptors_are_the_roots_of_sift_s_shares():
    """RootSIFT: distances of these are Hellinger's."""
    grey = cv2.cvtColor(image(), cv2.COLOR_RGB2GRAY)
    keypoints, descriptors = cv2.SIFT.create(nfeatures=30, contrastThreshold=0.03).detectAndCompute(grey, None)
    found = detect(image(), CAMERA, FeatureConfig(features=30, contrast=0.03))
    np.testing.assert_allclose(found.pixels, [point.pt for point in keypoints])
    np.testing.assert_allclose(found.descriptors, np.sqrt(descriptors / descriptors.sum(1, keepdims=True)), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, rtol=1e-5)
    assert found.descriptors.dtype == np.float32


def test_an_image_without_texture_has_no_features():
    found = detect(np.full((90, 120, 3), 90, np.uint8), CAMERA, FeatureConfig())
    assert (found.pixels.shape, found.descriptors.shape, found.descriptors.dtype) == ((0, 2), (0, 128), np.float32)
    assert found.camera == CAMERA

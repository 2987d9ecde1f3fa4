# SPDX-License-Identifier: Apache-2.0
"""Pixels of a straight picture that no photograph shows have no depth, and nothing is measured by them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from known_depth import KnownDepthEngine, make

from da3_ros.estimation import ScaleConfig, View, ViewSet
from da3_ros.estimation.lens import blind, rectify, straight_rays
from da3_ros.geometry import CameraModel

W, H = 320, 240
PINCUSHION = CameraModel(W, H, 220.0, 220.0, 160.0, 118.0, (0.25, 0.0, 0.0, 0.0, 0.0), "plumb_bob")
FOLDED = CameraModel(W, H, 120.0, 120.0, 158.0, 121.0, (-0.35, 0.0, 0.0, 0.0, 0.0), "plumb_bob")


def shown(camera, size=(H, W)):
    mask = blind(camera, size)
    return np.ones(size, bool) if mask is None else ~mask


def test_what_lies_beyond_the_photograph_is_black_and_blind():
    white, _ = rectify(np.full((H, W, 3), 255, np.uint8), PINCUSHION)
    seen = shown(PINCUSHION)
    assert 0.05 < (~seen).mean() < 0.5
    assert (white[~seen] < 255).all()
    ring = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (white[ring] == 255).all()
    small = shown(PINCUSHION, (H // 4, W // 4))
    assert np.abs(cv2.resize(small.astype(np.uint8), (W, H)) - seen.astype(int)).mean() < 0.03


@pytest.mark.parametrize(
    ("distortion", "model", "turns_at"),
    [
        ((-0.35, 0.0, 0.0, 0.0, 0.0), "plumb_bob", (3 * 0.35) ** -0.5),
        ((-0.5, 0.1, 0.0, 0.0, 0.0), "plumb_bob", 1.0),  # 1 - 1.5 r^2 + 0.5 r^4: it goes outwards again beyond
        ((0.0, 0.0, 0.0, 0.0, 0.0, -0.6, 0.0, 0.0), "rational_polynomial", 0.6**-0.5),  # a pole
        ((-0.2, 0.0, 0.0, 0.0), "equidistant", np.tan((3 * 0.2) ** -0.5)),
    ],
)
def test_beyond_the_angle_where_the_picture_turns_back_nothing_is_seen(distortion, model, turns_at):
    focal = W / 2 / (1.3 * turns_at)
    camera = CameraModel(W, H, focal, focal, 160.0, 120.0, distortion, model)
    seen = shown(camera)
    u, v = np.meshgrid(np.arange(W), np.arange(H))
    radius = np.hypot(u - 160.0, v - 120.0) / focal
    assert not seen[radius > 1.01 * turns_at].any()
    if model != "rational_polynomial":  # which has long left the photograph before its pole
        assert seen[radius < 0.97 * turns_at].all()


@pytest.mark.parametrize(
    "camera",
    [
        CameraModel.pinhole(W, H, 200.0, 200.0, 160.0, 120.0),
        CameraModel(W, H, 200.0, 200.0, 160.0, 120.0, (0.0,) * 4, "equidistant"),
        CameraModel(W, H, 200.0, 200.0, 160.0, 120.0, (-0.05, 0.01, 0.0, 0.0, 0.0), "plumb_bob"),
    ],
)
def test_lenses_that_show_all(camera):
    assert blind(camera, (H, W)) is None


@pytest.mark.parametrize("camera", [PINCUSHION, FOLDED])
@pytest.mark.parametrize("full", [False, True])
def test_there_is_no_depth_and_no_sky_and_no_confidence_there(camera, full):
    rng = np.random.default_rng(2)
    view = View(rng.integers(0, 255, (H, W, 3), np.uint8), camera, np.eye(4))
    engine = KnownDepthEngine([np.full((H, W), 2.0)], np.eye(4)[None])

    class Rig:
        depths, poses = engine.depths, engine.poses

    found = make(Rig, 1.0, scale=ScaleConfig("given"), full_resolution=full)(ViewSet([view])).views[0]
    seen = shown(camera, found.depth.shape)
    assert np.isnan(found.depth[~cv2.dilate(seen.astype(np.uint8), np.ones((5, 5))).astype(bool)]).all()
    assert np.isfinite(found.depth[cv2.erode(seen.astype(np.uint8), np.ones((5, 5))).astype(bool)]).all()
    assert found.sky == 0
    points = found.points().reshape(-1, 3)
    assert np.isfinite(points).all(axis=1).mean() == pytest.approx(seen.mean(), abs=0.03)


def test_what_the_network_says_there_has_no_part_in_the_scale():
    view = View(np.full((H, W, 3), 90, np.uint8), PINCUSHION, np.eye(4))
    u, v = np.meshgrid(np.arange(0, W, 4), np.arange(0, H, 4))
    rays = np.stack([(u - 160.0) / 220.0, (v - 118.0) / 220.0, np.ones(u.shape)], -1).reshape(-1, 3)
    view = replace(view, measured=(6.0 * rays).astype(np.float32))
    depth = np.where(shown(PINCUSHION), 2.0, 500.0)

    class Rig:
        depths, poses = [depth], np.eye(4)[None]

    scale = make(Rig, 1.0, scale=ScaleConfig("reference", fit="scale"))(ViewSet([view])).scale
    assert scale.value == pytest.approx(3.0, rel=1e-3)
    assert scale.residual == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    "camera",
    [
        PINCUSHION,
        CameraModel(W, H, 300.0, 310.0, 150.0, 125.0, (-0.3, 0.1, 0.002, -0.001, 0.0), "plumb_bob"),
        CameraModel(W, H, 160.0, 160.0, 160.0, 118.0, (0.05, -0.02, 0.003, -0.001), "equidistant"),
        CameraModel(W, H, 160.0, 160.0, 160.0, 118.0, (0.0,) * 4, "equidistant"),
    ],
)
def test_rays_of_a_photograph_lead_back_to_its_pixels(camera):
    rays = straight_rays(camera)
    good = np.isfinite(rays).all(axis=-1)
    assert good.mean() > 0.99
    coefficients, still = np.array(camera.distortion), np.zeros(3)
    project = cv2.projectPoints if camera.distortion_model == "plumb_bob" else cv2.fisheye.projectPoints
    places, _ = project(rays[good].astype(float).reshape(-1, 1, 3), still, still, camera.K, coefficients)
    u, v = np.meshgrid(np.arange(W), np.arange(H))
    np.testing.assert_allclose(places[:, 0], np.stack([u, v], -1)[good], atol=0.1)


def test_pixels_beyond_the_edge_of_a_folded_lens_have_no_ray():
    rays = straight_rays(FOLDED)
    u, v = np.meshgrid(np.arange(W) - 158.0, np.arange(H) - 121.0)
    edge = 120.0 * (2 / 3) * (3 * 0.35) ** -0.5  # r (1 - .35 r^2) where it turns
    assert np.isnan(rays[np.hypot(u, v) > edge + 1]).all()
    assert np.isfinite(rays[np.hypot(u, v) < 0.9 * edge]).all()

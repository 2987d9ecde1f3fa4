# SPDX-License-Identifier: Apache-2.0
"""Poses from matches, on points whose geometry is known."""

from dataclasses import replace

import numpy as np
import pytest

from da3_ros.engines import EngineInfo, RawEstimate
from da3_ros.estimation import Estimator, EstimatorConfig, ScaleConfig, View, ViewSet
from da3_ros.estimation.pose import PoseConfig
from da3_ros.estimation.pose.adjustment import Links, Noise, adjust, adjust_closely
from da3_ros.estimation.pose.features import FeatureConfig, Features, detect, match
from da3_ros.estimation.pose.matches import Matcher, MatchesConfig, PairMatches, poses_from_matches
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert, matrix_from_quaternion, rotation_angle
from da3_ros.models import find_model

CAMERA = CameraModel.pinhole(640, 480, 500.0, 510.0, 315.0, 245.0)


def pose(turn_deg, shift):
    half = np.radians(turn_deg) / 2
    out = np.eye(4)
    out[:3, :3] = matrix_from_quaternion(np.array([0.3, 0.9, 0.3, 0]) * np.sin(half) + [0, 0, 0, np.cos(half)])
    out[:3, 3] = shift
    return out


POSES = np.stack([np.eye(4), pose(6, [0.3, 0.05, 0.1]), pose(-5, [-0.2, 0.1, 0.2]), pose(9, [0.5, -0.1, 0.1])])


class Scene:
    """Points before four cameras, their pixels with noise, and depth with errors as a network makes them."""

    def __init__(self, depth_noise=0.0, pixel_noise=0.0, outliers=0.0):
        rng = np.random.default_rng(1)
        self.points = rng.uniform([-2, -1.5, 2.5], [2, 1.5, 6], (400, 3))
        self.pixels, self.depths = [], []
        for T in POSES:
            x = (self.points - T[:3, 3]) @ T[:3, :3]
            uv = np.stack([x[:, 0] / x[:, 2] * CAMERA.fx + CAMERA.cx, x[:, 1] / x[:, 2] * CAMERA.fy + CAMERA.cy], 1)
            self.pixels.append(uv + rng.normal(0, pixel_noise, uv.shape))
            self.depths.append(x[:, 2] * np.exp(rng.normal(0, depth_noise, len(x))))
        self.wrong = rng.random((len(POSES), len(self.points))) < outliers
        self.rng = rng

    def pair(self, i, j):
        a, b = self.pixels[i], self.pixels[j].copy()
        b[self.wrong[j]] = self.rng.uniform(0, 480, (self.wrong[j].sum(), 2))
        return PairMatches(i, j, a, b, CAMERA, CAMERA)

    def depth(self, view, pixels, camera):
        assert camera is CAMERA
        nearest = np.abs(self.pixels[view][None] - pixels[:, None]).sum(2)
        found = self.depths[view][nearest.argmin(1)]
        return np.where(nearest.min(1) < 1, found, 4.0)  # an outlier has the depth of what happens to lie there


def errors(found, truth):
    difference = invert(truth) @ found
    return np.degrees(rotation_angle(difference[:3, :3])), np.linalg.norm(difference[:3, 3])


def test_exact_matches_give_exact_poses():
    scene = Scene()
    pairs = [scene.pair(i, j) for i in range(4) for j in range(i + 1, 4)]
    found = poses_from_matches(pairs, scene.depth, [None] * 4)
    for pose_, truth in zip(found, POSES, strict=True):
        turn, shift = errors(pose_.T_world_camera, truth)
        assert turn < 1e-4
        assert shift < 1e-5


def test_depth_that_is_off_and_wrong_matches_still_give_poses_that_agree_with_their_covariance():
    scene = Scene(depth_noise=0.3, pixel_noise=0.7, outliers=0.3)
    found = poses_from_matches([scene.pair(0, 1), scene.pair(1, 3), scene.pair(0, 3)], scene.depth, [None] * 4)
    assert found[2] is None  # nothing was matched with it
    for view in (1, 3):
        turn, shift = errors(found[view].T_world_camera, POSES[view])
        assert turn < 0.5
        assert shift < 0.08
        sigma = np.sqrt(np.diag(found[view].covariance))
        assert shift < 4 * np.linalg.norm(sigma[:3])
        assert np.radians(turn) < 4 * np.linalg.norm(sigma[3:])
        assert sigma[:3].max() < 0.1


def test_known_poses_stay_and_carry_the_world():
    scene = Scene()
    world = pose(40, [7, 8, 9])
    known = [None, world @ POSES[1], None, None]
    found = poses_from_matches([scene.pair(0, 1), scene.pair(0, 2)], scene.depth, known)
    np.testing.assert_array_equal(found[1].T_world_camera, known[1])
    for view in (0, 2):
        assert errors(found[view].T_world_camera, world @ POSES[view])[1] < 1e-4


def test_cameras_of_one_body_move_together():
    """Views 2 and 3 are mounted on one body; only 2 sees what the known views see."""
    scene = Scene(depth_noise=0.1, pixel_noise=0.5)
    body = pose(20, [1, 2, 3])
    mounts = [None, None, (1, invert(body) @ POSES[2]), (1, invert(body) @ POSES[3])]
    found = poses_from_matches([scene.pair(0, 2)], scene.depth, [POSES[0], None, None, None], mounts=mounts)
    assert found[1] is None
    apart = invert(found[2].T_world_camera) @ found[3].T_world_camera
    np.testing.assert_allclose(apart, invert(POSES[2]) @ POSES[3], atol=1e-9)
    assert errors(found[3].T_world_camera, POSES[3])[0] < 1.0


def test_too_few_matches_give_no_pose():
    scene = Scene()
    pairs = [scene.pair(0, 1)]
    assert poses_from_matches(pairs, scene.depth, [None] * 2, config=MatchesConfig(min_matches=500))[1] is None
    with pytest.raises(ValueError, match="at least 8"):
        MatchesConfig(min_matches=3)


def test_a_whole_views_depth_may_be_off():
    """One view's depth is 20 % too great: the translation must not follow it."""
    scene = Scene()
    there = Links(0, 1, CAMERA, CAMERA, scene.pixels[0], scene.pixels[1], 1.2 * scene.depths[0])
    back = Links(1, 0, CAMERA, CAMERA, scene.pixels[1], scene.pixels[0], scene.depths[1])
    start, fixed = np.stack([np.eye(4), np.eye(4)]), np.array([True, False])
    free = adjust(start, [there, back], fixed, Noise(depth=0.05, view=0.5))
    stiff = adjust(start, [there, back], fixed, Noise(depth=0.05, view=1e-3))
    assert errors(free.poses[1], POSES[1])[0] < errors(stiff.poses[1], POSES[1])[0]


@pytest.mark.parametrize(("pixel_noise", "gain"), [(0.2, 2), (3.0, 0.99)])
def test_matches_are_as_exact_as_they_turn_out(pixel_noise, gain):
    """Depth that is too flat all over bends the poses; matches that are exact do not let it, others cannot help it."""
    scene = Scene(pixel_noise=pixel_noise)
    flat = [4 * (depth / 4) ** 0.5 for depth in scene.depths]
    links = [
        Links(i, j, CAMERA, CAMERA, scene.pixels[i], scene.pixels[j], flat[i])
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    fixed = np.array([True, False, False, False])
    tolerant, close = (method(POSES, links, fixed, Noise(depth=0.3)) for method in (adjust, adjust_closely))
    assert (close.covariance == tolerant.covariance).all()
    turns = [np.mean([errors(found.poses[v], POSES[v])[0] for v in (1, 2, 3)]) for found in (tolerant, close)]
    assert turns[1] * gain < turns[0] * (1 + 1e-9)


def features(seed, camera=CAMERA):
    descriptors = np.random.default_rng(seed).random((50, 128)).astype(np.float32)
    return Features(np.random.default_rng(9).uniform(0, 400, (50, 2)), descriptors, camera)


def test_matching_is_mutual_and_unambiguous():
    a = features(1)
    order = np.random.default_rng(3).permutation(50)
    b = Features(a.pixels[order], a.descriptors[order], CAMERA)
    found = match(a, b, 0.8)
    assert len(found) == 50
    np.testing.assert_array_equal(a.pixels[found[:, 0]], b.pixels[found[:, 1]])
    assert len(match(a, features(2), 0.8)) < 10  # strangers
    twice = Features(np.concatenate([b.pixels, b.pixels + 50]), np.concatenate([b.descriptors] * 2), CAMERA)
    assert len(match(a, twice, 0.8)) == 0  # each has two that fit equally well


def test_limits_of_detection_take_effect(rig):
    image, camera = rig.views[0].image, rig.views[0].camera
    full = detect(image, camera, FeatureConfig())
    assert len(full.pixels) > 100
    assert len(detect(image, camera, FeatureConfig(features=50)).pixels) <= 51
    small = detect(image, camera, FeatureConfig(longest=160))
    assert (small.camera.width, small.camera.height) == (160, 120)
    assert small.pixels.max() < 160
    assert len(detect(image, camera, FeatureConfig(contrast=0.2)).pixels) < len(full.pixels)
    assert len(detect(np.zeros_like(image), camera, FeatureConfig()).pixels) == 0


def test_the_matcher_remembers_and_forgets(rig, monkeypatch):
    import da3_ros.estimation.pose.matches as module

    seen = []

    def counting(image, camera, config):
        seen.append(1)
        return detect(image, camera, config)

    monkeypatch.setattr(module, "detect", counting)
    matcher = Matcher()
    images, cameras = [v.image for v in rig.views], [v.camera for v in rig.views]
    assert len(matcher(images, cameras, ["a", "b"])) == 1
    assert len(matcher(images, cameras, ["a", "b"])) == 1
    assert len(seen) == 2
    matcher(images, cameras, ["b", "c"])
    matcher(images, cameras, ["a", "b"])
    assert len(seen) == 4  # c was new, a had been forgotten
    assert matcher(images, cameras, ["a", "b"], [[0, 0]]) == []
    assert matcher(images, [cameras[0], None], ["a", "b"]) == []


class RayEngine:
    """Camera head at the identity, ray map of the true cameras, in a unit of 2 m."""

    def __init__(self, poses, rays=True):
        self.poses, self.rays = poses, rays
        self.info = EngineInfo("fake", "test", False, 14, "0" * 64, rays=rays)

    def run(self, images, extrinsics=None, intrinsics=None):
        s, h, w = images.shape[:3]
        rows, columns = h * 8 // 14, w * 8 // 14
        depth = np.full((s, h, w), 2.0, np.float32)
        rays = np.zeros((s, rows, columns, 6), np.float32)
        for i, pose_ in enumerate(self.poses):
            k = CAMERA.scaled(columns, rows).K
            u, v = np.meshgrid(np.arange(columns), np.arange(rows))
            directions = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], -1)
            rays[i, ..., :3] = directions @ pose_[:3, :3].T
            rays[i, ..., 3:] = pose_[:3, 3] / 2
        further = {"rays": rays, "ray_confidence": np.ones((s, rows, columns), np.float32)} if self.rays else {}
        eye = np.tile(np.eye(3, 4, dtype=np.float32), (s, 1, 1))
        k = np.tile(100 * np.eye(3, dtype=np.float32), (s, 1, 1))
        return RawEstimate(depth, np.ones_like(depth), eye, k, **further)


def ray_estimator(rays=True, **changes):
    record, _ = find_model("da3-nano")
    scale = ScaleConfig(source="given", value=2.0)
    return Estimator(RayEngine(POSES, rays), record, EstimatorConfig(size=252, scale=scale, **changes))


def test_poses_and_unknown_intrinsics_from_the_ray_map():
    image = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    views = [View(image, None, None, f"view{i}", 0) for i in range(len(POSES))]
    estimate = ray_estimator(pose=PoseConfig("rays"))(ViewSet(views))
    first = np.linalg.inv(POSES[0])
    for view, truth in zip(estimate.views, POSES, strict=True):
        assert view.pose.source == "rays"
        np.testing.assert_allclose(view.pose.T_world_camera, first @ truth, atol=1e-4)
        expected = CAMERA.scaled(view.camera.width, view.camera.height)
        np.testing.assert_allclose(view.camera.K, expected.K, rtol=1e-3)
    head = ray_estimator(pose=PoseConfig("network"))(ViewSet(views))
    assert [view.pose.source for view in head.views] == ["network"] * len(POSES)
    np.testing.assert_allclose(head.views[1].pose.T_world_camera, np.eye(4), atol=1e-9)


def test_a_graph_without_rays_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="da3 export NAME --rays"):
        ray_estimator(rays=False, pose=PoseConfig("rays"))
    estimator = ray_estimator(rays=False)
    with pytest.raises(ValueError, match="da3 export NAME --rays"):
        estimator.reconfigure(replace(estimator.config, pose=PoseConfig("rays")))
    with pytest.raises(ValueError, match="size cannot change"):
        estimator.check(replace(estimator.config, size=140))

# SPDX-License-Identifier: Apache-2.0
"""Which source of the scale answers, what it is asked, and what is said where none does."""

from dataclasses import replace

import numpy as np
import pytest

from da3_ros.estimation import ScaleConfig, ScaleEstimate, View
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.scale import ScaleSource
from da3_ros.estimation.scale import source as module
from da3_ros.estimation.scale.config import FITS, SOURCES
from da3_ros.estimation.scale.rig import MatchConfig, SparseDepth
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation

CAMERA = CameraModel.pinhole(40, 30, 30.0, 31.0, 20.0, 15.0)
IMAGE = np.zeros((30, 40, 3), np.uint8)


def at(x, height=0.0):
    """T_world_camera of a camera that looks along x of a world whose z points up."""
    turn = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    return from_rotation_translation(turn, np.array([0.0, -x, height]))


def views(count=2, seconds=1.0, **changes):
    stamp = round(seconds * 1e9)
    return tuple(
        View(IMAGE, **{"camera": CAMERA, "pose": at(0.2 * i), "name": f"v{i}", "stamp_ns": stamp, **changes})
        for i in range(count)
    )


def samples(count=40, depth=4.0):
    pixels = np.random.default_rng(0).uniform((0, 0), (39, 29), (count, 2))
    return SparseDepth(pixels, np.full(count, depth), np.full(count, 0.02))


def asked(config, given, found=None, depth=2.0, **told):
    """What a source says of `given`."""
    source = config if isinstance(config, ScaleSource) else ScaleSource(config)
    prepared = prepare(given, 28, 14)
    shape = prepared.images.shape[:3]
    depth = np.broadcast_to(np.asarray(depth, np.float32), shape)
    return source(given, prepared, depth, found or {}, **told)


def too_few(known, count):
    return (
        f"{known} of {count} views have a calibrated camera and a known pose, two are needed: publish CameraInfo and "
        "the rig's transforms, or set scale.source: given"
    )


NO_REFERENCE = "no points of a reference for any calibrated camera: publish scale/points or scale/depth and its TF"
NOT_METRIC = (
    "scale.source is metric_model, but this depth is not in metres: take a metric model, and publish the CameraInfo of "
    "every camera (it needs their focal lengths)"
)


@pytest.mark.parametrize(("source", "given", "text"), [
    ("reference", views(), NO_REFERENCE),
    ("odometry", views(), "no two frames with known motion between them: set odometry_frame and sync.window"),
    ("auto", views(1), too_few(1, 1)),
    ("rig", views(camera=None), too_few(0, 2)),
    ("rig", views(pose=None), too_few(0, 2)),
    ("metric_model", views(), NOT_METRIC),
    ("none", views(), "scale.source is none: depth is relative"),
])  # fmt: skip
def test_why_there_is_no_scale(source, given, text):
    found = asked(ScaleConfig(source=source), given)
    assert (found.source, found.metric, found.message, found.value) == ("none", False, text, 1.0)


def test_a_scale_that_is_given_is_taken():
    found = asked(ScaleConfig(source="given", value=3.5), views(), {"rig": [samples()] * 2})
    assert found == ScaleEstimate("given", 3.5, metric=True, residual=found.residual)
    assert np.isnan(found.residual)


def test_samples_come_before_the_network_s_own_metres():
    for metres in (None, 9.0, 0.0):
        found = asked(ScaleConfig(), views(), {"rig": [samples()] * 2}, metres=metres)
        assert (found.source, found.value, found.inliers) == ("rig", 2.0, 80)


def test_the_network_s_metres_are_taken_where_nothing_is_measured():
    found = asked(ScaleConfig(), views(), metres=3.0)
    assert (found.source, found.value, found.metric, found.message) == ("metric_model", 3.0, True, "")
    told = asked(ScaleConfig(), views(), {"rig": [samples(3)] * 2}, metres=3.0)
    assert told.message == (
        "the network's own metres are used: 6 points could be triangulated between the cameras, 20 are needed: more "
        "overlap, texture or light"
    )
    assert asked(ScaleConfig(source="metric_model"), views(), metres=3.0).value == 3.0
    assert not asked(ScaleConfig(source="rig"), views(), metres=3.0).metric


def test_images_that_tell_no_metres_are_said_to():
    text = "the network tells no metres: these images show too little besides sky"
    assert asked(ScaleConfig(), views(), metres=0.0).message == text
    assert asked(ScaleConfig(source="metric_model"), views(), metres=0.0).message == text
    both = asked(ScaleConfig(), views(), {"rig": [samples(3)] * 2}, metres=0.0)
    assert both.message.startswith("6 points could be triangulated")
    assert both.message.endswith(f"; {text}")


def network(factor):
    """T_world_camera of the network in a unit of so many metres."""
    poses = np.stack([view.pose for view in views()])
    poses[:, :3, 3] /= factor
    return poses


def test_distances_between_calibrated_cameras_are_taken_after_it():
    found = asked(ScaleConfig(), views(), {"rig": [samples(3)] * 2}, poses=network(5.0))
    assert (found.source, found.value, found.metric) == ("rig", pytest.approx(5.0), True)
    assert found.message.startswith("from the distances between the cameras alone; 6 points could be triangulated")
    for given, config in ((views(pose_source="odometry"), ScaleConfig()), (views(), ScaleConfig(source="odometry")),
                          (views(), ScaleConfig(matching=MatchConfig(min_baseline=0.3)))):  # fmt: skip
        assert not asked(config, given, poses=network(5.0)).metric
    assert asked(ScaleConfig(source="rig"), views(), poses=network(5.0)).metric
    assert asked(ScaleConfig(), views(), poses=network(5.0), metres=2.0).source == "metric_model"


def test_distances_of_transforms_that_the_images_refute_are_none():
    swapped = replace(samples(0), behind=50)
    found = asked(ScaleConfig(), views(), {"rig": [swapped] * 2}, poses=network(5.0))
    assert not found.metric
    assert "behind the cameras" in found.message


class Ground:
    """What the search for the ground is given."""

    def __init__(self, monkeypatch, answer=None):
        self.given = None
        self.answer = answer or ScaleEstimate("camera_height", 6.0, metric=True)
        monkeypatch.setattr(module, "scale_from_ground", self)

    def __call__(self, points, up, height):
        self.given = points, up, height
        return self.answer


def test_the_ground_comes_last(monkeypatch):
    Ground(monkeypatch)
    config = ScaleConfig(camera_height=1.2)
    assert asked(config, views()).source == "camera_height"
    assert asked(config, views(), poses=network(5.0)).source == "rig"
    assert asked(ScaleConfig(source="camera_height", camera_height=1.2), views(), poses=network(5.0)).value == 6.0
    assert not asked(ScaleConfig(source="rig", camera_height=1.2), views()).metric
    assert not asked(ScaleConfig(), views()).metric
    Ground(monkeypatch, ScaleEstimate("none", message="no ground"))
    assert asked(config, views(), {"rig": [samples(3)] * 2}).message.endswith("; no ground")


def test_the_ground_is_sought_under_every_calibrated_view_of_the_moment(monkeypatch):
    """In every fourth pixel of their depth, below where their poses have it, at their own heights."""
    ground = Ground(monkeypatch)
    given = [*views(4)]
    given[1] = replace(given[1], pose=at(0.2, height=0.5))
    given[2] = replace(given[2], body=1)
    given[3] = replace(given[3], camera=None)
    given += [replace(given[0], pose=None)]
    prepared = prepare(tuple(given), 28, 14)
    depth = np.random.default_rng(0).uniform(1, 3, prepared.images.shape[:3]).astype(np.float32)
    asked(ScaleConfig(camera_height=1.2), tuple(given), depth=depth)
    points, up, height = ground.given
    assert len(points) == 3
    assert height == [1.2, pytest.approx(1.7), 1.2]
    for found in up:
        np.testing.assert_allclose(found, [0, -1, 0], atol=1e-12)
    h, w = prepared.windows[0]
    camera = prepared.cameras[0]
    rows, columns = np.mgrid[0:h:4, 0:w:4]
    z = depth[1, :h, :w][::4, ::4]
    expected = np.stack([(columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z, z], axis=-1)
    np.testing.assert_allclose(points[1], expected.reshape(-1, 3), rtol=1e-6)


def test_up_is_that_of_the_pose(monkeypatch):
    ground = Ground(monkeypatch)
    tilted = at(0.0) @ from_rotation_translation(np.array([[1.0, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]), np.zeros(3))
    asked(ScaleConfig(camera_height=1.2), views(1, pose=tilted))
    np.testing.assert_allclose(ground.given[1][0], [0.0, -0.8, 0.6], atol=1e-9)


class Matching:
    """What is triangulated."""

    def __init__(self, monkeypatch):
        self.calls = []
        monkeypatch.setattr(module, "triangulate_rig", self)

    def __call__(self, images, cameras, poses, config, pairs):
        self.calls.append((images, cameras, poses, config, {frozenset(pair) for pair in pairs}))
        return [samples(30 + k) for k in range(len(images))]


def measured(config, given):
    return ScaleSource(config).measure(given, prepare(given, 28, 14))


def test_the_rig_is_triangulated_within_a_moment_and_motion_between_moments(monkeypatch):
    """Of views whose camera and pose are known, and not from what was estimated."""
    matching = Matching(monkeypatch)
    given = [*views(6)]
    given[1] = replace(given[1], camera=None)
    given[3] = replace(given[3], body=1, pose_source="odometry")
    given[4] = replace(given[4], pose=None)
    given[5] = replace(given[5], pose_source="estimated")
    found = measured(ScaleConfig(source="rig"), tuple(given))
    (images, cameras, poses, config, pairs) = matching.calls[0]
    assert pairs == {frozenset((0, 1))}  # views 0 and 2, of three that are known
    assert (len(images), cameras, config) == (3, [CAMERA] * 3, MatchConfig())
    for pose, index in zip(poses, (0, 2, 3), strict=True):
        assert pose is given[index].pose
    assert [len(each.depth) for each in found["rig"]] == [30, 0, 31, 32, 0, 0]
    measured(ScaleConfig(source="odometry"), tuple(given))
    assert matching.calls[1][4] == {frozenset((0, 2)), frozenset((1, 2))}
    assert matching.calls[1][3].epipolar_px == MatchConfig().moving_epipolar_px == 3.0
    assert list(measured(ScaleConfig(), tuple(given))) == ["rig"]


@pytest.mark.parametrize("least", [60, 61, 62])
def test_another_source_is_asked_where_the_first_has_too_little(monkeypatch, least):
    """61 samples between the cameras of the moment."""
    Matching(monkeypatch)
    given = (*views(2), *(replace(view, body=1) for view in views(1)))
    found = measured(ScaleConfig(min_matches=least), given[:2])
    assert list(found) == ["rig"]
    both = measured(ScaleConfig(min_matches=93 + least - 61), given)
    assert list(both) == (["rig"] if least <= 61 else ["rig", "odometry"])


def test_a_reference_counts_in_the_views_whose_camera_is_known():
    cloud = np.array([[0.0, 0, 2.0], [0.1, 0, 2.0]], np.float32)
    given = [*views(3)]
    given[0] = replace(given[0], measured=cloud)
    given[1] = replace(given[1], measured=cloud, camera=None)
    found = measured(ScaleConfig(source="reference"), tuple(given))
    assert [len(each.depth) for each in found["reference"]] == [2, 0, 0]
    assert measured(ScaleConfig(source="reference"), (given[1], given[2])) == {}
    assert measured(ScaleConfig(source="reference"), (given[2],)) == {}


def test_sources_and_fits_that_there_are():
    assert SOURCES == ("auto", "reference", "rig", "odometry", "metric_model", "camera_height", "given", "none")
    assert FITS == ("auto", "scale", "scale_shift")


@pytest.mark.parametrize(("changes", "text"), [
    ({"source": "gps"}, "scale source 'gps' is unknown; allowed: auto, reference, rig, odometry, metric_model, "
                        "camera_height, given, none"),
    ({"fit": "affine"}, "scale fit 'affine' is unknown; allowed: auto, scale, scale_shift"),
    ({"value": 0.0}, "scale value must be positive, got 0.0"),
    ({"hold": -0.1}, "scale hold must not be negative, got -0.1"),
    ({"period": -1}, "scale period must not be negative, got -1"),
    ({"smoothing": -1}, "scale smoothing must not be negative, got -1"),
    ({"camera_height": -1}, "scale camera_height must not be negative, got -1"),
    ({"max_jump": 0}, "scale max_jump must be positive, got 0"),
    ({"confirm": 0}, "scale confirm must be at least 1, got 0"),
    ({"min_matches": 7}, "scale min_matches must be at least 8, got 7"),
    ({"source": "camera_height"}, "scale source camera_height needs scale.camera_height, in metres above the ground"),
])  # fmt: skip
def test_what_is_refused_and_how(changes, text):
    with pytest.raises(ValueError, match=text.replace("(", r"\(")) as refused:
        ScaleConfig(**changes)
    assert str(refused.value) == text


@pytest.mark.parametrize("changes", [
    {"value": 1e-6}, {"hold": 0}, {"period": 0}, {"smoothing": 0}, {"camera_height": 0}, {"max_jump": 1e-9},
    {"confirm": 1}, {"min_matches": 8}, {"source": "camera_height", "camera_height": 0.1},
])  # fmt: skip
def test_what_just_is_allowed(changes):
    assert {name: getattr(ScaleConfig(**changes), name) for name in changes} == changes


def test_what_holds_where_nothing_is_said():
    """docs/parameters.md."""
    config = ScaleConfig()
    assert (config.source, config.value, config.camera_height, config.period) == ("auto", 1.0, 0.0, 0.0)
    assert (config.hold, config.smoothing, config.max_jump, config.confirm) == (2.0, 0.5, 0.25, 3)
    assert (config.min_matches, config.fit) == (20, "auto")


@pytest.mark.parametrize("period", [0.0, 5.0])
@pytest.mark.parametrize("measured", [{}, {"rig": [samples()] * 2}])
def test_a_set_in_another_unit_is_not_served_the_scale_of_the_others(period, measured):
    """Without focal lengths the depth of a model with a focal rule is in no unit that was seen before."""
    source = ScaleSource(ScaleConfig(period=period))
    assert asked(source, views(), measured, metres=1.0).metric
    memory = source.memory()
    blind = asked(source, views(seconds=1.1, camera=None), metres=None)
    assert not blind.metric
    assert blind.message.startswith("0 of 2 views have a calibrated camera")
    again = asked(source, views(seconds=1.2), metres=0.0)
    assert again.metric  # that of the first set, held
    other = ScaleSource(ScaleConfig(period=period))
    other.recall(memory)
    assert not asked(other, views(seconds=1.1, camera=None), metres=None).metric
    assert asked(other, views(seconds=1.2), metres=0.0) == again
    other.reset()
    assert not asked(other, views(seconds=1.2), metres=0.0).metric

# SPDX-License-Identifier: Apache-2.0
"""The last scale serves sets that tell none, whatever told it; a long period switches no limit of jumps off."""

from dataclasses import replace

import numpy as np
import pytest
from known_depth import estimate, views_at

from da3_ros.estimation import ScaleConfig
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.scale import ScaleSource
from da3_ros.geometry import CameraModel

CAMERA = CameraModel.pinhole(320, 240, 260.0, 260.0, 160.0, 120.0)
HEIGHT = 1.2


def told(source, views, depth, metres=None, poses=None):
    """A set whose depth (H, W) is the same in every view."""
    prepared = prepare(views, 252, 14)
    full = np.full(prepared.images.shape[:3], 1.0, np.float32)
    full[:, : depth.shape[0], : depth.shape[1]] = depth
    return source(views, prepared, full, source.measure(views, prepared), metres, poses)


def lonely(rig, seconds):
    """One camera in the dark: nothing can be measured."""
    view = rig.views[0]
    return (replace(view, image=np.zeros_like(view.image), camera=CAMERA, pose=None, stamp_ns=round(seconds * 1e9)),)


def floor(unit=2.0):
    """Depth (H, W) of level ground HEIGHT below the camera, and of a wall 6 m away, in units of `unit` metres."""
    v = (np.arange(196) + 0.5) * 240 / 196 - 0.5
    with np.errstate(divide="ignore"):
        ground = np.where(v > CAMERA.cy, HEIGHT * CAMERA.fy / (v - CAMERA.cy), 6.0)
    return np.repeat(np.minimum(ground, 6.0)[:, None], 252, axis=1) / unit


WALL = np.full((196, 252), 3.0)


@pytest.mark.parametrize("lost", ["frame", "transform"])
def test_a_set_without_any_samples_keeps_the_scale(rig, lost):
    """One camera's frame was dropped, or its pose went with the transforms: a moment later both are back."""
    source = ScaleSource(ScaleConfig(hold=2.0))
    first = estimate(source, views_at(rig, 10), rig)

    def without(seconds):
        left, right = views_at(rig, seconds)
        return (left,) if lost == "frame" else (left, replace(right, pose=None))

    held = estimate(source, without(10.1), rig)
    assert (held.metric, held.source, held.value) == (True, "rig", first.value)
    assert held.inliers == 0
    assert held.message == "held for 0.1 s: nothing was measured by rig"
    assert not estimate(source, without(12.5), rig).metric


def test_the_camera_height_holds_where_no_ground_is_seen(rig):
    source = ScaleSource(ScaleConfig(source="camera_height", camera_height=HEIGHT, hold=2.0))
    first = told(source, lonely(rig, 10), floor())
    assert first.value == pytest.approx(2.0, rel=0.02)
    held = told(source, lonely(rig, 11.9), WALL)
    assert (held.metric, held.value) == (True, first.value)
    assert held.message.startswith("held for 1.9 s: no camera sees level ground")
    assert not told(source, lonely(rig, 12.5), WALL).metric


def test_ground_is_looked_for_in_every_set_though_others_measure_nothing(rig):
    """Dark cameras that TF knows have samples, none of them: the height was held for two seconds each time."""
    source = ScaleSource(ScaleConfig(camera_height=HEIGHT, hold=2.0, smoothing=0.0))
    for seconds, unit in ((10, 2.0), (10.1, 2.2)):
        views = tuple(replace(view, image=np.zeros_like(view.image)) for view in views_at(rig, seconds))
        views = tuple(replace(view, camera=CAMERA, pose=level(i)) for i, view in enumerate(views))
        found = told(source, views, floor(unit))
        assert found.source == "camera_height"
        assert found.value == pytest.approx(unit, rel=0.02)


def level(index):
    """T_base_camera of cameras beside each other that look ahead."""
    return np.array([[0.0, 0, 1, 0], [-1, 0, 0, -0.2 * index], [0, -1, 0, HEIGHT], [0, 0, 0, 1]])


def test_metres_of_the_network_and_distances_hold_as_well(rig):
    source = ScaleSource(ScaleConfig(source="metric_model", hold=2.0))
    assert told(source, lonely(rig, 10), WALL, metres=1.5).value == 1.5
    sky = told(source, lonely(rig, 11), WALL, metres=0)
    assert (sky.metric, sky.value) == (True, 1.5)
    assert sky.message.startswith("held for 1.0 s: the network tells no metres")
    assert not told(source, lonely(rig, 12.5), WALL, metres=0).metric

    source, own = ScaleSource(ScaleConfig(source="rig", hold=2.0)), np.stack(rig.poses).copy()
    own[:, :3, 3] /= 3.0
    dark = tuple(replace(view, image=np.zeros_like(view.image)) for view in views_at(rig, 10))
    assert told(source, dark, WALL, poses=own).value == pytest.approx(3.0)
    own[:, :3, 3] *= 0.9
    later = tuple(replace(view, stamp_ns=round(10.1e9)) for view in dark)
    assert told(source, later, WALL, poses=own).value == pytest.approx(3.0 / 0.9)  # measured anew, not held
    assert told(source, lonely(rig, 10.2), WALL).value == pytest.approx(3.0 / 0.9)


def test_what_was_told_can_be_held_in_another_process(rig):
    source, other = (ScaleSource(ScaleConfig(source="metric_model")) for _ in range(2))
    told(source, lonely(rig, 10), WALL, metres=1.5)
    other.recall(source.memory())
    assert told(other, lonely(rig, 11), WALL, metres=0).value == 1.5
    other.reset()
    assert not told(other, lonely(rig, 11), WALL, metres=0).metric


def test_a_long_period_switches_no_limit_of_jumps_off(rig):
    """Every estimate comes later than `hold` then: the scale doubled on the word of one set."""
    source = ScaleSource(ScaleConfig(period=5.0, hold=2.0, smoothing=0.5, confirm=3))
    estimate(source, views_at(rig, 10), rig, unit=2.0)
    sets = [estimate(source, views_at(rig, seconds), rig, unit=4.0) for seconds in (15.1, 15.2, 15.3)]
    assert [found.value for found in sets] == pytest.approx([2.0, 2.0, 4.0], rel=0.02)
    assert "2 more like it" in sets[0].message
    assert estimate(source, views_at(rig, 30), rig, unit=2.0).value == pytest.approx(2.0, rel=0.02)  # overdue for long


def test_smoothing_is_no_matter_of_the_period(rig):
    source = ScaleSource(ScaleConfig(period=5.0, hold=0.0, smoothing=1.2))
    estimate(source, views_at(rig, 10), rig, unit=2.0)
    share = 1 - np.exp(-5.1 / 1.2)
    found = estimate(source, views_at(rig, 15.1), rig, unit=2.4)
    assert found.value == pytest.approx(2.0 * 1.2**share, rel=1e-3)


def test_hold_begins_when_an_estimate_is_overdue(rig):
    source = ScaleSource(ScaleConfig(period=5.0, hold=2.0))
    estimate(source, views_at(rig, 10), rig)
    assert estimate(source, views_at(rig, 16.5)[:1], rig).metric
    assert not estimate(source, views_at(rig, 17.5)[:1], rig).metric

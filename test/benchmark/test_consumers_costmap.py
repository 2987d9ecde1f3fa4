# SPDX-License-Identifier: Apache-2.0
"""Nav2's voxel layer without Nav2: its rules, one by one, and what counts as a false or a missed obstacle."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from needs import needs

needs("yaml", "scipy")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmark" / "consumers"))

from case import Truth
from costmap import costmap_table, spaced
from obstacles import RINGS, Counts, field_of_view, near, place_of, rings_of
from sequence import ALONE, REFINED, TRUE, Estimated, Frame, Sequence3D, as_estimates, gated
from voxel_layer import LayerConfig, VoxelLayer, shipped_config

from da3_ros.estimation import View, ViewEstimate
from da3_ros.estimation.views import PoseEstimate
from da3_ros.geometry import CameraModel

CONFIG = LayerConfig(
    resolution=0.1,
    z_resolution=0.1,
    z_voxels=16,
    mark_threshold=0,
    min_obstacle_height=0.2,
    max_obstacle_height=1.6,
    obstacle_min_range=0.3,
    obstacle_max_range=5.0,
    raytrace_max_range=5.0,
)
SENSOR = np.array([0.05, 1.05, 1.05])


def layer_of(**changes):
    return VoxelLayer(replace(CONFIG, **changes), np.array([0.0, 0.0]), np.array([6.0, 2.0]))


def test_the_shipped_layer_is_what_its_file_says():
    config = shipped_config()
    assert (config.mark_threshold, config.z_voxels, config.z_resolution) == (1, 16, 0.1)
    assert (config.min_obstacle_height, config.max_obstacle_height) == (0.2, 1.6)
    assert (config.obstacle_min_range, config.obstacle_max_range, config.raytrace_max_range) == (0.3, 8.0, 8.0)
    assert config.top == pytest.approx(1.6)


def test_a_cell_is_lethal_with_more_marked_voxels_than_the_threshold():
    low, high = np.array([[3.05, 1.05, 0.55]]), np.array([[3.05, 1.05, 0.75]])
    for threshold, lethal_after_one in ((0, True), (1, False)):
        layer = layer_of(mark_threshold=threshold)
        layer.update(low, SENSOR)
        assert layer.lethal[10, 30] == lethal_after_one
        layer.mark(high)
        assert layer.lethal.sum() == 1
        assert layer.lethal[10, 30]


@pytest.mark.parametrize(
    ("point", "marks"),
    [
        ((3.05, 1.05, 0.55), True),
        ((3.05, 1.05, 0.15), False),  # below the source's heights
        ((3.05, 1.05, 1.65), False),  # above
        ((0.25, 1.05, 1.05), False),  # nearer than obstacle_min_range
        ((5.55, 1.05, 1.05), False),  # farther than obstacle_max_range
        ((3.05, 2.55, 1.05), False),  # beside the grid
    ],
)
def test_only_points_within_heights_and_ranges_mark(point, marks):
    layer = layer_of()
    layer.update(np.array([point]), SENSOR)
    assert layer.lethal.any() == marks


def test_what_lies_before_a_point_is_cleared_but_for_the_last_two_cells():
    layer = layer_of()
    layer.mark(np.array([[x, 1.05, 1.05] for x in np.arange(0.55, 5.6, 0.1)]))
    layer.update(np.array([[4.05, 1.05, 1.05]]), SENSOR)
    row = layer.lethal[10]
    assert not row[5:38].any()
    assert row[39:56].all()


def test_a_point_beyond_the_range_clears_up_to_it():
    layer = layer_of(raytrace_max_range=2.0)
    layer.mark(np.array([[x, 1.05, 1.05] for x in np.arange(0.55, 5.6, 0.1)]))
    layer.update(np.array([[5.05, 1.05, 1.05]]), SENSOR)
    assert not layer.lethal[10, 5:20].any()
    assert layer.lethal[10, 22:].sum() == 34


def test_points_outside_of_the_heights_clear_nothing_and_neither_does_a_sensor_outside_of_the_grid():
    obstacle = np.array([[2.05, 1.05, 1.05]])
    for points, sensor in (([[4.05, 1.05, 1.75]], SENSOR), ([[4.05, 1.05, 1.05]], [-1.0, 1.05, 1.05])):
        layer = layer_of()
        layer.mark(obstacle)
        layer.update(np.array(points), np.array(sensor))
        assert layer.lethal[10, 20]


def stepped(first, last, most):
    """Bresenham's line in three dimensions, step by step with errors that are carried on."""
    difference = np.abs(last - first)
    main = difference.max()
    place, error, out = first.copy(), np.full(3, main // 2), [first.copy()]
    for _ in range(most):
        for axis in range(3):
            error[axis] += difference[axis]
            if error[axis] >= main:
                place[axis] += np.sign(last[axis] - first[axis])
                error[axis] -= main
        out.append(place.copy())
    return out


def test_lines_are_those_of_the_algorithm_step_by_step():
    rng = np.random.default_rng(0)
    layer = layer_of(raytrace_max_range=2.5)
    begin = np.array([10.5, 10.5, 10.5])
    for end in rng.uniform(0, [60, 20, 16], (200, 3)):
        found = {tuple(v) for v in layer._lines(begin, end[None])}
        first, last = begin.astype(int), end.astype(int)
        main, length = np.abs(last - first).max(), np.linalg.norm(end - begin)
        steps = min(int(min(1.0, 25 / length) * main), main)
        assert found == {tuple(v) for v in stepped(first, last, steps)} or main == 0


def test_cells_are_counted_by_ring_with_a_tolerance():
    cell, shape = 0.05, (20, 80)
    centres = layer_of(resolution=cell).centres()[: shape[0], : shape[1]]
    obstacle = np.zeros(shape, bool)
    obstacle[:, 70] = True
    place = place_of(obstacle, np.ones(shape, bool), cell)
    assert not place.floor[:, 68:73].any()
    assert place.floor[:, :68].all()
    everywhere, ring = np.ones(shape, bool), rings_of(centres, np.array([0.0, 0.5, 1.0]))
    shifted, ghost = np.zeros(shape, bool), np.zeros(shape, bool)
    shifted[:, 68] = True
    ghost[5, 30] = True  # 1.5 m away
    good, wrong = Counts(), Counts()
    good.add(shifted, place, everywhere, obstacle, ring, cell)
    wrong.add(ghost, place, everywhere, obstacle, ring, cell)
    assert good.false.sum() == good.missed.sum() == 0
    assert wrong.false.tolist() == [0, 1, 0, 0, 0]
    assert wrong.missed.sum() == 20
    false, missed = wrong.per_square_metre(cell)
    assert false[1] == pytest.approx(1 / wrong.floor[1] / cell**2)
    assert missed[-1] == pytest.approx(400)
    assert np.isnan(missed[1])  # no obstacle there


def test_rings_begin_and_end_where_they_say():
    centres = np.array([[[0.2, 0.0], [0.3, 0.0], [0.99, 0.0], [1.0, 0.0], [7.9, 0.0], [8.0, 0.0]]])
    assert rings_of(centres, np.zeros(3)).tolist() == [[-1, 0, 0, 1, len(RINGS) - 2, -1]]


def test_near_is_a_distance():
    mask = np.zeros((9, 9), bool)
    assert not near(mask, 3).any()
    mask[4, 4] = True
    assert near(mask, 2).sum() == 13


def test_a_field_of_view_opens_around_the_optical_axis():
    centres = np.array([[[1.0, 0.0], [1.0, 0.9], [1.0, 1.1], [-1.0, 0.0]]])
    T = look(yaw=0.0)
    assert field_of_view(centres, T, np.pi / 4).tolist() == [[True, True, False, False]]
    assert field_of_view(centres, look(yaw=np.pi), np.pi / 4).tolist() == [[False, False, False, True]]


CAMERA = CameraModel.pinhole(80, 60, 60.0, 60.0, 39.5, 29.5)
WALL = 3.0


def look(yaw, x=0.0):
    """A camera 1 m above the ground that looks level."""
    T = np.eye(4)
    ahead = np.array([np.cos(yaw), np.sin(yaw), 0])
    T[:3, :3] = np.stack([[np.sin(yaw), -np.cos(yaw), 0], [0, 0, -1], ahead], axis=1)
    T[:3, 3] = x, 0, 1
    return T


def sequence_before_a_wall():
    """Floor at z = 0 and a wall at x = WALL, seen on the way towards it."""
    frames = []
    u, v = np.meshgrid(np.arange(80), np.arange(60))
    for number in range(6):
        T = look(0.0, 0.1 * number)
        rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1) @ T[:3, :3].T
        with np.errstate(divide="ignore"):
            floor = np.where(rays[..., 2] < 0, -1 / rays[..., 2], np.inf)
        depth = np.minimum((WALL - T[0, 3]) / rays[..., 0], floor).astype(np.float32)
        view = View(np.zeros((60, 80, 3), np.uint8), CAMERA, np.eye(4), "camera", number * 500_000_000)
        frames.append(Frame(number * 0.5, (view,), (Truth(depth, CAMERA),), (T,)))
    return Sequence3D("wall", "a wall", tuple(frames), level=True)


def estimates(sequence, factor, stddev):
    out = []
    for frame in sequence.frames:
        depth = frame.truth[0].depth * np.float32(factor)
        pose = PoseEstimate(np.eye(4), "calibrated", np.zeros((6, 6)))
        view = ViewEstimate("camera", 0, frame.views[0].image, depth, np.ones_like(depth), CAMERA, pose, stddev * depth)
        out.append((view,))
    return out


def test_a_wall_that_is_seen_too_near_is_false_and_missed():
    sequence = sequence_before_a_wall()
    near_wall = estimates(sequence, 0.8, 0.2)
    kinds = {TRUE: as_estimates(sequence, near_wall), ALONE: near_wall, REFINED: near_wall}
    table, figures = costmap_table(Estimated(sequence, kinds, dict.fromkeys(kinds, 1.0)))
    assert len(table.rows) == 8
    assert figures["costmap wall true depth false"] == 0
    assert figures["costmap wall true depth missed"] < 20
    assert figures["costmap wall network alone false"] > 1
    assert figures["costmap wall network alone missed"] > 300
    # All of it is less sure than the narrow gate: nothing is marked.
    assert figures["costmap wall refined, gate 0.1 false"] == 0
    assert figures["costmap wall refined, gate 0.1 missed"] == pytest.approx(400)
    assert figures["costmap wall refined, gate 0.3 (default) false"] > 1


def test_frames_are_taken_at_a_rate():
    sequence = sequence_before_a_wall()
    assert spaced(sequence, 0.5) == [0, 1, 2, 3, 4, 5]
    assert spaced(sequence, 1.0) == [0, 2, 4]


def test_a_gate_takes_unsure_pixels_away():
    sequence = sequence_before_a_wall()
    depths = estimates(sequence, 1.0, 0.2)
    assert np.isfinite(gated(depths, 0.3)[0][0].depth).all()
    assert np.isnan(gated(depths, 0.1)[0][0].depth).all()
    unsaid = [tuple(replace(view, stddev=None) for view in views) for views in depths]
    assert np.isfinite(gated(unsaid, 0.1)[0][0].depth).all()

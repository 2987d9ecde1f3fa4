# SPDX-License-Identifier: Apache-2.0
"""The refinement benchmark's cases: what is measured of a scene, and what goes wrong on robots, on made inputs."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from needs import needs

needs("yaml")

import spoil
from case import Case, Truth
from cases import Sources, load_cases
from kitchen import LOWEST, lidar_rings, point_cases, random_points, window_cases
from made_rig import CAMERA, ring_case
from rig_files import read_rig, rig_path, write_rig

from da3_ros.estimation import View
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert, rotation_angle, transform


@pytest.fixture
def case():
    return ring_case(np.random.default_rng(0))


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def displacements(before, after):
    """Degrees and metres by which each camera's given pose has changed."""
    rows = []
    for a, b in zip(before.views, after.views, strict=True):
        error = invert(a.pose) @ b.pose
        rows.append((np.degrees(rotation_angle(error[:3, :3])), np.linalg.norm(error[:3, 3])))
    return np.array(rows)


def same_images(a, b):
    return [bool((x.image == y.image).all()) for x, y in zip(a.views, b.views, strict=True)]


def test_every_view_has_a_place_for_its_truth(case):
    with pytest.raises(ValueError, match="3 views, but truth for 2"):
        Case("short", case.views, case.truth[:2])


def test_a_small_error_turns_and_shifts_every_camera_a_little(case):
    rows = np.concatenate([displacements(case, spoil.miscalibrated(case, np.random.default_rng(i))) for i in range(30)])
    assert (rows > 0).all()
    assert (rows <= np.array(spoil.SMALL) * (1 + 1e-6)).all()
    assert (rows.max(axis=0) > 0.9 * np.array(spoil.SMALL)).all()
    assert (np.abs(rows.mean(axis=0) / spoil.SMALL - 0.5) < 0.1).all()


def test_a_wrong_calibration_changes_poses_alone_and_moves_the_points_of_a_lidar_with_the_camera(case, rng):
    spoilt = spoil.miscalibrated(case, rng)
    assert all(same_images(case, spoilt))
    assert spoilt.truth == case.truth
    for before, after in zip(case.views, spoilt.views, strict=True):
        np.testing.assert_allclose(after.mount, after.pose)
        # A LiDAR whose own calibration is right: its points stay where they are in the world.
        np.testing.assert_allclose(
            transform(after.pose, after.measured.astype(float)),
            transform(before.pose, before.measured.astype(float)),
            atol=1e-5,
        )
        assert np.abs(after.measured - before.measured).max() > 1e-4


def test_one_camera_is_knocked(case, rng):
    rows = displacements(case, spoil.knocked(case, rng))
    assert sorted(rows[:, 0].round(3).tolist()) == [0, 0, 2]
    assert sorted(rows[:, 1].round(5).tolist()) == [0, 0, 0.03]


def test_crossed_names_really_cross(case, rng):
    spoilt = spoil.crossed(case, rng)
    moved = [i for i, same in enumerate(same_images(case, spoilt)) if not same]
    assert len(moved) == 2
    a, b = moved
    for one, other in ((a, b), (b, a)):
        np.testing.assert_array_equal(spoilt.views[one].image, case.views[other].image)
        assert spoilt.truth[one] is case.truth[other]
        assert spoilt.views[one].name == case.views[one].name
        np.testing.assert_array_equal(spoilt.views[one].pose, case.views[one].pose)
    assert displacements(case, spoilt).max() == 0
    small = replace(case.views[0], image=np.zeros((4, 6, 3), np.uint8), camera=None)
    with pytest.raises(ValueError, match="different sizes"):
        spoil.crossed(Case("two sizes", (small, case.views[1]), (None, None)), rng)


def test_one_image_is_mirrored_and_its_truth_with_it(case, rng):
    spoilt = spoil.mirrored(case, rng)
    [moved] = [i for i, same in enumerate(same_images(case, spoilt)) if not same]
    np.testing.assert_array_equal(spoilt.views[moved].image, case.views[moved].image[:, ::-1])
    np.testing.assert_array_equal(spoilt.truth[moved].depth, case.truth[moved].depth[:, ::-1])
    others = [i for i in range(3) if i != moved]
    assert all(spoilt.truth[i] is case.truth[i] for i in others)
    unknown = replace(case, truth=(None, None, None))
    assert spoil.mirrored(unknown, rng).truth == (None, None, None)


def test_rain_falls_on_one_lens_and_hides_a_part_of_the_image(case, rng):
    spoilt = spoil.rained_on(case, rng)
    [moved] = [i for i, same in enumerate(same_images(case, spoilt)) if not same]
    changed = (spoilt.views[moved].image != case.views[moved].image).any(axis=-1)
    assert 0.1 < changed.mean() < 0.6
    drops, _ = cv2.connectedComponents(changed.astype(np.uint8))
    assert drops > 5
    assert spoilt.truth == case.truth
    # What is seen through a drop is blurred: neighbours differ less than in the noise around it.
    inner = cv2.erode(changed.astype(np.uint8), np.ones((3, 3))) > 0
    roughness = np.abs(np.diff(spoilt.views[moved].image.astype(float), axis=1)).mean(axis=-1)
    assert roughness[inner[:, 1:]].mean() < 0.5 * roughness[~changed[:, 1:]].mean()


def test_a_view_without_pose_has_no_calibration(case, rng):
    bare = replace(case, views=tuple(replace(view, pose=None) for view in case.views))
    for change in (spoil.miscalibrated, spoil.knocked):
        with pytest.raises(ValueError, match="without pose"):
            change(bare, rng)


@pytest.fixture
def kitchen(tmp_path, rng):
    """Seven frames in the layout of 7-Scenes: the camera goes 10 cm to the right from each to the next."""
    for i in range(7):
        name = tmp_path / f"frame-{10 * i:06d}"
        cv2.imwrite(f"{name}.color.png", rng.integers(0, 255, (480, 640, 3), dtype=np.uint8))
        depth = np.full((480, 640), 2000 + 100 * i, np.uint16)
        depth[:, :40] = 0
        cv2.imwrite(f"{name}.depth.png", depth)
        pose = np.eye(4)
        pose[0, 3] = 0.1 * i
        np.savetxt(f"{name}.pose.txt", pose)
    return tmp_path


def test_random_points_have_their_noise_and_are_no_truth_any_more(kitchen):
    cases = point_cases(kitchen, random_points(1000), "points", step=3)
    assert len(cases) == 3
    for i, case in enumerate(cases):
        [view], [truth] = case.views, case.truth
        assert view.pose is None
        z = view.measured[:, 2]
        true = 2.0 + 0.3 * i
        assert len(z) == 1000
        assert np.std(z / true - 1) == pytest.approx(0.01, rel=0.1)
        assert abs(np.mean(z / true - 1)) < 0.002
        camera = view.camera
        column = np.rint(view.measured[:, 0] / z * camera.fx + camera.cx).astype(int)
        row = np.rint(view.measured[:, 1] / z * camera.fy + camera.cy).astype(int)
        assert len(np.unique(np.stack([row, column]), axis=1).T) == 1000
        assert column.min() >= 40
        assert np.isnan(truth.depth[row, column]).all()
        assert np.isfinite(truth.depth).sum() == 480 * 600 - 1000
    drawn = [len(c.views[0].measured) for c in point_cases(kitchen, random_points(10**6), "all", step=6)]
    assert drawn == [480 * 600] * 2
    again = point_cases(kitchen, random_points(10), "points", seed=0)[0].views[0].measured
    other = point_cases(kitchen, random_points(10), "points", seed=1)[0].views[0].measured
    np.testing.assert_array_equal(again, point_cases(kitchen, random_points(10), "points")[0].views[0].measured)
    assert (again != other).any()


@pytest.mark.parametrize("rings", [16, 64])
def test_rings_lie_at_their_angles_and_none_above_the_horizon(rings, rng):
    camera = CameraModel.pinhole(640, 480, 585, 585, 320, 240)
    depth = np.full((480, 640), 2, np.float32)
    depth[:, 300:310] = np.nan
    row, column = lidar_rings(rings)(depth, camera, rng).T
    assert row.min() >= camera.cy
    assert np.isfinite(depth[row, column]).all()
    x, y = (column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy
    down = np.arctan(y / np.hypot(x, 1))
    nearest = np.round(down / LOWEST * (rings - 1)) * LOWEST / (rings - 1)
    assert np.degrees(np.abs(down - nearest)).max() < 0.06
    # All rings that the image can hold; the lowest leave it below.
    lowest = np.arctan((480 - 240) / 585)
    assert len(np.unique(nearest.round(6))) == int(lowest / LOWEST * (rings - 1)) + 1


def test_a_window_begins_with_the_present_frame(kitchen):
    cases = window_cases(kitchen, window=2, step=2)
    assert [case.views[0].pose[0, 3] for case in cases] == pytest.approx([0.2, 0.4, 0.6])
    for case in cases:
        assert [view.body for view in case.views] == [0, 1, 2]
        assert [view.pose_source for view in case.views] == ["odometry"] * 3
        steps = np.diff([view.pose[0, 3] for view in case.views])
        np.testing.assert_allclose(steps, -0.1, atol=1e-9)
        assert (np.diff([view.stamp_ns for view in case.views]) < 0).all()
        assert [float(np.nanmax(t.depth)) for t in case.truth] == pytest.approx(
            [2 + view.pose[0, 3] for view in case.views]
        )
    with pytest.raises(ValueError, match="holds 7 frames, a window needs 8"):
        window_cases(kitchen, window=7)
    with pytest.raises(FileNotFoundError, match="7-Scenes"):
        window_cases(kitchen / "nothing")


def test_a_rig_comes_back_from_its_file(case, tmp_path):
    path = rig_path(tmp_path, "train", 3, "ring")
    depth = case.truth[1].depth.copy()
    depth[0, :5] = 0
    written = replace(case, truth=(case.truth[0], Truth(depth, CAMERA), case.truth[2]))
    behind = np.array([[0, 0, -2], [0, 0, 2], [50, 0, 1]], np.float32)
    views = (replace(case.views[0], measured=behind), *case.views[1:])
    write_rig(path, replace(written, views=views))
    found = read_rig(path, measured=True)
    assert found.name == "train_0003_ring_own"
    assert np.isnan(found.truth[1].depth[0, :5]).all()
    for before, after in zip(written.truth, found.truth, strict=True):
        known = np.isfinite(after.depth)
        np.testing.assert_allclose(after.depth[known], before.depth[known], rtol=5e-4)
    for before, after in zip(case.views, found.views, strict=True):
        np.testing.assert_array_equal(after.pose, before.pose)
        assert after.camera == before.camera
        assert np.abs(after.image.astype(int) - before.image).mean() < 5
    assert found.views[0].measured.tolist() == [[0, 0, 2]]
    assert all(view.measured is None for view in read_rig(path).views)
    with pytest.raises(FileNotFoundError, match="render it first"):
        read_rig(rig_path(tmp_path, "train", 4, "ring"))
    with pytest.raises(ValueError, match="train, heldout"):
        rig_path(tmp_path, "validation", 0, "ring")
    with pytest.raises(ValueError, match="view 2 has no camera, pose or truth"):
        write_rig(path, replace(case, truth=(*case.truth[:2], None)))


def test_cases_by_name(case, tmp_path):
    for kind in ("stereo", "ring"):
        write_rig(rig_path(tmp_path, "heldout", 0, kind), case)
        write_rig(rig_path(tmp_path, "heldout", 0, kind, "fence"), case)
    sources = Sources(rigs=tmp_path, rooms=1)
    plain = list(load_cases("ring", sources))
    assert [c.name for c in plain] == ["heldout_0000_ring_own"]
    assert [c.name for c in load_cases("fence", sources)] == ["heldout_0000_stereo_fence", "heldout_0000_ring_fence"]
    moved = [displacements(a, b) for a, b in zip(plain * 2, load_cases("rigs", sources), strict=True)]
    assert all((rows > 0).all() for rows in moved)
    assert (moved[0] != moved[1]).all()
    again = [displacements(a, b) for a, b in zip(plain * 2, load_cases("rigs", sources), strict=True)]
    np.testing.assert_array_equal(moved, again)
    other = [displacements(plain[0], c) for c in load_cases("rigs", replace(sources, seed=1))]
    assert (np.array(other) != moved).all()
    for error in ("knocked", "crossed", "mirrored", "rained on"):
        assert [c.name.endswith(f", {error}") for c in load_cases(error, sources)] == [True, True]
    with pytest.raises(ValueError, match="'crosed'"):
        list(load_cases("crosed", sources))
    with pytest.raises(FileNotFoundError, match="7-Scenes"):
        list(load_cases("kitchen window", sources))
    with pytest.raises(ValueError, match="points N and rings N"):
        list(load_cases("kitchen points", replace(sources, kitchen=tmp_path)))


def test_shipped_cases():
    needs("skimage", "rosbags")
    [motorcycle] = load_cases("motorcycle", Sources())
    left, right = motorcycle.views
    assert np.linalg.norm(right.pose[:3, 3] - left.pose[:3, 3]) == pytest.approx(0.193001)
    assert motorcycle.truth[1] is None
    assert 2 < np.nanmin(motorcycle.truth[0].depth) < np.nanmax(motorcycle.truth[0].depth) < 6
    sets = list(load_cases("four_cameras", Sources()))
    assert len(sets) >= 4
    assert all(len(c.views) == 4 and isinstance(c.views[0], View) for c in sets)
    assert all(np.isfinite(t.depth).mean() > 0.5 for c in sets for t in c.truth)

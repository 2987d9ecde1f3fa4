# SPDX-License-Identifier: Apache-2.0
"""The refinement benchmark's figures, against numbers made by hand, and its command on a made kitchen."""

from needs import needs

needs("scipy", "yaml")

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from case import Case, Truth
from interpolated import interpolate_points
from made_rig import CAMERA, made_case
from scoring import Errors, Within, best_factor, errors, harm, mean_errors, ratio, truth_at, within_one_deviation
from semi_global import semi_global_depth
from sheet import Table
from surface import cloud_distances, share_kept
from targets import TARGETS, compare

from da3_ros.estimation import View
from da3_ros.geometry import CameraModel

ROOT = Path(__file__).resolve().parents[2]
NAN = float("nan")


def row(*values):
    return np.array([values], np.float32)


def test_errors_by_hand():
    found = errors([row(1.1, 2, 6, np.nan), row(np.inf, 3)], [row(1, 2, 4, 5), row(2, np.nan)])
    assert found.absrel == pytest.approx((0.1 + 0 + 0.5) / 3)
    assert found.delta1 == pytest.approx(2 / 3)
    assert found.median == pytest.approx(0.1)
    assert found.answered == pytest.approx(3 / 5)
    only = errors([row(1.1, 2, 6)], [row(1, 2, 4)], [np.array([[False, True, True]])])
    assert (only.absrel, only.answered) == (pytest.approx(0.25), 1.0)
    none = errors([row(np.nan)], [row(2)])
    assert math.isnan(none.absrel)
    assert none.answered == 0
    assert math.isnan(errors([row(1)], [row(np.nan)]).answered)


def test_the_mean_is_over_sets_and_lacking_answers_count_as_such():
    mean = mean_errors([Errors(0.1, 0.8, 0.05, 1.0), Errors(0.3, 0.6, 0.15, 1.0), Errors(NAN, NAN, NAN, 0.0)])
    assert mean == pytest.approx((0.2, 0.7, 0.1, 2 / 3))
    assert all(math.isnan(value) for value in mean_errors([Errors(NAN, NAN, NAN, NAN)]))


def test_truth_at_another_size_is_never_between_two_pixels():
    depth = np.where(np.arange(60) < 31, 1.0, 5.0)[None].repeat(40, 0).astype(np.float32)
    small = truth_at(Truth(depth, CameraModel.pinhole(60, 40, 50, 50, 30, 20)), (13, 17, 3))
    assert small.shape == (13, 17)
    assert set(np.unique(small)) == {1.0, 5.0}
    assert np.isnan(truth_at(None, (2, 3))).all()


def test_the_share_within_one_deviation():
    depth, truth = row(1.0, 2.0, 3.0, 4.0, np.nan), row(1.05, 2.3, 3.0, np.nan, 1.0)
    within = within_one_deviation(depth, row(0.1, 0.2, 0.0, 1, 1), truth)
    assert (within.inside, within.counted) == (2, 3)
    assert (within + Within(1, 1)).share == 0.75
    assert math.isnan(within_one_deviation(depth, None, truth).share)
    rng = np.random.default_rng(0)
    noisy = 2 + 0.1 * rng.standard_normal((300, 300))
    calibrated = within_one_deviation(noisy, np.full_like(noisy, 0.1), np.full_like(noisy, 2))
    assert calibrated.share == pytest.approx(0.683, abs=0.01)


def test_harm_by_hand():
    def times(before, after):
        return ratio(Errors(before, 1, 0, 1), Errors(after, 1, 0, 1))

    assert times(0.2, 0.1) == 0.5
    assert times(0.2, NAN) == float("inf")
    assert math.isnan(times(NAN, 0.1))
    found = harm([0.5, 1.0, 1.02, 1.5, NAN])
    assert found == (4, 0.5, 0.75, pytest.approx(1.01), 1.5)
    assert harm([NAN]).views == 0


def test_depth_without_unit_is_compared_by_the_median_of_its_set():
    depths, truths = [row(1, 2, 3), row(4, np.nan)], [row(2, 4, np.nan), row(8, 1)]
    assert best_factor(depths, truths) == pytest.approx(2)
    assert math.isnan(best_factor([row(np.nan)], [row(1)]))


def estimate(depths, metric=True, stddev=0.1, refined=None, pixels=None):
    views = [
        SimpleNamespace(
            depth=d,
            stddev=np.full_like(d, stddev),
            refinement=None
            if refined is None
            else SimpleNamespace(applied=r, message="" if r else "rain", pixels=pixels or {"views": 5}),
        )
        for d, r in zip(depths, refined or [None] * len(depths), strict=True)
    ]
    scale = SimpleNamespace(metric=metric, source="rig")
    return SimpleNamespace(views=views, scale=scale, timing={"refinement": 3.0, "engine": 20.0})


def test_a_set_is_scored_view_by_view_and_as_a_whole():
    from runs import Both, result_of

    truth = Truth(np.full((4, 6), 2, np.float32), CameraModel.pinhole(6, 4, 5, 5, 2.5, 1.5))
    image = View(np.zeros((4, 6, 3), np.uint8))
    case = Case("two", (image, image, image), (truth, truth, None))
    before = [np.full((2, 3), value, np.float32) for value in (2.4, 3.0, 1.0)]
    after = [np.full((2, 3), value, np.float32) for value in (2.05, 3.0, 1.0)]
    result = result_of(case, Both(estimate(before), estimate(after, refined=[True, False, False])))
    assert (result.before.absrel, result.after.absrel) == (pytest.approx(0.35), pytest.approx(0.2625))
    assert [view.ratio for view in result.views] == [
        pytest.approx(0.125, rel=1e-3),
        1.0,
        pytest.approx(NAN, nan_ok=True),
    ]
    assert [view.within.share for view in result.views[:2]] == [1.0, 0.0]
    assert [view.reason for view in result.views] == ["", "rain", "rain"]
    assert (result.off, result.milliseconds, result.scale) == (False, 3.0, "rig")
    assert result.of_first_view().after.absrel == pytest.approx(0.025, rel=1e-3)
    # Without metres there is no error, but still a before and an after.
    relative = result_of(case, Both(estimate(before, metric=False), estimate(after, metric=False, refined=[False] * 3)))
    assert math.isnan(relative.before.absrel)
    assert (relative.off, relative.scale) == (True, "none")
    factor = 2 / 2.7
    assert relative.views[0].ratio == pytest.approx(abs(2.05 * factor - 2) / abs(2.4 * factor - 2), rel=1e-3)


def pair(turn=0.0, shift=(0.2, 0.0, 0.0), camera=CAMERA, other=None):
    right = np.eye(4)
    right[:3, :3] = cv2.Rodrigues(np.radians(np.array([turn, turn, -turn])))[0]
    right[:3, 3] = shift
    case = made_case([np.eye(4), right], np.random.default_rng(3), camera)
    if other is not None:
        seen = made_case([np.eye(4), right], np.random.default_rng(3), other)
        case = replace(case, views=(case.views[0], seen.views[1]))
    return case


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"turn": 1.0},
        {"turn": 1.0, "shift": (0.2, 0.01, -0.01)},
        {"other": CameraModel.pinhole(160, 120, 150, 150, 85, 59.5)},
    ],
    ids=["parallel", "turned", "turned and shifted", "another principal point"],
)
def test_semi_global_matching_finds_the_wall(given):
    case = pair(**given)
    depth, truth = semi_global_depth(*case.views), case.truth[0].depth
    found = errors([depth], [truth])
    assert found.answered > 0.6
    assert found.median < 0.3 / 15  # of 15 pixels: the matcher prefers whole ones
    assert found.delta1 > 0.98


def test_semi_global_matching_wants_the_right_camera_at_the_right():
    left, right = pair().views
    with pytest.raises(ValueError, match="not to the right"):
        semi_global_depth(right, left)
    with pytest.raises(ValueError, match="camera and a pose"):
        semi_global_depth(left, replace(right, pose=None))


def test_points_alone_give_the_plane_that_they_lie_on():
    case = pair(turn=5.0)
    view, truth = case.views[1], case.truth[1]
    depth = interpolate_points(view, (60, 80))
    found = errors([depth], [truth_at(truth, depth.shape)])
    assert found.answered == 1
    assert found.absrel < 0.005
    with pytest.raises(ValueError, match="fewer than 4"):
        interpolate_points(replace(view, measured=view.measured[:3]), (60, 80))


def test_the_cloud_is_as_far_from_the_surface_as_it_was_put():
    case = pair()
    for metres in (0.0, 0.2):
        views = []
        for view, truth in zip(case.views, case.truth, strict=True):
            x, y = np.meshgrid(np.arange(160), np.arange(120))
            z = truth.depth + np.float32(metres)
            points = np.stack([(x - 79.5) / 150 * z, (y - 59.5) / 150 * z, z], axis=-1).astype(np.float32)
            colour, one = view.image, np.ones_like(z)
            views.append(SimpleNamespace(depth=z, points=lambda p=points: p, image=colour, confidence=one, stddev=None))
        distances = cloud_distances(case, SimpleNamespace(views=views))
        assert len(distances) > 1000
        assert np.median(distances) == pytest.approx(metres, abs=0.01)
    with pytest.raises(ValueError, match="known poses"):
        cloud_distances(replace(case, views=(replace(case.views[0], pose=None), case.views[1])), None)


def test_the_share_that_is_sure_enough_for_the_cloud():
    depth = np.full((4, 10), 2.0, np.float32)
    depth[0] = np.inf  # sky is in no cloud
    unsure = SimpleNamespace(depth=depth, stddev=np.where(np.arange(10) < 3, 1.0, 0.1) * np.ones_like(depth))
    silent = SimpleNamespace(depth=depth, stddev=None)
    assert share_kept(SimpleNamespace(views=[unsure])) == pytest.approx(0.7)
    assert share_kept(SimpleNamespace(views=[unsure, silent])) == pytest.approx(0.85)


def test_tables():
    table = Table("What", ("", "AbsRel", "share"), (".3f", ".0%"), notes=["by hand"])
    table.add("before", 0.1234, 0.5)
    table.add("after", NAN, 1.0)
    assert table.texts() == [["", "AbsRel", "share"], ["before", "0.123", "50%"], ["after", "-", "100%"]]
    assert "| before | 0.123 | 50% |" in table.markdown()
    assert "  after        -   100%" in table.text()
    with pytest.raises(ValueError, match="2 cells for 3 columns"):
        table.add("short", 1.0)


def test_targets_are_kept_or_not():
    table, met = compare({"motorcycle absrel after": 0.03, "motorcycle delta1 after": 0.95, "stereo within": 0.7})
    assert not met
    assert [cells[-1] for cells in table.rows] == ["yes", "NO", "yes"]
    assert compare({"motorcycle absrel after": 0.03, "stereo within": 0.6})[1]
    assert not compare({"motorcycle absrel after": NAN})[1]
    assert not compare({"stereo within": 0.77})[1]
    assert len({target.figure for target in TARGETS}) == len(TARGETS)


def test_the_peak_of_a_process_stays_when_memory_is_given_back():
    """In a process of its own: this one may have had gigabytes, which it would have to take once more."""
    code = (
        "import numpy as np\nfrom cost import peak_of_this_process as peak\nbefore = peak()\n"
        "block = np.ones(int(before + 100) * 125_000)\n"  # more than there ever was, in MB of doubles
        "largest = peak()\ndel block\nprint(before, largest, peak())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    before, largest, after = map(float, done.stdout.split())
    assert largest > before + 90
    assert after > largest - 1


def run(folder, *options):
    command = [sys.executable, str(ROOT / "benchmark" / "refinement"), *options, "-o", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_the_command(tmp_path):
    needs("matplotlib", "skimage", "rosbags")
    case = pair(camera=CameraModel.pinhole(640, 480, 585, 585, 320, 240))
    for i, (view, truth) in enumerate(zip(case.views, case.truth, strict=True)):
        name = tmp_path / f"frame-{i:06d}"
        cv2.imwrite(f"{name}.color.png", view.image[..., ::-1])
        cv2.imwrite(f"{name}.depth.png", np.rint(truth.depth * 1000).astype(np.uint16))
        np.savetxt(f"{name}.pose.txt", view.pose)
    out = tmp_path / "out"
    done = run(out, "--only", "motorcycle", "points", "--kitchen", str(tmp_path), "--size", "140")
    assert done.returncode == ("NO" in done.stdout.split("What it must show")[1]), done.stderr
    found = json.loads((out / "refinement.json").read_text())["figures"]
    assert found["motorcycle absrel before"] > found["motorcycle absrel after"]
    assert found["motorcycle absrel matching"] < 0.02
    assert found["points 10 answered before"] == 0  # too few for a scale
    assert found["points 1000 absrel after"] < 0.05
    assert found["points 1000 absrel alone"] < 0.02
    assert (out / "points.png").stat().st_size > 10_000
    assert "| semi-global matching |" in (out / "refinement.md").read_text()
    refused = run(out, "--only", "window")
    assert refused.returncode == 2
    assert "--kitchen" in refused.stderr

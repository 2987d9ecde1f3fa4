# SPDX-License-Identifier: Apache-2.0
import json

import cv2
import numpy as np
import pytest

from da3_ros.engines import EngineInfo, RawEstimate
from da3_ros.engines.plan import Shape
from da3_ros.export.gate import Drift, Tolerance, check, compare, drawn_samples, judge, load_samples


def estimate(views=2):
    rng = np.random.default_rng(3)
    extrinsics = np.tile(np.eye(3, 4, dtype=np.float32), (views, 1, 1))
    extrinsics[:, 0, 3] = -np.arange(views)
    return RawEstimate(
        rng.uniform(1, 5, (views, 28, 42)).astype(np.float32),
        np.ones((views, 28, 42), np.float32),
        extrinsics,
        np.tile(np.float32([[50, 0, 21], [0, 50, 14], [0, 0, 1]]), (views, 1, 1)),
    )


def changed(**changes):
    base = estimate()
    values = {name: getattr(base, name).copy() for name in ("depth", "confidence", "extrinsics", "intrinsics")}
    for name, change in changes.items():
        change(values[name])
    return RawEstimate(**values)


class Fixed:
    """An engine that gives one answer."""

    def __init__(self, answer):
        self.answer = answer
        self.info = EngineInfo("m", "fixed", True, 14, "0")
        self.known = []

    def run(self, images, *known):
        self.known.append(known)
        return self.answer


def test_equal_estimates_do_not_drift():
    drift = compare(estimate(), estimate())
    assert drift.scale_ratio == drift.focal_ratio == 1
    assert (drift.abs_rel, drift.translation) == (0, 0)
    assert drift.rotation_deg < 0.05  # arccos near 1 in float32


def turn(extrinsics):
    c, s = np.cos(np.radians(2)), np.sin(np.radians(2))
    extrinsics[1, :, :] = np.float32([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ extrinsics[1]


@pytest.mark.parametrize(
    ("changes", "field", "value", "words"),
    [
        ({"depth": lambda d: d[1].__imul__(1.1)}, "scale_ratio", 1.1, "scale differs by 1.1000 times"),
        ({"depth": lambda d: d[0].__imul__(0.9)}, "scale_ratio", 0.9, "scale differs by 0.9000 times"),
        ({"depth": lambda d: d[:, ::4].__imul__(1.2)}, "abs_rel", 0.05, "depth (AbsRel) differs by 0.0500"),
        ({"extrinsics": turn}, "rotation_deg", 2.0, "rotation differs by 2.00 degrees"),
        ({"extrinsics": lambda e: e[1, 0].__iadd__(0.3)}, "translation", None, "position differs"),
        ({"intrinsics": lambda k: k[0, 1, 1:2].__imul__(1.03)}, "focal_ratio", 1.03, "focal length differs by 1.0300"),
    ],
)
def test_each_kind_of_drift_is_measured_and_named(changes, field, value, words):
    drift = compare(estimate(), changed(**changes))
    if value is not None:
        assert getattr(drift, field) == pytest.approx(value, abs=2e-3)
    assert any(words in text for text in judge(drift, Tolerance()))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.0])
def test_what_is_not_finite_or_not_positive_is_refused(bad):
    drift = compare(estimate(), changed(depth=lambda d: d.__setitem__((0, 0, 0), bad)))
    assert judge(drift, Tolerance()) == ["its output is not finite, or its depth not positive"]


def test_small_drift_passes():
    assert judge(Drift(1.005, 0.01, 0.2, 0.005, 0.995), Tolerance()) == []


def test_one_bad_sample_among_good_ones_is_enough():
    answers = [estimate(), changed(depth=lambda d: d.fill(np.nan)), estimate()]

    class Wandering(Fixed):
        def run(self, images, *known):
            return answers.pop(0)

    images = np.zeros((2, 28, 42, 3), np.uint8)
    report = check(Fixed(estimate()), Wandering(None), [images] * 3, "test")
    assert not report.passed
    assert "finite" in report.verdict
    json.dumps(report.as_dict(), allow_nan=False)  # the header must be plain JSON


def test_the_range_of_scales_is_kept():
    answers = [changed(depth=lambda d, f=f: d.__imul__(f)) for f in (1.0, 0.999, 1.004)]

    class Wandering(Fixed):
        def run(self, images, *known):
            return answers.pop(0)

    images = np.zeros((2, 28, 42, 3), np.uint8)
    report = check(Fixed(estimate()), Wandering(None), [images] * 3, "test")
    assert report.passed
    assert report.smallest_scale == pytest.approx(0.999, abs=1e-4)
    assert report.largest_scale == pytest.approx(1.004, abs=1e-4)


def test_posed_graphs_get_the_cameras_of_the_reference():
    reference, candidate = Fixed(estimate()), Fixed(estimate())
    assert check(reference, candidate, [np.zeros((2, 28, 42, 3), np.uint8)], "test", posed=True).passed
    extrinsics, intrinsics = candidate.known[0]
    np.testing.assert_array_equal(extrinsics[:, :3], estimate().extrinsics)
    np.testing.assert_array_equal(extrinsics[:, 3], [[0, 0, 0, 1]] * 2)
    np.testing.assert_array_equal(intrinsics, estimate().intrinsics)


def test_no_samples_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        check(Fixed(estimate()), Fixed(estimate()), [], "test")


def test_images_of_a_folder_become_samples(tmp_path):
    with pytest.raises(ValueError, match="holds no images"):
        load_samples(tmp_path, Shape(1, 28, 42))
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((60, 80, 3), (0, 0, 40 * i), np.uint8))
    samples = load_samples(tmp_path, Shape(2, 28, 42))
    assert [s.shape for s in samples] == [(2, 28, 42, 3)] * 2
    assert [int(s[v, 0, 0, 0]) for s in samples for v in range(2)] == [0, 40, 80, 120]  # red comes first
    assert load_samples(tmp_path, Shape(6, 28, 42))[0].shape == (6, 28, 42, 3)  # images are used again
    (tmp_path / "a.jpg").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"a\.jpg is not an image"):
        load_samples(tmp_path, Shape(6, 28, 42))


def test_the_drawn_scene_has_structure_and_parallax():
    (sample, other) = drawn_samples(Shape(2, 56, 98))
    assert sample.shape == (2, 56, 98, 3)
    assert sample.dtype == np.uint8
    assert sample.astype(float).std() > 20
    assert np.abs(sample[0].astype(int) - sample[1]).mean() > 3
    assert (sample != other).any()

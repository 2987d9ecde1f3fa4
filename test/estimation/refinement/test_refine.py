# SPDX-License-Identifier: Apache-2.0
"""The whole: depth of a set before and after, what is said of it, and when nothing changes."""

import importlib
import tracemalloc
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from papered import NETWORK, SLANTED, SMALL, Sheet, bent, network_error, pose, render, room, subject

from da3_ros.estimation.refinement import RefinementConfig, Subject, refine
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.geometry import CameraModel

module = importlib.import_module("da3_ros.estimation.refinement.refine")
H, W = SMALL.height, SMALL.width
CONFIG = RefinementConfig()
BEND = bent()
BESIDE = (pose(0, 0, 0), pose(0.25, 0, 0, turn=(0, -2, 0)))
KNOCKED = pose(0, 0.03, 0, turn=(0, 0, 2))
LITTLE = "0 pieces of evidence, 12 are needed"


def truth(given):
    """Depth without what BEND does to it."""
    return given.depth * np.exp(-BEND)


def error(result, given):
    return float(np.median(np.abs(result.depth / truth(given) - 1)))


def points(depth, camera=SMALL, count=300, noise=0.0, seed=0):
    """Points (N, 3) of a sensor at the camera, at random pixels."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, camera.height, count), rng.integers(0, camera.width, count)
    z = depth[rows, columns] * (1 + rng.normal(0, noise, count))
    return np.stack([(columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z, z], 1).astype(
        np.float32
    )


def corners(depth, count=40, by=1.0):
    """Triangulated corners at pixels of the large image, all `by` times too far."""
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(4, H - 4, count), rng.integers(4, W - 4, count)
    pixels = (np.stack([columns, rows], 1) + 0.5) * 3 - 0.5
    return SparseDepth(pixels.astype(float), by * depth[rows, columns].astype(float), np.full(count, 0.02))


@pytest.fixture(scope="module")
def beside():
    return [subject([SLANTED], at, BEND) for at in BESIDE]


@pytest.fixture(scope="module")
def alone():
    """A view of unknown place with another sensor's points."""
    given = subject([SLANTED], None, BEND)
    return replace(given, measured=(points(truth(given)), SMALL))


@pytest.fixture(scope="module")
def apart():
    """Views back to back: neither sees what the other one does."""
    sheets = [SLANTED, Sheet((0, 0, -2.5), paper=4)]
    return [subject(sheets, at, BEND) for at in (pose(0, 0, 0), pose(0.3, 0, 0, turn=(0, 180, 0)))]


def unchanged(result, given):
    np.testing.assert_array_equal(result.depth, given.depth)
    np.testing.assert_array_equal(result.confidence, given.confidence)
    assert not result.report.applied
    return True


def test_views_mend_each_other(beside):
    for result, given in zip(refine(beside, CONFIG), beside, strict=True):
        assert np.median(np.abs(np.exp(BEND) - 1)) > 0.1
        assert error(result, given) < 0.006
        report = result.report
        assert (report.applied, report.message, report.mismatch) == (True, "", False)
        assert report.pixels.keys() == {"views"}
        assert report.share == pytest.approx(report.pixels["views"] / (H * W))
        assert report.before == pytest.approx(np.median(np.abs(BEND)), rel=0.2)
        assert report.after < 0.1 * report.before
        np.testing.assert_array_equal(report.unrefined, given.depth)
        told = np.isfinite(report.evidence)
        assert told.mean() == pytest.approx(report.share)
        assert np.median(np.abs(report.evidence / truth(given) - 1)[told]) < 0.006
        assert result.depth.dtype == result.confidence.dtype == result.stddev.dtype == np.float32


def test_another_sensor_mends_a_single_view(alone):
    (result,) = refine([alone], CONFIG)
    assert result.report.pixels.keys() == {"measured"}
    assert result.report.pixels["measured"] > 200
    assert error(result, alone) < 0.02


def test_it_is_the_same_each_time_and_the_caller_keeps_his(beside, alone):
    given = [*beside, alone]
    before = [[np.array(getattr(s, f.name), copy=True) for f in fields(s)[:4]] for s in given]
    first, second = refine(given, CONFIG), refine(given, CONFIG)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.depth, b.depth)
        np.testing.assert_array_equal(a.stddev, b.stddev)
    for s, kept in zip(given, before, strict=True):
        for field, value in zip(fields(s)[:4], kept, strict=True):
            np.testing.assert_array_equal(getattr(s, field.name), value)


def test_views_that_cannot_tell_anything_change_nothing(apart):
    for result, given in zip(refine(apart, CONFIG), apart, strict=True):
        assert unchanged(result, given)
        assert (result.report.message, result.report.mismatch) == (LITTLE, False)
        assert (result.report.pixels, result.report.share) == ({}, 0)
        assert np.isnan(result.report.before)
        assert np.isnan(result.report.after)
        assert np.isnan(result.report.evidence).all()
        np.testing.assert_allclose(np.median(result.stddev / result.depth), 0.22, rtol=0.02)


def test_how_sure_the_network_is_can_be_told(apart):
    sure = refine(apart, CONFIG, network=0.05)[0]
    np.testing.assert_allclose(np.median(sure.stddev / sure.depth), 0.05, rtol=0.1)


@pytest.mark.parametrize("kind", ["beside", "above"])
def test_crossed_mirrored_and_knocked_views_change_nothing(kind):
    places = {"beside": BESIDE, "above": (pose(0, 0, 0), pose(0.02, -0.2, 0.1))}[kind]
    a, b = (subject(room(1), at, bent(NETWORK), camera=NETWORK) for at in places)

    def mirrored(s):
        return replace(s, image=np.ascontiguousarray(s.image[:, ::-1]), large=np.ascontiguousarray(s.large[:, ::-1]))

    for spoilt in (
        [replace(a, image=b.image, large=b.large), replace(b, image=a.image, large=a.large)],
        [mirrored(a), mirrored(b)],
        [a, replace(b, pose=b.pose @ KNOCKED)],
    ):
        for result, given in zip(refine(spoilt, CONFIG), spoilt, strict=True):
            assert unchanged(result, given)


def test_only_views_of_a_pair_that_does_not_match_are_at_fault(beside):
    """A third camera merely sees nothing of it, and a fourth one has a LiDAR."""
    behind = subject([Sheet((0, 0, -2.5), paper=4)], pose(0, 0, 0, turn=(0, 180, 0)), BEND)
    lidar = replace(beside[1], pose=beside[1].pose @ KNOCKED, measured=(points(truth(beside[1])), SMALL))
    a, c, d = refine([beside[0], behind, lidar], CONFIG)
    text = "1 pair(s) of views do not match at their poses: calibrate anew"
    assert (a.report.applied, a.report.message, a.report.mismatch) == (False, text, True)
    assert (c.report.applied, c.report.message, c.report.mismatch) == (False, LITTLE, False)
    assert (d.report.applied, d.report.message, d.report.mismatch) == (True, "", True)
    assert error(d, lidar) < 0.02


def test_depth_that_is_none_stays_as_it_is(beside):
    """Sky is +Inf, unknown NaN; what a shift made negative or zero is no depth either."""
    spoilt = beside[0].depth.copy()
    spoilt[:20, :30], spoilt[:20, 30:60], spoilt[80:, :20], spoilt[80:, 20:40] = np.inf, np.nan, -0.5, 0
    none = ~(np.isfinite(spoilt) & (spoilt > 0))
    given = [replace(beside[0], depth=spoilt), beside[1]]
    result = refine(given, CONFIG)[0]
    assert result.report.applied
    np.testing.assert_array_equal(result.depth[none], spoilt[none])
    assert np.isnan(result.report.evidence[none]).all()
    assert np.isfinite(result.depth[~none]).all()
    assert result.depth[~none].min() > 0
    assert np.isfinite(result.stddev[~none]).all()
    assert result.stddev[~none].min() > 0
    assert np.isfinite(result.confidence).all()
    true = truth(beside[0])
    assert np.median(np.abs(result.depth / true - 1)[~none]) < 0.01
    nothing = [replace(s, depth=np.full_like(s.depth, np.nan)) for s in beside]
    for found in refine(nothing, CONFIG):
        assert np.isnan(found.depth).all()


def test_witnesses_are_not_refined_but_tell(beside):
    both = refine(beside, CONFIG)
    result, nobody = refine([beside[0], replace(beside[1], wanted=False)], CONFIG)
    assert nobody is None
    np.testing.assert_array_equal(result.depth, both[0].depth)
    assert refine([replace(s, wanted=False) for s in beside], CONFIG) == [None, None]
    assert refine([], CONFIG) == []


def test_the_source_says_what_is_asked(beside):
    given = [replace(s, measured=(points(truth(s)), SMALL), matches=corners(truth(s))) for s in beside]
    wanted = {
        "views": {"views"},
        "measured": {"measured"},
        "all": {"views", "measured", "matches"},
        "auto": {"views", "measured"},  # corners add nothing to so much
        "none": set(),
    }
    for source, kinds in wanted.items():
        result = refine(given, RefinementConfig(source))[0]
        assert result.report.pixels.keys() == kinds, source
        assert result.report.applied is bool(kinds)


def test_corners_help_where_little_else_is_known():
    given = subject([SLANTED], None, BEND)
    given = replace(given, matches=corners(truth(given)))
    for source in ("auto", "all"):
        (result,) = refine([given], RefinementConfig(source))
        assert result.report.pixels == {"matches": 40}
        assert error(result, given) < 0.4 * np.median(np.abs(np.exp(BEND) - 1))
    for source in ("views", "measured"):
        assert unchanged(refine([given], RefinementConfig(source))[0], given)


def test_corners_of_wrong_poses_are_not_believed(beside):
    """They were triangulated at these."""
    given = [replace(s, matches=corners(truth(s), by=1.2)) for s in beside]
    given[1] = replace(given[1], pose=given[1].pose @ KNOCKED)
    for result, own in zip(refine(given, CONFIG), given, strict=True):
        assert unchanged(result, own)
        assert result.report.pixels == {}


def test_a_dozen_pieces_are_needed(alone):
    z = truth(alone)
    for count, applied in ((11, False), (12, True)):
        rows, columns = np.divmod(np.arange(count) * 997 % (H * W), W)
        at = np.stack([(columns - SMALL.cx) / SMALL.fx, (rows - SMALL.cy) / SMALL.fy, np.ones(count)], 1)
        (result,) = refine([replace(alone, measured=(at * z[rows, columns][:, None], SMALL))], CONFIG)
        assert result.report.pixels == {"measured": count}
        assert result.report.applied is applied
        if not applied:
            assert result.report.message == "11 pieces of evidence, 12 are needed"


def test_evidence_that_is_noise_changes_nothing(alone):
    """A sensor that is mounted elsewhere: its points have nothing to do with the image."""
    rng = np.random.default_rng(0)
    cloud = points(truth(alone))
    cloud = (cloud * rng.uniform(0.5, 2, (len(cloud), 1))).astype(np.float32)
    (result,) = refine([replace(alone, measured=(cloud, SMALL))], CONFIG)
    assert unchanged(result, alone)
    assert "evidence" in result.report.message
    assert not result.report.mismatch
    assert result.report.after > 0.1


def test_a_sensor_may_be_right_against_the_network(alone):
    """The network has near and far the wrong way round; a LiDAR repairs it."""
    true = truth(alone)
    upside = (np.median(true) ** 2 / true).astype(np.float32)
    (result,) = refine([replace(alone, depth=upside, measured=(points(true, count=1500), SMALL))], CONFIG)
    assert result.report.applied
    assert np.median(np.abs(result.depth / true - 1)) < 0.03 < np.median(np.abs(upside / true - 1))


def test_a_sensor_is_believed_though_views_at_wrong_poses_contradict_it(beside, monkeypatch):
    """As those of a window whose poses are the network's."""
    given = replace(beside[0], measured=(points(truth(beside[0]), count=2000), SMALL))
    rng = np.random.default_rng(7)
    rows, columns = rng.integers(0, SMALL.height, 3000), rng.integers(0, SMALL.width, 3000)
    wrong = Evidence.of(rows, columns, rng.uniform(0, 3, 3000), np.full(3000, 0.02), "views")
    original = module._gather

    def gather(*arguments):
        found, hints, messages = original(*arguments)
        return [Evidence.joined([found[0], wrong])], hints, messages

    monkeypatch.setattr(module, "_gather", gather)
    (result,) = refine([given], CONFIG)
    assert result.report.applied
    assert set(result.report.pixels) == {"measured"}
    assert error(result, given) < 0.02
    (result,) = refine([replace(given, measured=None)], CONFIG)
    assert not result.report.applied


def test_confidence_rises_where_evidence_agrees(beside, alone):
    given = replace(alone, measured=(points(truth(alone))[:150], SMALL), confidence=alone.confidence + BEND)
    (result,) = refine([given], CONFIG)
    gain = result.confidence / given.confidence
    assert gain.min() >= 1
    assert gain.max() <= 2
    told = np.isfinite(result.report.evidence)
    assert np.median(gain[told]) > 1.95
    whole = refine(beside, CONFIG)[0]
    assert np.median(whole.confidence / beside[0].confidence) > 1.9
    half = points(truth(alone), count=900)
    (left,) = refine([replace(alone, measured=(half[half[:, 0] < -0.3], SMALL))], CONFIG)
    assert left.confidence[:, -10:].max() < 1.2 * alone.confidence.max()


def test_the_unit_of_depth_does_not_matter(beside):
    """In chunks it is not the metre."""
    scaled = [
        replace(
            s,
            depth=s.depth * np.float32(0.25),
            pose=np.block([[s.pose[:3, :3], 0.25 * s.pose[:3, 3:]], [np.zeros((1, 3)), np.ones((1, 1))]]),
            sigma=(s.sigma[0], 0.25 * s.sigma[1]),
        )
        for s in beside
    ]
    for metres, units in zip(refine(beside, CONFIG), refine(scaled, CONFIG), strict=True):
        off = np.abs(units.depth / (0.25 * metres.depth) - 1)
        assert (off > 2e-3).mean() < 0.03  # what the last digit of a number decides, whether a pixel counts
        assert off.max() < 0.03
        np.testing.assert_allclose(np.median(units.stddev), 0.25 * np.median(metres.stddev), rtol=0.02)


def test_a_cloud_of_another_size_lies_where_it_belongs(alone):
    """The camera of `measured` is that of the image at its own size."""
    own = SMALL.scaled(3 * W, 3 * H)
    (result,) = refine([replace(alone, measured=(alone.measured[0], own))], CONFIG)
    assert error(result, alone) < 0.02
    shifted = CameraModel.pinhole(own.width, own.height, own.fx, own.fy, own.cx + 60, own.cy)
    (result,) = refine([replace(alone, measured=(alone.measured[0], shifted))], CONFIG)
    assert error(result, alone) > 0.02


PAIR = (pose(0, 0, 0), pose(0.05, -0.2, 0))


@cache
def photographed(seed, which):
    """Image (h, w, 3) and depth (h, w) of a random room from a place of PAIR."""
    grey, depth = render(room(seed), NETWORK, PAIR[which])
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2), depth


def seen(seed, which, error_seed):
    """A view of a random room with a network's error, and its true depth."""
    rgb, depth = photographed(seed, which)
    wrong = np.exp(network_error(NETWORK, error_seed, 0.15))
    return Subject(depth * wrong, np.ones_like(depth), rgb, rgb, NETWORK, None), depth


def share_within(given, depths):
    """Shares of all pixels whose error is within one stated standard deviation, by view."""
    results = refine(given, CONFIG)
    return [(np.abs(r.depth - depth) < r.stddev).mean() for r, depth in zip(results, depths, strict=True)]


@pytest.mark.parametrize("count", [100, 1000])
def test_two_thirds_lie_within_one_standard_deviation_of_points(count):
    """As a LiDAR or a depth camera measures them, with a per cent of noise."""
    shares = []
    for seed in range(6):
        given, depth = seen(seed, 0, seed)
        cloud = points(depth, NETWORK, count, noise=0.01, seed=seed)
        shares += share_within([replace(given, measured=(cloud, NETWORK))], [depth])
    assert 0.60 < np.mean(shares) < 0.76


def test_two_thirds_lie_within_one_standard_deviation_of_views():
    """At poses that are off by as much as is stated."""
    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        given, depths = [], []
        for which, at in enumerate(PAIR):
            view, depth = seen(seed, which, 10 * seed + which)
            off = pose(*rng.normal(0, 0.005, 3), turn=tuple(rng.normal(0, 0.15, 3)))
            given.append(replace(view, pose=at @ off, sigma=(np.radians(0.15), 0.005)))
            depths.append(depth)
        shares += share_within(given, depths)
    assert 0.60 < np.mean(shares) < 0.76


def test_memory_of_four_views():
    places = [pose(0.2 * i, 0.05 * (i % 2), 0) for i in range(4)]
    given = [subject([SLANTED], at, bent(NETWORK), camera=NETWORK) for at in places]
    given = [replace(s, measured=(points(s.depth, NETWORK, 1000), NETWORK)) for s in given]
    refine(given, CONFIG)  # threads and caches
    tracemalloc.start()
    refine(given, CONFIG)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 80e6

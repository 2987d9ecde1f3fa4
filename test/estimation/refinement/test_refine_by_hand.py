# SPDX-License-Identifier: Apache-2.0
"""What goes from step to step of the refinement, and its numbers by their formulas."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, SMALL, bent, pose, subject

from da3_ros.estimation.refinement import RefinementConfig, refine
from da3_ros.estimation.refinement.check import Verdict
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.fusion import Fused, fuse, spacing
from da3_ros.estimation.refinement.uncertainty import deviation, distances, grown
from da3_ros.estimation.scale.rig import SparseDepth

module = importlib.import_module("da3_ros.estimation.refinement.refine")
H, W = SMALL.height, SMALL.width
CONFIG = RefinementConfig()
BEND = bent()


def cloud(depth, count, seed=0):
    """Points (N, 3) of a sensor at the camera, one a pixel, none on the border."""
    rows, columns = np.divmod(np.random.default_rng(seed).permutation((H - 2) * (W - 2))[:count], W - 2)
    rows, columns = rows + 1, columns + 1
    z = depth[rows, columns]
    x, y = (columns - SMALL.cx) / SMALL.fx * z, (rows - SMALL.cy) / SMALL.fy * z
    return np.stack([x, y, z], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def given():
    return subject([SLANTED], None, BEND)


def measured(given, count=300):
    return replace(given, measured=(cloud(given.depth * np.exp(-BEND), count), SMALL))


class Fusing:
    """Calls of `fuse`, which does its work all the same."""

    def __init__(self, monkeypatch):
        self.calls = []

        def fusing(log_depth, grey, evidence, hints=None, **options):
            self.calls.append((log_depth, grey, evidence, hints, options))
            return fuse(log_depth, grey, evidence, hints, **options)

        monkeypatch.setattr(module, "fuse", fusing)


def some(source, count=500, common=0.0, wrong=0.0):
    """Evidence that the network is off by BEND."""
    rows, columns = np.divmod(np.random.default_rng(3).permutation(H * W)[:count], W)
    log_depth = np.log(subject([SLANTED], None).depth)
    return Evidence.of(rows, columns, log_depth[rows, columns] + wrong, np.full(count, 0.02), source, common)


def one(given, evidence, hints=None, message="", config=CONFIG, network=0.22):
    log_depth, grey = np.log(given.depth), given.image[..., 0].astype(np.float32)
    return module._one(given, log_depth, grey, evidence, hints or Evidence.none(), message, config, network)


def test_the_final_fusion_is_more_exact_between_a_sensor_s_points(given, monkeypatch):
    fusing = Fusing(monkeypatch)
    for source, accuracy, while_checking in (
        ("measured", 0.002, 0.002),
        ("views", 0.007, 0.05),
        ("matches", 0.007, 0.05),
    ):
        fusing.calls.clear()
        one(given, some(source))
        *checks, last = fusing.calls
        assert last[4] == {"accuracy": accuracy}
        assert [call[4] for call in checks] == [{"rounds": 1, "accuracy": while_checking}] * len(checks)
        assert last[0].shape == (H, W)
        assert {call[0].shape for call in checks} == {(49, 63)}


def test_a_check_is_made_at_half_the_size_without_what_is_held_back(given, monkeypatch):
    fusing = Fusing(monkeypatch)
    evidence = some("views", 600)
    held = module.held_back(evidence, 0.15)
    found = one(given, evidence)
    (check, _) = fusing.calls
    (kept,) = held
    np.testing.assert_array_equal(check[2].rows, evidence.rows[~kept] // 2)
    np.testing.assert_array_equal(check[2].columns, evidence.columns[~kept] // 2)
    small = np.log(given.depth).reshape(49, 2, 63, 2).mean((1, 3))
    np.testing.assert_allclose(check[0], small, atol=1e-5)
    at = evidence.rows[kept] // 2, evidence.columns[kept] // 2
    before = np.median(np.abs(evidence.log_depth[kept] - small[at]))
    after = np.median(np.abs(evidence.log_depth[kept] - fuse(*check[:3], **check[4]).log_depth[at]))
    assert (found.report.before, found.report.after) == (
        pytest.approx(before, rel=1e-3),
        pytest.approx(after, rel=1e-3),
    )


def test_few_pieces_are_held_back_a_quarter_at_a_time(given, monkeypatch):
    fusing = Fusing(monkeypatch)
    found = one(given, some("views", 100))
    assert len(fusing.calls) == 5
    assert sum(len(call[2]) for call in fusing.calls[:4]) == 3 * 100
    assert np.isfinite(found.report.after)


def test_a_check_that_leaves_too_little_is_none(given, monkeypatch):
    """Six pieces at least must be left; where no check is possible the evidence counts."""
    evidence = some("views", 12)
    for left, checks in ((5, 0), (6, 1)):
        held = np.arange(12) >= left
        monkeypatch.setattr(module, "held_back", lambda *_, held=held: [held, np.zeros(12, bool)])
        fusing = Fusing(monkeypatch)
        found = one(given, evidence)
        assert len(fusing.calls) == checks + found.report.applied
        if not checks:
            assert (found.report.applied, found.report.message) == (True, "")
            assert np.isnan(found.report.before)


def test_pieces_where_the_network_has_no_depth_do_not_count(given):
    spoilt = given.depth.copy()
    spoilt[: H // 2] = np.inf
    evidence, hints = some("views", 600), some("views", 600)
    log_depth = module._logarithm(spoilt)
    found = module._one(
        replace(given, depth=spoilt),
        log_depth,
        given.image[..., 0].astype(np.float32),
        evidence,
        hints,
        "",
        CONFIG,
        0.22,
    )
    count = int((evidence.rows >= H // 2).sum())
    assert found.report.pixels == {"views": count}
    assert found.report.share == count / (H * W)
    assert found.report.applied


def test_the_logarithm_of_depth_that_is_none_is_that_of_the_farthest():
    depth = np.array([[1.0, 4.0, np.inf], [np.nan, 0.0, -3.0]], np.float32)
    np.testing.assert_allclose(module._logarithm(depth), np.log([[1, 4, 4], [4, 4, 4]]))
    np.testing.assert_array_equal(module._logarithm(np.full((2, 2), np.nan, np.float32)), np.zeros((2, 2)))


def test_an_error_that_all_pieces_share_is_taken_off(given, monkeypatch):
    """And shown as it came."""
    fusing = Fusing(monkeypatch)
    evidence, hints = some("views", 600, common=0.15, wrong=0.2), some("views", 30, wrong=0.2)
    found = one(given, evidence, hints)
    shared = np.median(evidence.log_depth - np.log(given.depth)[evidence.rows, evidence.columns]) / 2  # as sure as VIEW
    assert shared > 0.05
    np.testing.assert_allclose(fusing.calls[-1][2].log_depth, evidence.log_depth - shared, atol=1e-4)
    np.testing.assert_allclose(fusing.calls[-1][3].log_depth, hints.log_depth - shared, atol=1e-4)
    np.testing.assert_allclose(
        found.report.evidence[evidence.rows, evidence.columns], np.exp(evidence.log_depth), rtol=1e-5
    )


def test_confidence_rises_to_twice_at_evidence_and_less_beside_it(given):
    confidence = np.linspace(1, 3, H * W, dtype=np.float32).reshape(H, W)
    evidence = some("measured", 40)
    found = one(replace(given, confidence=confidence), evidence)
    assert found.report.applied
    away = distances((H, W), evidence, np.ones(40, np.float32))
    np.testing.assert_allclose(found.confidence, confidence * (1 + np.exp(-away / 12)), rtol=1e-4)
    kept = one(replace(given, confidence=confidence), some("measured", 11))
    assert kept.confidence is confidence


@pytest.mark.parametrize("applied", [True, False])
def test_the_message_of_a_pose_that_is_wrong_is_said_where_nothing_comes_of_the_evidence(given, applied):
    found = one(given, some("views", 300 if applied else 5), message="the pair does not match")
    assert found.report.message == ("" if applied else "the pair does not match")
    assert found.report.mismatch
    plain = one(given, some("views", 5))
    assert (plain.report.message, plain.report.mismatch) == ("5 pieces of evidence, 12 are needed", False)


def test_unrefined_depth_is_as_sure_as_the_network(given):
    found = one(given, some("views", 5), network=0.1)
    nothing = distances((H, W), Evidence.none(), np.zeros(0, np.float32))
    expected = given.depth * deviation(np.log(given.depth), nothing, 0.0, 0.0, 0.0, 0.1)
    np.testing.assert_allclose(found.stddev, expected, rtol=1e-5)
    np.testing.assert_array_equal(found.depth, given.depth)


@pytest.mark.parametrize("source", ["views", "matches", "measured"])
@pytest.mark.parametrize(("before", "after"), [(0.1, 0.03), (0.1, 1e-4), (np.nan, np.nan)])
def test_how_sure_refined_depth_is(source, before, after):
    """By what was held back, in standard deviations; else by the network and by what evidence says of itself."""
    rng = np.random.default_rng(0)
    evidence = replace(some(source, 60, common=0.04), sigma=rng.uniform(0.01, 0.03, 60).astype(np.float32))
    log_depth = rng.random((H, W)).astype(np.float32)
    distance = distances((H, W), evidence, np.ones(60, np.float32))
    own = np.median(evidence.sigma)
    first = 1.4826 * before if np.isfinite(before) else 0.22
    second = 1.4826 * after if np.isfinite(after) else own
    if source == "measured":
        first, second = min(first, second / grown(spacing(evidence) / 2)), own / 0.7
    expected = deviation(log_depth, distance, first, max(second, own), 0.04, 0.22)
    found = module._spread(
        Fused(log_depth, np.ones(60, np.float32)), distance, evidence, Verdict("", before, after), 0.22
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_deviation_by_its_formula():
    log_depth = np.zeros((3, 40), np.float32)
    log_depth[:, 30:] = 1.0
    distance = np.tile(np.arange(40, dtype=np.float32) * 5, (3, 1))
    found = deviation(log_depth, distance, 0.1, 0.02, 0.05, 0.22)
    near, far = np.exp(-distance / 45), 1 - np.exp(-((distance / 100) ** 2))
    squared = near * (0.7 * 0.02) ** 2 + (1 - near) * 0.1**2 + far * 0.22**2 + (1 - far) * (0.6 * 0.05) ** 2
    squared[:, 29:31] += 0.3**2  # either side of the jump
    np.testing.assert_allclose(found, np.sqrt(squared), rtol=1e-4)
    assert grown(45.0) == pytest.approx(np.sqrt(1 - np.exp(-1)))
    assert grown(0.0) == 0.0


def test_only_trusted_evidence_is_near():
    evidence = Evidence.of(np.array([5, 5]), np.array([10, 30]), np.ones(2), np.ones(2), "views")
    found = distances((12, 40), evidence, np.array([0.51, 0.5], np.float32))
    assert np.abs(found[5] - np.abs(np.arange(40) - 10)).max() < 1.5
    assert (distances((12, 40), evidence, np.zeros(2, np.float32)) == 1000).all()


def corners(count):
    rng = np.random.default_rng(1)
    pixels = rng.uniform(10, 250, (count, 2))
    return SparseDepth(pixels, np.full(count, 2.0), np.full(count, 0.02))


def gathered(subjects, source="auto"):
    logs = [module._logarithm(each.depth) for each in subjects]
    greys = [each.image[..., 0].astype(np.float32) for each in subjects]
    return module._gather(subjects, logs, greys, RefinementConfig(source), module.on_the_cpu)


@pytest.mark.parametrize(("count", "source", "is_asked"), [
    (246, "auto", True), (247, "auto", False), (247, "all", True), (0, "views", False), (0, "measured", False),
])  # fmt: skip
def test_corners_count_where_fewer_than_two_of_a_hundred_pixels_are_told(given, count, source, is_asked):
    """12348 pixels, of which 246.96 are two of a hundred."""
    told = replace(measured(given, count) if count else given, matches=corners(30))
    evidence, _, _ = gathered([told], source)
    assert evidence[0].is_of("matches").any() == is_asked


def test_a_witness_s_sensor_is_not_asked(given):
    told = [measured(given), replace(measured(given), wanted=False)]
    evidence, hints, messages = gathered(told)
    assert [len(each) for each in evidence] == [300, 0]
    assert [len(each) for each in hints] == [0, 0]
    assert messages == ["", ""]


def test_views_are_compared_at_their_own_images_and_poses(monkeypatch):
    """The larger one as it is, in grey; and a view without a camera or a pose is no witness."""
    seen = []

    def ask(posed, config, sweeper):
        seen.append((posed, config, sweeper))
        return module_views.Seen([Evidence.none()] * len(posed), [Evidence.none()] * len(posed), "off", frozenset({1}))

    module_views = importlib.import_module("da3_ros.estimation.refinement.views")
    monkeypatch.setattr(module, "evidence_of_views", ask)
    places = pose(0, 0, 0), pose(0.2, 0, 0)
    views = [subject([SLANTED], at, BEND, sigma=(0.01, 0.02), body=k + 3) for k, at in enumerate(places)]
    views[0] = replace(views[0], wanted=False)
    views += [replace(views[1], camera=None), replace(views[1], pose=None)]
    _, _, messages = gathered(views)
    assert messages == ["", "off", "", ""]
    ((posed, config, sweeper),) = seen
    assert (config, sweeper) == (CONFIG, module.on_the_cpu)
    assert [each is None for each in posed] == [False, False, True, True]
    for each, own in zip(posed[:2], views[:2], strict=True):
        assert (each.sigma, each.body, each.wanted) == (own.sigma, own.body, own.wanted)
        np.testing.assert_array_equal(each.large, own.large[..., 0])
        np.testing.assert_array_equal(each.frame.grey, own.image[..., 0])
        np.testing.assert_array_equal(each.frame.pose, own.pose)
        np.testing.assert_allclose(each.frame.log_depth, np.log(own.depth))
        assert each.frame.camera is own.camera
    gathered(views[1:])
    assert len(seen) == 1  # one view alone has no witness
    gathered(views[:2], "measured")
    assert len(seen) == 1


def test_corners_are_left_out_where_any_pose_is_wrong(monkeypatch):
    views = importlib.import_module("da3_ros.estimation.refinement.views")
    told = [replace(subject([SLANTED], at, BEND), matches=corners(30)) for at in (pose(0, 0, 0), pose(0.2, 0, 0))]
    for message, count in (("off", 0), ("", 30)):
        answer = views.Seen([Evidence.none()] * 2, [Evidence.none()] * 2, message, frozenset({0} if message else ()))
        monkeypatch.setattr(module, "evidence_of_views", lambda *_, answer=answer: answer)
        assert [len(each) for each in gathered(told)[0]] == [count] * 2


def test_grey_is_that_of_red_green_and_blue(given, monkeypatch):
    """0.299 R + 0.587 G + 0.114 B."""
    seen = []
    red = np.zeros((H, W, 3), np.uint8)
    red[..., 0] = 200
    gather = module._gather
    monkeypatch.setattr(module, "_gather", lambda *given: seen.extend(given[2]) or gather(*given))
    refine([replace(given, image=red)], CONFIG)
    np.testing.assert_allclose(seen[0], 0.299 * 200, atol=0.6)

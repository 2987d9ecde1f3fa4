# SPDX-License-Identifier: Apache-2.0
"""The fusion beside the same sums written down pixel by pixel and solved directly, on a small image."""

import cv2
import numpy as np
import pytest

from da3_ros.estimation.refinement import fusion
from da3_ros.estimation.refinement.evidence import SOURCES, Evidence
from da3_ros.estimation.refinement.fusion import fuse, links, spacing

H, W = 14, 18
EXACT = 1e-7


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """All rounds are solved to the end."""
    monkeypatch.setattr(fusion, "WHILE_ROBUST", EXACT)
    monkeypatch.setattr(fusion, "WHILE_SLOPED", EXACT)


def image(seed):
    """Log depth and grey levels with an edge each."""
    rng = np.random.default_rng(seed)
    log_depth = (1 + 0.03 * rng.random((H, W))).astype(np.float32)
    log_depth[:, 11:] += 0.3
    grey = (100 + 4 * rng.random((H, W))).astype(np.float32)
    grey[9:] += 30
    return log_depth, grey


def pieces(seed, count, source, log_depth):
    """Some at the same pixel, a few far off, one of them surer than the rest by far."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, H, count), rng.integers(0, W, count)
    told = log_depth[rows, columns] + 0.05 + 0.01 * rng.normal(size=count)
    told[::7] += 0.4
    sigma = rng.uniform(0.004, 0.05, count)
    sigma[0] = 1e-6
    return Evidence.of(rows, columns, told, sigma, source)


def by_hand(start, low, grey, evidence, hints, rounds, reach=(3.0, 32.0)):
    """Log depth (h, w) and trust (N,); low: what `start` has more than the network's; reach: of evidence, in spacings
    and in pixels.
    """
    index = np.arange(H * W).reshape(H, W)
    pairs = [(index[r, c], index[r, c + 1]) for r in range(H) for c in range(W - 1)]
    pairs += [(index[r, c], index[r + 1, c]) for r in range(H - 1) for c in range(W)]
    depth, level = start.ravel().astype(float), grey.ravel().astype(float)
    link = [np.exp(-abs(depth[p] - depth[q]) / 0.02 - abs(level[p] - level[q]) / 4) + 1e-3 for p, q in pairs]
    sensor = evidence.source == SOURCES.index("measured")
    full = np.minimum((np.where(sensor, 0.06, 0.025) / np.maximum(evidence.sigma, 1e-4)) ** 2, 30)
    tolerance = np.where(sensor, 25.0, 6.0)
    at = index[evidence.rows, evidence.columns]
    residual = evidence.log_depth - depth[at]
    pull = pull_of(evidence, reach)
    trust, correction = np.ones(len(evidence)), None
    hinted = []
    for k in range(rounds):
        matrix, right = np.diag(pull), -pull * low.ravel()
        for (p, q), g in zip(pairs, link, strict=True):
            matrix[[p, q], [p, q]] += g
            matrix[[p, q], [q, p]] -= g
        for a, w, r in [*zip(at, full * trust, residual, strict=True), *hinted]:
            matrix[a, a] += w
            right[a] += w * r
        if sensor.all() and correction is not None:
            for axis, (h, w) in ((1, (H, W - 1)), (0, (H - 1, W))):
                own = (np.array(link[: H * (W - 1)]) if axis else np.array(link[H * (W - 1) :])).reshape(h, w)
                slope = np.diff(correction.reshape(H, W), axis=axis)
                width = max(15.0, 0.5 * spacing(evidence))
                blur = [cv2.GaussianBlur(part, (0, 0), width) for part in (slope * own, own)]
                wanted = 1.5 * own * blur[0] / (blur[1] + 1e-6)
                ends = (index[:, :-1], index[:, 1:]) if axis else (index[:-1], index[1:])
                np.subtract.at(right, ends[0], wanted)
                np.add.at(right, ends[1], wanted)
        correction = np.linalg.solve(matrix, right)
        error = residual - correction[at]
        spread = np.maximum(max(1.4826 * np.median(np.abs(error)), 0.005), evidence.sigma)
        trust = 1 / (1 + (error / (tolerance * spread)) ** 2) ** 2
        hinted = []
        for r, c, told, sigma in zip(hints.rows, hints.columns, hints.log_depth, hints.sigma, strict=True):
            own = told - start[r, c]
            off = own - correction[index[r, c]]
            if abs(off) < 0.14 and k < rounds - 1:
                weight = min((0.025 / max(sigma, 1e-4)) ** 2, 30) / (1 + (off / 0.07) ** 2) ** 2
                hinted.append((index[r, c], weight, own))
    return (depth + correction).reshape(H, W), trust


def pull_of(evidence, reach):
    """Weight (h w,) that draws a pixel to the network: next to none in reach."""
    free = np.ones((H, W), np.uint8)
    free[evidence.rows, evidence.columns] = 0
    away = cv2.distanceTransform(free, cv2.DIST_L2, 3)
    return np.where(away > max(reach[0] * spacing(evidence), reach[1]), 1 / 45.0**2, 1e-5).ravel().astype(float)


def without_trend(monkeypatch):
    monkeypatch.setattr(fusion, "trend", lambda log_depth, evidence: np.zeros_like(log_depth))
    monkeypatch.setattr(fusion, "detail", lambda log_depth, evidence: 1.0)


@pytest.mark.parametrize("source", ["views", "measured", "matches"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_it_is_what_the_sums_say(monkeypatch, source, rounds):
    without_trend(monkeypatch)
    log_depth, grey = image(1)
    told, none = pieces(2, 40, source, log_depth), Evidence.none()
    done = 3 if source == "measured" and rounds > 1 else rounds  # planes take one more
    expected, trust = by_hand(log_depth, np.zeros((H, W)), grey, told, none, done)
    found = fuse(log_depth, grey, told, rounds=rounds, accuracy=EXACT)
    np.testing.assert_allclose(found.log_depth, expected, atol=2e-4)
    np.testing.assert_allclose(found.trust, trust, atol=2e-3)
    assert trust.min() < 0.95 < trust.max()


def test_two_kinds_of_evidence_are_each_taken_for_what_they_are(monkeypatch):
    without_trend(monkeypatch)
    log_depth, grey = image(3)
    both = Evidence.joined([pieces(4, 25, "views", log_depth), pieces(5, 25, "measured", log_depth)])
    expected, trust = by_hand(log_depth, np.zeros((H, W)), grey, both, Evidence.none(), 2)
    found = fuse(log_depth, grey, both, accuracy=EXACT)
    np.testing.assert_allclose(found.log_depth, expected, atol=2e-4)
    np.testing.assert_allclose(found.trust, trust, atol=2e-3)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_hints_count_from_the_second_round_on_where_they_agree(monkeypatch, rounds):
    without_trend(monkeypatch)
    log_depth, grey = image(6)
    told, hints = pieces(7, 30, "views", log_depth), pieces(8, 60, "views", log_depth)
    expected, _ = by_hand(log_depth, np.zeros((H, W)), grey, told, hints, rounds)
    found = fuse(log_depth, grey, told, hints, rounds=rounds, accuracy=EXACT)
    np.testing.assert_allclose(found.log_depth, expected, atol=2e-4)
    without = fuse(log_depth, grey, told, rounds=rounds, accuracy=EXACT).log_depth
    assert (np.abs(found.log_depth - without).max() > 0.002) == (rounds > 1)


def test_it_starts_from_the_low_order_part_and_is_drawn_to_the_network(monkeypatch):
    """Half of the shapes, and a tilt: both are parts of what is corrected, and far from evidence taken back."""
    log_depth, grey = image(9)
    tilt = np.broadcast_to(np.linspace(-0.1, 0.2, W, dtype=np.float32), (H, W))
    seen = []
    monkeypatch.setattr(fusion, "trend", lambda given, evidence: seen.append(given) or tilt)
    monkeypatch.setattr(fusion, "detail", lambda given, evidence: 0.5)
    monkeypatch.setattr(fusion, "IN_REACH", (0.1, 4.0))
    told = pieces(10, 60, "views", log_depth)
    told = told.part((told.rows < 6) & (told.columns < 8))
    half = log_depth - 0.5 * (log_depth - np.median(log_depth))
    low = half + tilt - log_depth
    expected, _ = by_hand(log_depth + low, low, grey, told, Evidence.none(), 2, (0.1, 4.0))
    found = fuse(log_depth, grey, told, accuracy=EXACT)
    np.testing.assert_allclose(seen[0], half, atol=1e-6)
    np.testing.assert_allclose(found.log_depth, expected, atol=1e-3)


def test_links_by_their_formula():
    log_depth, grey = image(11)
    across, down = links(log_depth, grey)
    for found, axis in ((across, 1), (down, 0)):
        jump = np.abs(np.diff(log_depth, axis=axis)) / 0.02 + np.abs(np.diff(grey, axis=axis)) / 4
        np.testing.assert_allclose(found, np.exp(-jump) + 1e-3, rtol=1e-4)


def test_spacing_by_its_formula():
    """The square root of the part of the image that holds nine tenths of each direction, by the pieces."""
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(10, 60, 80), rng.integers(5, 90, 80)
    ends = [np.percentile(place, 95) - np.percentile(place, 5) + 1 for place in (rows, columns)]
    told = Evidence.of(rows, columns, np.ones(80), np.ones(80), "views")
    assert spacing(told) == pytest.approx(np.sqrt(ends[0] * ends[1] / 80))


def test_evidence_is_in_reach_for_three_spacings_or_32_pixels():
    """Beyond, the network's own depth comes back over some 45 pixels."""
    rows, columns = (part.ravel() for part in np.indices((10, 20)))
    dense = Evidence.of(rows, columns, np.full(200, 1.1), np.full(200, 0.01), "views")
    found = fusion._pull((10, 200), dense)
    np.testing.assert_allclose(found[:, :50], 1e-5, rtol=1e-5)
    np.testing.assert_allclose(found[:, 54:], 1 / 45.0**2, rtol=1e-5)
    sparse = Evidence.of(20 * rows, 20 * columns, dense.log_depth, dense.sigma, "views")
    found = fusion._pull((200, 600), sparse)
    reach = 380 + 3 * spacing(sparse)
    assert 430 < reach < 450
    np.testing.assert_allclose(found[:180, : int(reach) - 3], 1e-5, rtol=1e-5)
    np.testing.assert_allclose(found[:180, int(reach) + 4 :], 1 / 45.0**2, rtol=1e-5)


def test_slopes_need_a_window_as_wide_as_half_the_spacing(monkeypatch):
    widths = []
    towards = fusion._towards_slopes
    monkeypatch.setattr(fusion, "_towards_slopes", lambda *given: widths.append(given[3]) or towards(*given))
    log_depth, grey = np.ones((120, 400), np.float32), np.full((120, 400), 99, np.float32)
    for count in (4000, 9):
        rng = np.random.default_rng(0)
        told = Evidence.of(rng.integers(0, 120, count), rng.integers(0, 400, count), np.full(count, 1.1),
                           np.full(count, 0.01), "measured")  # fmt: skip
        fuse(log_depth, grey, told, accuracy=0.1)
        assert widths[-1] == pytest.approx(max(15.0, 0.5 * spacing(told)))
    assert widths[0] == 15.0 < widths[-1]

# SPDX-License-Identifier: Apache-2.0
"""What evidence does to the network's surface: beside it, between it, across edges, and far away."""

import numpy as np
import pytest

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.fusion import FADE, IN_REACH, fuse, links, spacing

H, W = 98, 126
GREY = np.full((H, W), 128, np.float32)
FLAT = np.full((H, W), 1.0, np.float32)


def evidence(rows, columns, log_depth, sigma=0.01, source="views"):
    return Evidence.of(rows, columns, np.asarray(log_depth), np.broadcast_to(sigma, len(rows)), source)


def dense(log_depth, sigma=0.005):
    rows, columns = (part.ravel() for part in np.indices(log_depth.shape))
    return evidence(rows, columns, log_depth.ravel(), sigma)


def every(step, log_depth, within=np.s_[:, :], **more):
    """Evidence of each `step`-th pixel of a part of the image."""
    chosen = np.zeros((H, W), bool)
    chosen[step // 2 :: step, step // 2 :: step] = True
    part = np.zeros((H, W), bool)
    part[within] = True
    rows, columns = np.nonzero(chosen & part)
    return evidence(rows, columns, np.broadcast_to(log_depth, (H, W))[rows, columns], **more)


def test_dense_evidence_is_followed_pixel_by_pixel():
    """Whatever its shape: waves of 12 pixels hardly lose height, and what changes from pixel to pixel keeps most."""
    x, y = np.arange(W), np.arange(H)
    wave = 0.1 * np.sin(2 * np.pi * x / 12)[None] * np.cos(2 * np.pi * y / 12)[:, None]
    found = fuse(FLAT, GREY, dense(1.2 + wave))
    assert np.abs(found.log_depth - (1.2 + wave)).max() < 0.006
    grain = np.random.default_rng(0).normal(0, 0.02, (H, W))
    left = fuse(FLAT, GREY, dense(1.2 + grain)).log_depth - (1.2 + grain)
    assert left.std() < 0.3 * grain.std()
    assert found.log_depth.dtype == np.float32
    assert found.trust.shape == (H * W,)


def test_sparse_evidence_bends_the_surface_smoothly():
    x = np.arange(W)
    truth = 1.1 + 0.1 * np.sin(2 * np.pi * x / W)[None] + np.zeros((H, 1))
    told = every(12, truth)
    found = fuse(FLAT, GREY, told).log_depth
    assert len(told) < 0.01 * H * W
    assert np.abs(found - truth)[12:-12, 12:-12].max() < 0.02
    for axis in (0, 1):  # from the network's 1.0 to 1.2 and back nowhere in a jump
        assert np.abs(np.diff(found, axis=axis)).max() < 0.015


def edge(kind):
    """Image and network's depth whose halves are told apart by grey, by depth, or not at all."""
    depth, grey = FLAT.copy(), GREY.copy()
    if kind == "depth":
        depth[:, W // 2 :] += 0.5
    if kind == "grey":
        grey[:, W // 2 :] += 60
    return depth, grey


def test_between_another_sensors_points_lie_planes():
    """What it tells of a funnel is right between its points, too: not drawn towards what is around, as a sheet is."""
    x, y = np.arange(W) - W / 2, np.arange(H) - H / 2
    funnel = 0.8 * np.hypot(x[None], y[:, None]) / W
    inner = np.s_[10:-10, 10:-10]
    off = {
        source: np.abs(fuse(FLAT, GREY, every(14, 1 + funnel, source=source)).log_depth - 1 - funnel)[inner]
        for source in ("measured", "views")
    }
    assert off["measured"].mean() < 0.008
    assert off["measured"].mean() < 0.4 * off["views"].mean()
    assert np.percentile(off["measured"], 90) < 0.015


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["depth", "grey", "none"])
def test_it_does_not_bend_across_an_edge(kind, turned):
    depth, grey = edge(kind)
    shift = np.where(np.arange(W) < W // 2, 0.15, -0.15)[None] + np.zeros((H, 1))
    told = every(14, depth + shift)
    if turned:
        depth, grey = depth.T.copy(), grey.T.copy()
        told = evidence(told.columns, told.rows, told.log_depth)
    change = fuse(depth, grey, told).log_depth - depth
    change = change.T if turned else change
    row = change[20:-20].mean(axis=0)
    step = row[W // 2 - 1] - row[W // 2]
    if kind == "none":
        assert step < 0.05  # the change is spread between the pieces
    else:
        assert step > 0.2
        assert row[W // 2 - 1] > 0.08
        assert row[W // 2] < -0.08


def test_where_nothing_is_known_depth_stays_the_networks():
    """Evidence in a corner: beside it depth follows, far away it stays."""
    h, w = 196, 252
    network = (1 + 0.2 * np.sin(np.arange(w) / 30)[None] + np.zeros((h, 1))).astype(np.float32)
    grey = np.full((h, w), 128, np.float32)
    rows, columns = (part.ravel() for part in np.indices((20, 20)))
    found = fuse(network, grey, evidence(rows, columns, network[rows, columns] + 0.3)).log_depth - network
    assert np.abs(found[:20, :20] - 0.3).max() < 0.02
    away = np.hypot(*np.maximum(np.indices((h, w)) - 19, 0))
    assert found[away < 10].min() > 0.5 * 0.3  # in reach it goes on
    beyond = away - IN_REACH[1]
    assert np.abs(found[beyond > FADE]).max() < 0.4 * 0.3
    assert np.abs(found[beyond > 2 * FADE]).max() < 0.15 * 0.3
    assert np.abs(found[beyond > 5 * FADE]).max() < 0.01 * 0.3


def test_outliers_lose_their_say():
    wave = 0.1 * np.sin(2 * np.pi * np.arange(W) / 40)[None]
    told = every(4, FLAT + 0.2 + wave)
    rng = np.random.default_rng(0)
    off = rng.random(len(told)) < 0.15
    clean = fuse(FLAT, GREY, told).log_depth
    spoilt = evidence(told.rows, told.columns, told.log_depth + off * rng.choice([-0.7, 0.7], len(told)))
    found = fuse(FLAT, GREY, spoilt)
    assert found.trust[off].max() < 0.1
    assert np.percentile(found.trust[~off], 5) > 0.7
    assert np.abs(found.log_depth - clean).mean() < 0.02
    assert np.median(np.abs(found.log_depth - clean)) < 0.01
    # One round alone knows none, a third forgets them altogether.
    assert np.abs(fuse(FLAT, GREY, spoilt, rounds=1).log_depth - clean).mean() > 0.04
    assert np.abs(fuse(FLAT, GREY, spoilt, rounds=3).log_depth - clean).mean() < 0.004


def test_another_sensor_may_stand_against_its_surroundings():
    """A pole that the network does not see: a LiDAR's points on it are believed, pixels matched by chance are not."""
    pole = FLAT + 0.2
    pole[40:60, 50:56] = 0.9
    told = every(3, pole)
    on_it = told.log_depth < 1
    assert on_it.sum() > 8
    measured = fuse(FLAT, GREY, evidence(told.rows, told.columns, told.log_depth, source="measured"))
    seen = fuse(FLAT, GREY, told)
    assert measured.trust[on_it].min() > 0.95
    assert seen.trust[on_it].mean() < 0.5
    at = told.rows[on_it], told.columns[on_it]
    assert np.abs(measured.log_depth[at] - 0.9).mean() < np.abs(seen.log_depth[at] - 0.9).mean()


def test_shapes_of_the_network_that_nobody_sees_go_between_the_pieces_too():
    """A slope with bumps of 14 pixels on it, and evidence of the slope at every tenth pixel."""
    bumps = 0.1 * np.sin(2 * np.pi * np.arange(W) / 14)[None] * np.sin(2 * np.pi * np.arange(H) / 14)[:, None]
    slope = FLAT + (np.arange(W) / W)[None]
    found = fuse((slope + bumps).astype(np.float32), GREY, every(10, slope)).log_depth
    assert np.abs(found - slope).mean() < 0.4 * np.abs(bumps).mean()
    seen = fuse((slope + bumps).astype(np.float32), GREY, every(10, slope + bumps)).log_depth
    assert np.abs(seen - slope - bumps).mean() < 0.2 * np.abs(bumps).mean()  # and those that are seen stay


def test_hints_count_where_they_agree_with_the_evidence_around():
    """Right ones sharpen what lies between sparse evidence, wrong ones change nothing, alone they are nothing."""
    wave = 0.05 * np.sin(2 * np.pi * np.arange(W) / 25)[None] * np.ones((H, 1))
    sparse = every(12, 1 + wave)

    def error(hints):
        return np.abs(fuse(FLAT, GREY, sparse, hints).log_depth - 1 - wave)[12:-12, 12:-12].mean()

    without = error(None)
    assert error(dense(1 + wave)) < 0.3 * without
    assert error(dense(1 + wave + 0.3)) == pytest.approx(without, rel=1e-3)
    assert error(dense(1 + wave - 0.3)) == pytest.approx(without, rel=1e-3)
    assert error(Evidence.none()) == without


def test_sure_evidence_outweighs_what_is_not_sure():
    rows, columns = every(8, 0).rows, every(8, 0).columns
    wrong = np.arange(len(rows)) % 2 == 0
    told = 1 + 0.1 * wrong
    for sigma, wanted in ((np.where(wrong, 0.1, 0.01), 1.0), (np.where(wrong, 0.01, 0.1), 1.1)):
        assert np.median(fuse(FLAT, GREY, evidence(rows, columns, told, sigma)).log_depth) == pytest.approx(
            wanted, abs=0.02
        )


def test_evidence_that_the_network_is_right_changes_nothing():
    network = (1 + 0.3 * np.random.default_rng(0).random((H, W))).astype(np.float32)
    found = fuse(network, GREY, every(5, network))
    assert np.abs(found.log_depth - network).max() < 0.003
    assert found.trust.min() > 0.9


def test_several_pieces_of_one_pixel_count_together():
    """Two sources at one pixel are met in the middle, as sure as both are."""
    base = every(6, FLAT)
    pair = Evidence.joined([base, evidence(base.rows, base.columns, base.log_depth + 0.1)])
    assert np.median(fuse(FLAT, GREY, pair).log_depth) == pytest.approx(1.05, abs=0.005)


def test_links_are_weak_across_edges_only():
    depth, grey = FLAT.copy(), GREY.copy()
    depth[:, 40:] += 0.1
    grey[60:] += 20
    across, down = links(depth, grey)
    assert (across.shape, down.shape) == ((H, W - 1), (H - 1, W))
    assert across[:, 39].max() < 0.01
    assert down[59].max() < 0.01
    across[:, 39], down[59] = 1, 1
    assert min(across.min(), down.min()) >= 1
    assert links(FLAT, GREY)[0].max() < 1.01
    assert links(FLAT + 100 * np.eye(H, W, dtype=np.float32), GREY)[0].min() > 0  # none is cut altogether


@pytest.mark.parametrize("step", [3, 8, 14])
def test_spacing_is_the_distance_of_neighbours(step):
    assert spacing(every(step, 0)) == pytest.approx(step, rel=0.12)
    part = every(step, 0, np.s_[30:80, 30:100])  # also where they lie in a part only
    assert spacing(part) == pytest.approx(step, rel=0.35)

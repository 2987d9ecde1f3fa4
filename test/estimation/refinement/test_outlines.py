# SPDX-License-Identifier: Apache-2.0
"""Pixels beside outlines that nothing of their own tells the depth of, and edges along the rows."""

import numpy as np

from da3_ros.estimation.refinement.outlines import JUMP, beside_outline, changes_along_rows

H, W = 40, 60
BLANK = np.full((H, W), 100, np.float32)
KNOWN = np.ones((H, W), bool)


def steps(column, by):
    """Log depth (H, W) that grows at a column."""
    return np.where(np.arange(W) < column, 0.5, 0.5 + by) * np.ones((H, 1))


def test_the_near_side_of_a_jump_is_in_doubt_and_the_far_side_is_not():
    found = beside_outline(BLANK, steps(30, 2 * JUMP).astype(np.float32), KNOWN, 2)
    assert (found == ((np.arange(W) == 28) | (np.arange(W) == 29))).all()
    assert not beside_outline(BLANK, steps(30, 0.5 * JUMP).astype(np.float32), KNOWN, 2).any()


def test_so_is_what_lies_beside_a_hole():
    known = KNOWN.copy()
    known[:, 30] = False
    found = beside_outline(BLANK, steps(0, 0).astype(np.float32), known, 3)
    assert (found == (np.abs(np.arange(W) - 30) <= 3)).all()


def test_what_is_not_known_is_not_far():
    """Whatever stands there in place of depth."""
    log_depth, known = steps(30, 0).astype(np.float32), KNOWN.copy()
    log_depth[20, 30], known[20, 30] = 9.0, False
    assert beside_outline(BLANK, log_depth, known, 2).sum() == 25


def test_contrast_of_its_own_tells_whose_depth_it_is():
    grey = BLANK + np.random.default_rng(0).normal(0, 40, (H, W)).astype(np.float32)
    assert beside_outline(grey, steps(30, 1).astype(np.float32), KNOWN, 2).mean() < 0.002
    faint = BLANK + np.random.default_rng(0).normal(0, 4, (H, W)).astype(np.float32)
    assert beside_outline(faint, steps(30, 1).astype(np.float32), KNOWN, 2)[:, 28:30].all()


def test_edges_along_the_rows_tell_a_pair_nothing():
    lines = np.where(np.arange(H) % 8 < 4, 60, 180)[:, None] * np.ones(W)
    assert not changes_along_rows(lines.astype(np.float32)).any()
    posts = np.where(np.arange(W) % 8 < 4, 60, 180)[None] * np.ones((H, 1))
    assert changes_along_rows(posts.astype(np.float32))[:, 2:-2].all()

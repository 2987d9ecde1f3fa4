# SPDX-License-Identifier: Apache-2.0
"""Pieces of evidence: made, joined, chosen, thinned, counted."""

import numpy as np
import pytest

from da3_ros.estimation.refinement.evidence import SOURCES, Evidence


def pieces(count, source="views", common=0.0, start=0):
    at = np.arange(start, start + count)
    return Evidence.of(at, 2 * at, at / 10.0, at / 100.0 + 0.01, source, common)


def test_a_source_has_its_number():
    for number, source in enumerate(("views", "measured", "matches")):
        assert SOURCES[number] == source
        assert set(pieces(3, source).source) == {number}
    assert pieces(3).log_depth.dtype == pieces(3).sigma.dtype == np.float32
    with pytest.raises(ValueError, match="evidence source 'radar' is unknown; allowed: views, measured, matches"):
        pieces(3, "radar")


def test_joined_evidence_is_all_of_it_in_order():
    joined = Evidence.joined([pieces(3, "measured", 0.02), Evidence.none(), pieces(2, "views", 0.05, start=7)])
    assert len(joined) == 5
    np.testing.assert_array_equal(joined.rows, [0, 1, 2, 7, 8])
    np.testing.assert_array_equal(joined.columns, [0, 2, 4, 14, 16])
    np.testing.assert_allclose(joined.log_depth, [0, 0.1, 0.2, 0.7, 0.8], rtol=1e-6)
    np.testing.assert_allclose(joined.sigma, [0.01, 0.02, 0.03, 0.08, 0.09], rtol=1e-6)
    assert joined.counts() == {"views": 2, "measured": 3}


def test_sources_share_no_error_beyond_the_least_of_them():
    assert Evidence.joined([pieces(3, common=0.02), pieces(3, "measured", 0.05)]).common == 0.02
    assert Evidence.joined([pieces(3, common=0.02), Evidence.none()]).common == 0.02  # nothing has nothing to say


def test_nothing_joined_is_nothing():
    for empty in (Evidence.joined([]), Evidence.joined([Evidence.none()]), Evidence.none()):
        assert len(empty) == 0
        assert empty.counts() == {}
        assert empty.common == 0


def test_a_part_keeps_what_belongs_together():
    whole = Evidence.joined([pieces(4, "views", 0.03), pieces(4, "matches", 0.04, start=5)])
    chosen = np.array([0, 1, 0, 0, 1, 0, 0, 1], bool)
    part = whole.part(chosen)
    for name in ("rows", "columns", "log_depth", "sigma", "source"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[chosen])
    assert part.common == whole.common == 0.03
    assert part.counts() == {"views": 1, "matches": 2}


def test_thinned_pieces_lie_on_the_smaller_map():
    thin = pieces(5).thinned(2)
    np.testing.assert_array_equal(thin.rows, [0, 0, 1, 1, 2])
    np.testing.assert_array_equal(thin.columns, [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(thin.log_depth, pieces(5).log_depth)

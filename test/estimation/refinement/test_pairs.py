# SPDX-License-Identifier: Apache-2.0
"""Which views are worth comparing, by their formula."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, pose, posed

from da3_ros.estimation.refinement import pairs as module
from da3_ros.estimation.refinement.frame import Projection
from da3_ros.estimation.refinement.pairs import worthwhile


def views(*places, **changes):
    return [replace(posed([SLANTED], at), **changes) for at in places]


def worth_by_hand(a, b):
    """Share that b sees, of the pixels in every eighth row and column, times its parallax of 40 pixels or less."""
    if np.linalg.norm(a.frame.pose[:3, 3] - b.frame.pose[:3, 3]) < 2 * max(a.sigma[1], b.sigma[1]):
        return 0.0
    depth = np.exp(a.frame.log_depth[::8, ::8])
    view = Projection.between(a.frame, b.frame, every=8)
    here, there = view(depth), view(depth * np.float32(1.1))
    seen = view.inside(*here) & view.inside(*there)
    if seen.mean() < 0.05:
        return 0.0
    moved = np.median(np.hypot(here[0] - there[0], here[1] - there[1])[seen]) / np.log(1.1)
    return seen.mean() * min(moved / 40, 1.0) if moved > 4 else 0.0


@pytest.mark.parametrize("place", [
    pose(0.2, 0, 0), pose(1.2, 0, 0), pose(0.0, -0.3, 0.1), pose(0.09, 0, 0), pose(0.07, 0, 0), pose(3.0, 0, 0),
    pose(0.3, 0, 0, turn=(0, 35, 0)),
])  # fmt: skip
def test_what_a_view_can_tell_of_another(place):
    a, b = views(pose(0, 0, 0), place)
    for one, other in ((a, b), (b, a)):
        assert module._worth(one, other) == pytest.approx(worth_by_hand(one, other), rel=1e-3)


@pytest.mark.parametrize(("sigma", "is_known"), [(0.099, True), (0.101, False)])
def test_views_as_near_as_their_places_are_unsure_tell_nothing(sigma, is_known):
    a, b = views(pose(0, 0, 0), pose(0.2, 0, 0))
    for one, other in ((replace(a, sigma=(0, sigma)), b), (a, replace(b, sigma=(0, sigma)))):
        assert (module._worth(one, other) > 0) is is_known


@pytest.mark.parametrize(("count", "partners"), [(2, 4), (5, 4), (6, 2), (9, 2)])
def test_each_is_compared_with_those_that_are_worth_most(count, partners):
    """By the worse of both directions; four of up to five views, two of more."""
    rng = np.random.default_rng(count)
    given = views(*(pose(*rng.uniform(-0.3, 0.3, 2), 0) for _ in range(count)))
    chosen = set()
    for i in range(count):
        values = {
            j: min(worth_by_hand(given[i], given[j]), worth_by_hand(given[j], given[i])) for j in range(count) if j != i
        }
        best = [j for j in sorted(values, key=values.__getitem__)[::-1][:partners] if values[j] > 0]
        chosen |= {(i, j) for j in best} | {(j, i) for j in best}
    assert worthwhile(given) == sorted(chosen)
    assert count < 6 or len(chosen) < count * (count - 1)


def test_witnesses_are_compared_with_those_that_are_asked_for_alone():
    given = views(pose(0, 0, 0), pose(0.2, 0, 0), pose(0.1, 0.2, 0), wanted=False)
    given[0] = replace(given[0], wanted=True)
    assert worthwhile(given) == [(0, 1), (0, 2), (1, 0), (2, 0)]
    assert worthwhile(views(pose(0, 0, 0), pose(0.2, 0, 0), wanted=False)) == []
    assert worthwhile(given[:1]) == []

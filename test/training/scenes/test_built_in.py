# SPDX-License-Identifier: Apache-2.0
"""Furniture along whole walls, with procedural assets only: nothing is rendered."""

import numpy as np
import pytest

from da3_training.scenes import built_in, room

SEEDS = range(12)


def draw(assets, seed):
    return room.make_scene(*assets, np.random.default_rng(seed), "fitted")


def longest_at_a_wall(scene):
    """Length [m] of the longest solid that touches a wall, and its height."""
    lo, hi = scene.solids[:, 0], scene.solids[:, 1]
    touching = (np.abs(lo[:, :2]) < 1e-3).any(1) | (np.abs(hi[:, :2] - scene.hi[:2]) < 1e-3).any(1)
    sides = (hi - lo)[touching]
    longest = sides[:, :2].max(1).argmax()
    return float(sides[longest, :2].max()), float(sides[longest, 2])


def test_rows_stand_along_the_walls_of_fitted_rooms(procedural):
    rows = [longest_at_a_wall(draw(procedural, seed)) for seed in SEEDS]
    assert all(length >= built_in.LEAST for length, _ in rows)
    assert all(0.3 < height <= 2.5 for _, height in rows)
    assert np.median([length for length, _ in rows]) > 2


@pytest.mark.parametrize("style", list(built_in._STYLES))
def test_every_style_leaves_room_for_cameras_and_something_to_look_at(procedural, style, monkeypatch):
    monkeypatch.setattr(built_in, "_STYLES", {style: (built_in._STYLES[style][0], 1.0)})
    for seed in SEEDS:
        scene = draw(procedural, seed)
        positions = scene.mesh.vertices["position"]
        large = scene.solids[(scene.solids[:, 1] - scene.solids[:, 0]).max(1) > 0.6]  # not a cup that touches tiles
        assert (large[:, 0] >= scene.lo - 1e-3).all()
        assert (large[:, 1] <= scene.hi + 1e-3).all()
        assert np.isfinite(positions).all()
        grid = np.random.default_rng(0).uniform(scene.lo + 0.2, scene.hi - 0.2, (400, 3))
        free = ~((scene.solids[:, 0] < grid[:, None]) & (scene.solids[:, 1] > grid[:, None])).all(-1).any(-1)
        assert free.mean() > 0.3
        assert len(scene.focus) > 2


@pytest.mark.parametrize("style", list(built_in._STYLES))
def test_rows_of_neighbouring_walls_do_not_meet_in_the_corner(procedural, style, monkeypatch):
    monkeypatch.setattr(built_in, "_STYLES", {style: (built_in._STYLES[style][0], 1.0)})
    monkeypatch.setattr(room, "furnish", lambda *_: None)
    corners = 0
    for seed in range(60):
        scene = draw(procedural, seed)
        rows = [s for s in scene.solids if (s[1] - s[0])[:2].max() >= built_in.LEAST - 0.5]
        for i, one in enumerate(rows):
            for other in rows[:i]:
                shared = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0])
                assert shared.min() < 1e-3, f"seed {seed}"
                corners += bool((shared > -0.3).all())
    assert corners, "there are rooms with neighbouring rows"


def test_what_nobody_asks_for_is_not_drawn(procedural):
    """The scenes of a seed stay what they were before there were fitted rooms."""
    before = {name: kind.share for name, kind in room.KINDS.items() if name != "fitted"}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        kind = str(rng.choice(list(before), p=np.array(list(before.values())) / sum(before.values())))
        other = np.random.default_rng(seed)
        drawn = room.draw_kind(other)
        assert (drawn, other.bit_generator.state) == (kind, rng.bit_generator.state)

# SPDX-License-Identifier: Apache-2.0
"""Where a camera can be in a room with cabinets, and where it cannot."""

from needs import needs

needs("collada")

import numpy as np
import pytest

from da3_training.scenes.worlds.space import STEP
from da3_training.scenes.worlds.world import World


@pytest.fixture
def world(world_file, models):
    return World(world_file, [models])


def inside(boxes, point):
    return bool(((boxes[:, 0] <= point) & (boxes[:, 1] > point)).all(1).any())


def test_cabinets_are_full_and_the_room_is_not(world):
    boxes = world.space.boxes(world.space.lo, np.array([4.2, 5.2, 2.4]))
    for point, solid in (
        ((0.6, 0.4, 0.5), True),  # within a cabinet
        ((0.6, 0.4, 1.6), False),  # over it
        ((3.2, 4.0, 0.3), True),  # within the turned one
        ((3.2, 4.35, 0.5), True),  # which is longer along y
        ((2.0, 2.5, 1.0), False),
        ((2.0, -0.05, 1.0), True),  # within a wall
        ((2.0, -1.0, 1.0), True),  # outside, where no floor is
    ):
        assert inside(boxes, np.array(point)) == solid, point


def test_places_have_a_floor_and_room_for_a_head(world):
    places = world.places
    assert (places > 0).all()
    assert (places < [4, 5]).all()
    assert not (np.abs(places - [0.6, 0.4]) < [0.3, 0.15]).all(1).any()
    free = 4 * 5 - 3 * 0.8 * 0.5
    assert 0.85 * free < len(places) * STEP**2 < free

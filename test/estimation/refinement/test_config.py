# SPDX-License-Identifier: Apache-2.0
"""What can be told about the refinement, and what cannot."""

import pytest

from da3_ros.estimation.refinement import SOURCES, RefinementConfig


def test_every_source_is_one():
    assert [RefinementConfig(source).source for source in SOURCES] == ["auto", "all", "views", "measured", "none"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("source", "lidar", "refinement source 'lidar' is unknown; allowed: auto, all, views, measured, none"),
        ("size", 63, "refinement size must be 0 .the network's. or at least 64 pixels, got 63"),
        ("size", -1, "refinement size"),
        ("hypotheses", 7, "refinement hypotheses must lie between 8 and 256, got 7"),
        ("hypotheses", 257, "refinement hypotheses"),
        ("reach", 0.04, "refinement reach must lie between 0.05 and 2, got 0.04"),
        ("reach", 2.1, "refinement reach"),
        ("reach", float("nan"), "refinement reach"),
        ("held_back", 0.01, "refinement held_back must lie between 0.02 and 0.5, got 0.01"),
        ("held_back", 0.6, "refinement held_back"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name, value, words):
    with pytest.raises(ValueError, match=words):
        RefinementConfig(**{name: value})


@pytest.mark.parametrize(
    "values", [{"size": 64}, {"hypotheses": 8}, {"hypotheses": 256}, {"reach": 0.05}, {"reach": 2}, {"held_back": 0.5}]
)
def test_the_ends_of_what_is_allowed_are_allowed(values):
    RefinementConfig(**values)


def test_what_holds_where_nothing_is_said():
    """docs/parameters.md."""
    assert RefinementConfig() == RefinementConfig("auto", size=0, hypotheses=48, reach=0.5, held_back=0.15)

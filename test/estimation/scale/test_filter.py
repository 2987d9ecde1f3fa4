# SPDX-License-Identifier: Apache-2.0
"""The scale over time by its formulas, and what is said of one that is held or has jumped."""

import math

import pytest

from da3_ros.estimation import ScaleConfig, ScaleEstimate
from da3_ros.estimation.scale.filter import ScaleFilter

S = 1_000_000_000


def told(value, shift=0.0, source="rig"):
    return ScaleEstimate(source, value, shift, 0.01, 100, True)


def smoothed(seconds, tau=0.5, values=(2.0, 2.3), shifts=(0.1, 0.2)):
    found = ScaleFilter(ScaleConfig(smoothing=tau))
    found.accept(told(values[0], shifts[0]), 10 * S)
    return found.accept(told(values[1], shifts[1]), round((10 + seconds) * S))


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("tau", [0.25, 2.0])
def test_smoothing_is_exponential_in_the_logarithm(seconds, tau):
    share = 1 - math.exp(-seconds / tau)
    found = smoothed(seconds, tau)
    assert found.value == pytest.approx(2.0 ** (1 - share) * 2.3**share)
    assert found.shift == pytest.approx(0.1 + share * 0.1)
    assert (found.source, found.inliers, found.residual, found.message) == ("rig", 100, 0.01, "")


def test_without_smoothing_each_stands_for_itself():
    found = smoothed(0.1, 0.0)
    assert (found.value, found.shift) == (2.3, 0.2)


@pytest.mark.parametrize(("value", "shift", "is_held"), [
    (2.49, 0.0, False), (2.51, 0.0, True), (1.61, 0.0, False), (1.59, 0.0, True),
    (2.0, 0.49, False), (2.0, 0.51, True), (1.0, 1.0, False), (2.0, -5.0, False),
])  # fmt: skip
def test_a_jump_is_a_change_by_a_fourth_of_the_depth_of_one_unit(value, shift, is_held):
    found = ScaleFilter(ScaleConfig(smoothing=0))
    found.accept(told(2.0), 10 * S)
    out = found.accept(told(value, shift), round(10.1 * S))
    assert out.value == (2.0 if is_held else value)
    assert bool(out.message) is is_held
    if is_held:
        assert out.message == (
            f"held: this set says {value:.4g} metres a unit (rig), the ones before 2; 2 more like it and it is believed"
        )


def test_a_jump_that_is_confirmed_is_believed_and_said():
    found = ScaleFilter(ScaleConfig(smoothing=0, confirm=3))
    found.accept(told(2.0), 10 * S)
    said = [found.accept(told(value), round((10 + 0.1 * k) * S)) for k, value in enumerate((4.0, 4.5, 4.2), 1)]
    assert [each.message.split("; ")[-1] for each in said[:2]] == [
        "2 more like it and it is believed",
        "1 more like it and it is believed",
    ]
    assert said[2].message == "the scale jumped from 2 to 4.2 metres a unit"
    assert (said[2].value, said[2].source) == (4.2, "rig")
    assert found.last.message == ""
    again = found.accept(told(2.0), round(10.4 * S))
    assert again.message.startswith("held: this set says 2 metres a unit (rig), the ones before 4.2; 2 more")


def test_what_waits_for_confirmation_is_forgotten_with_a_set_that_says_something_else():
    found = ScaleFilter(ScaleConfig(smoothing=0, confirm=2))
    found.accept(told(2.0), 10 * S)
    for k, (value, believed) in enumerate([(4.0, 2.0), (8.0, 2.0), (4.0, 2.0), (2.0, 2.0), (4.0, 2.0), (4.0, 4.0)], 1):
        assert found.accept(told(value), round((10 + 0.1 * k) * S)).value == believed


@pytest.mark.parametrize(("options", "seconds", "is_anew"), [
    ({"hold": 2.0, "smoothing": 0.1}, 1.9, False), ({"hold": 2.0, "smoothing": 0.1}, 2.1, True),
    ({"hold": 0.0, "smoothing": 0.5}, 1.9, False), ({"hold": 0.0, "smoothing": 0.5}, 2.1, True),
    ({"hold": 2.0, "smoothing": 0.1, "period": 5.0}, 6.9, False),
    ({"hold": 2.0, "smoothing": 0.1, "period": 5.0}, 7.1, True),
    ({"hold": 2.0, "smoothing": 0.1}, -1.9, False), ({"hold": 2.0, "smoothing": 0.1}, -2.1, True),
])  # fmt: skip
def test_an_old_scale_holds_nothing_back(options, seconds, is_anew):
    """Older than `hold` and than four times the smoothing, from when the next estimate was due."""
    found = ScaleFilter(ScaleConfig(**options))
    found.accept(told(2.0), 100 * S)
    assert (found.accept(told(6.0), round((100 + seconds) * S)).value == 6.0) is is_anew


@pytest.mark.parametrize("period", [0.0, 3.0])
def test_a_scale_is_held_for_so_long(period):
    found = ScaleFilter(ScaleConfig(hold=2.0, period=period))
    assert found.held(100 * S, "dark") is None
    first = found.accept(told(2.5, 0.3), 100 * S)
    for seconds in (0.0, 1.0 + period, 2.0 + period, -1.0):
        out = found.held(round((100 + seconds) * S), "dark")
        assert (out.value, out.shift, out.metric, out.inliers) == (2.5, 0.3, True, 0)
        assert out.message == f"held for {abs(seconds):.1f} s: dark"
    assert found.held(round((102.01 + period) * S), "dark") is None
    assert found.held(101 * S, "").message == "held for 1.0 s: nothing was measured by rig"
    assert found.last is first


def test_what_needs_no_smoothing_is_held_unless_a_measured_one_is_meant():
    found = ScaleFilter(ScaleConfig(hold=2.0))
    served = found.serve(told(5.0, source="metric_model"), 100 * S)
    assert served == told(5.0, source="metric_model")
    assert found.last is None
    assert found.held(101 * S, "dark").value == 5.0
    assert found.held(101 * S, "dark", ("rig",)) is None
    found.accept(told(2.0), 101 * S)
    found.serve(told(5.0, source="metric_model"), 102 * S)
    assert found.held(round(102.5 * S), "dark", ("rig",)).value == 2.0
    assert found.held(round(102.5 * S), "dark", ("reference",)) is None
    assert found.held(round(103.5 * S), "dark").value == 5.0
    assert found.held(round(103.5 * S), "dark", ("rig",)) is None


def test_age_and_reset():
    found = ScaleFilter(ScaleConfig())
    assert found.age_s(5 * S) == math.inf
    found.accept(told(2.0), 5 * S)
    assert found.age_s(7 * S) == found.age_s(3 * S) == 2.0
    found.reset()
    assert found.age_s(5 * S) == math.inf
    assert found.held(5 * S, "dark") is None
    found.accept(told(2.0), 5 * S)
    found.accept(told(9.0), round(5.1 * S))
    found.accept(told(9.0), round(5.2 * S))
    found.reset()
    found.accept(told(2.0), round(5.3 * S))
    assert found.accept(told(9.0), round(5.4 * S)).message.endswith("2 more like it and it is believed")


def test_another_process_goes_on_where_this_one_was():
    found, other = ScaleFilter(ScaleConfig(smoothing=0)), ScaleFilter(ScaleConfig(smoothing=0))
    found.accept(told(2.0), 5 * S)
    found.accept(told(9.0), round(5.1 * S))
    memory = found.memory()
    found.accept(told(9.0), round(5.2 * S))
    other.recall(memory)
    assert other.age_s(6 * S) == 1.0
    assert other.held(6 * S, "dark").value == 2.0
    assert other.accept(told(9.0), round(5.2 * S)).message.endswith("1 more like it and it is believed")
    again = ScaleFilter(ScaleConfig(smoothing=0))
    again.recall(memory)
    assert again.accept(told(9.0), round(5.2 * S)).message.endswith("1 more like it and it is believed")

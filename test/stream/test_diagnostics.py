# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.estimation import Estimate, OdometryEstimate, RigDeviation, ScaleEstimate
from da3_ros.stream.diagnostics import ERROR, OK, WARN, Health
from da3_ros.sync import CameraCounts


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def logged():
    return []


@pytest.fixture
def health(clock, logged):
    return Health(["left", "right"], lambda level, text: logged.append((level, text)), keep_s=5, clock=clock)


def by_name(health, counts=None, note=""):
    return {status.name: status for status in health.statuses(counts or {}, note)}


def test_names():
    assert list(by_name(Health(["a", "b"], print))) == ["pipeline", "a", "b", "scale", "poses", "refinement", "timing"]


def test_an_issue_shows_at_its_camera_for_a_while(health, clock, logged):
    health.report("left", "image", "/left/image_raw: corrupt")
    clock.now += 1
    health.report("left", "image", "/left/image_raw: corrupt")
    statuses = by_name(health)
    assert (statuses["left"].level, statuses["left"].message) == (ERROR, "/left/image_raw: corrupt (2 times)")
    assert statuses["right"].level == OK
    assert logged == [(ERROR, "left: /left/image_raw: corrupt")]
    clock.now += 5.1
    assert by_name(health)["left"].level == OK
    assert by_name(health)["left"].values["last_error"] == "/left/image_raw: corrupt"


def test_the_worst_issue_comes_first(health, clock):
    health.report("left", "transform", "no transform", WARN)
    clock.now += 1
    health.report("left", "image", "corrupt", ERROR)
    health.report("left", "qos", "qos", WARN)
    status = by_name(health)["left"]
    assert (status.level, status.message) == (ERROR, "corrupt | qos | no transform")
    health.resolve("left", "image")
    assert by_name(health)["left"].level == WARN


def test_logging_is_throttled(health, clock, logged):
    for _ in range(300):
        health.report("", "engine", "failed")
        clock.now += 0.1
    assert len(logged) == 3
    assert logged[0] == (ERROR, "failed")


@pytest.mark.parametrize("is_resolved", [False, True])
def test_an_issue_that_comes_and_goes_is_logged_no_oftener(health, clock, logged, is_resolved):
    """It is said for five seconds only: with a pause of six it was a new one each time."""
    for _ in range(11):
        health.report("left", "image", "corrupt")
        if is_resolved:
            health.resolve("left", "image")
        clock.now += 6
        assert by_name(health)["left"].level == OK
    assert len(logged) == 6
    health.report("right", "image", "corrupt")  # another camera's is another one
    health.report("left", "qos", "corrupt")
    assert len(logged) == 8


def test_what_is_worth_knowing_is_logged_once(health, clock, logged):
    for _ in range(3):
        health.report("left", "rectification", "turned", OK)
        clock.now += 20
        by_name(health)
    assert logged == [(OK, "left: turned")]


def test_an_issue_is_kept_for_as_long_as_reports_are_apart(health, clock):
    """`diagnostics.period` was set to 10 while the node runs, before or after it was seen."""
    health.report("left", "before", "corrupt")
    health.keep_s = 30.0
    health.report("right", "after", "corrupt")
    clock.now += 29
    assert [by_name(health)[name].level for name in ("left", "right")] == [ERROR, ERROR]
    health.keep_s = 5.0
    assert [by_name(health)[name].level for name in ("left", "right")] == [OK, OK]
    health.report("left", "rig", "bumped", keep_s=20.0)  # looked at seldom
    clock.now += 19
    assert by_name(health)["left"].level == ERROR
    clock.now += 2
    assert by_name(health)["left"].level == OK


def test_rates(health, clock):
    for _ in range(40):
        health.frame_arrived("left")
        clock.now += 0.1
    assert float(by_name(health)["left"].values["rate_hz"]) == pytest.approx(10, abs=0.1)
    assert health.silence("left") == pytest.approx(0.1)
    assert health.silence("right") is None
    clock.now += 2
    assert float(by_name(health)["left"].values["rate_hz"]) < 7
    clock.now += 10
    assert float(by_name(health)["left"].values["rate_hz"]) == 0
    assert by_name(health)["right"].message == "no image yet"


def test_counts(health):
    counts = {"left": CameraCounts(10, 6, {"late": 1, "unmatched": 2})}
    values = by_name(health, counts)["left"].values
    assert values["received"] == "10"
    assert values["used"] == "6"
    assert values["dropped"] == "3"
    assert values["dropped_late"] == "1"
    assert values["dropped_unmatched"] == "2"


def test_scale_and_timing(health):
    assert by_name(health)["scale"].message == "no set yet"
    for total in range(1, 101):
        health.set_done(
            {"left": 0, "right": -2_000_000},
            {"engine": 5.0, "total": float(total)},
            Estimate((), ScaleEstimate("rig", 1.5, 0, 0.02, 99, True)),
            0,
        )
    statuses = by_name(health)
    assert statuses["scale"].level == OK
    assert statuses["scale"].values["metres_per_unit"] == "1.5"
    assert statuses["scale"].values["residual"] == "0.0200"
    assert statuses["timing"].values["total_ms_p50"] == "50.5"
    assert statuses["timing"].values["total_ms_p95"] == "95.0"
    assert statuses["timing"].values["total_ms_p99"] == "99.0"
    assert statuses["timing"].values["engine_ms_p50"] == "5.0"
    assert statuses["right"].values["skew_ms_p95"] == "2.00"
    health.set_done({}, {}, Estimate((), ScaleEstimate("none", message="one camera")), 0)
    assert (by_name(health)["scale"].level, by_name(health)["scale"].message) == (
        WARN,
        "depth is relative: one camera",
    )


def test_poses_the_rig_and_the_odometry(health):
    scale = ScaleEstimate("none")
    motion = OdometryEstimate(np.eye(4), np.diag([0.01] * 3 + [0] * 3), 77)
    rig = (RigDeviation(("left", "right"), 4.5, 0.06, 0.1, 90),)
    health.set_done({}, {}, Estimate((), scale, {}, motion, rig), 0)
    values = by_name(health)["poses"].values
    assert (values["left_right_off_deg"], values["left_right_off_m"]) == ("4.50", "0.0600")
    assert (values["odometry_matches"], values["odometry_std_m"]) == ("77", "0.173")
    health.set_done({}, {}, Estimate((), scale), 0)  # not checked this time: the last word stands
    assert by_name(health)["poses"].values["left_right_off_deg"] == "4.50"


def test_note(health):
    assert by_name(health, note="idle")["pipeline"].message == "idle"

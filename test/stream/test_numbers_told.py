# SPDX-License-Identifier: Apache-2.0
"""Numbers that diagnostics tell: times of stages, and how two cameras stand to each other, at the bounds."""

from needs import needs

needs("rosbags", "scipy")

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from wrong_depth import Wires, wall

from da3_ros.estimation import RigDeviation
from da3_ros.stream.diagnostics import STAGES
from da3_ros.stream.placing import _shared_frames
from da3_ros.stream.presenter import off_calibration
from da3_ros.stream.twins import say_twins
from da3_ros.stream.work import Source

PAIR = RigDeviation(("left", "right"), 0.0, 0.0, 0.1, 80)


def test_times_of_all_stages_are_told_in_milliseconds(monkeypatch):
    wires = Wires(wall("beside"), None)
    publish = wires.pipeline.presenter._publish

    def slow(work):
        time.sleep(0.03)
        publish(work)

    monkeypatch.setattr(wires.pipeline.presenter, "_publish", slow)
    begin = time.perf_counter()
    wires.send()
    took = (time.perf_counter() - begin) * 1e3
    values = wires.status("timing").values
    assert {key.removesuffix("_ms_p50") for key in values if key.endswith("_p50")} == set(STAGES)
    assert STAGES == ("decode", "preprocess", "engine", "scale", "poses", "refinement", "post", "publish", "total")
    told = {stage: float(values[f"{stage}_ms_p50"]) for stage in STAGES}
    assert told["publish"] >= 30
    assert told["decode"] > 0
    assert sum(told[stage] for stage in STAGES if stage != "total") < 1.05 * took + 1


@pytest.mark.parametrize("source", ["reference", "given", "camera_height", "rig", "network", "none"])
@pytest.mark.parametrize(("length", "told"), [(0.0, False), (1.4, False), (1.6, True), (0.6, True), (0.7, False)])
def test_distances_are_held_against_a_scale_that_does_not_come_from_them(source, length, told):
    text = off_calibration(replace(PAIR, length=length), 2.0, source)
    if told and source in ("reference", "given", "camera_height"):
        assert text.startswith(f"by the scale from {source} right stands {length:.3g} times as far from left as the")
    else:
        assert text == ""


@pytest.mark.parametrize(
    ("angle", "share", "std", "told"),
    [
        (1.9, 0.0, 0.0, False),
        (2.1, 0.0, 0.0, True),
        (2.1, 0.0, 0.71, False),  # not sure: less than three deviations
        (0.6, 0.11, 0.0, True),  # it changes depth by more than 5 % a degree of the tolerance
        (0.6, 0.09, 0.0, False),
        (0.4, 0.5, 0.0, False),  # too small to be seen surely
    ],
)
def test_turns_are_told_where_they_are_sure_and_matter(angle, share, std, told):
    pair = replace(PAIR, angle_deg=angle, depth_share=share, angle_std_deg=std)
    text = off_calibration(pair, 2.0, "rig")
    assert bool(text) is told
    if told:
        assert text.startswith(f"left and right stand {angle:.1f} deg")
        assert (f", which alone changes depth by {share:.0%}," in text) is (share > 0)


def source(name, image, frame="camera"):
    from da3_ros.estimation import View

    return Source(View(image, None, None, name, 0), frame)


def test_frames_that_several_cameras_have():
    image = np.zeros((6, 8, 3), np.uint8)
    frames = ["a", "b", "a", "c", "c", "c"]
    assert _shared_frames([source(str(i), image, frame) for i, frame in enumerate(frames)]) == {"a", "c"}
    assert _shared_frames([]) == set()


def test_each_camera_that_shows_anothers_picture_is_named():
    said = []
    health = SimpleNamespace(report=lambda *arguments: said.append(arguments))
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 255, (80, 120, 3), dtype=np.uint8) for _ in range(2))
    cropped = one[:, :119]
    late = one.copy()
    late[5, 5] += 1  # not among the pixels that are looked at first
    say_twins([source(n, i) for n, i in zip("abcde", (one, other, one.copy(), cropped, late), strict=True)], health)
    assert [(camera, kind, text.split(",")[0], level) for camera, kind, text, level in said] == [
        ("c", "twin", "its picture is that of a", 1)
    ]

# SPDX-License-Identifier: Apache-2.0
"""The process as a whole: start, parameter files, big images, and how it ends."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

DEPTH = "/da3/left/depth/image_rect"
# Idle machines need well under a second; shared ones get some slack.
END_S = 4.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_clean_exit(start, number, busy):
    rig = start(inference__size=252 if busy else 140)
    rig.peer.collect(DEPTH, "sensor_msgs/msg/Image")
    rig.connect()
    if busy:
        rig.feed_until(lambda: rig.peer.received[DEPTH], "depth")
        rig.send()
        time.sleep(0.05)  # the engine runs now
    code, seconds = rig.node.stop(number)
    assert code == 0, rig.node.output
    assert seconds < END_S
    assert "Traceback" not in rig.node.output


def test_a_bad_parameter_is_refused(start):
    rig = start(sync__policy="nearest")
    assert rig.node.process.wait(30) == 1
    text = rig.node.output
    assert "sync.policy = 'nearest' is refused (allowed: anchor, exact, approximate, latest)" in text
    assert "Traceback" not in text


def test_an_unknown_model_is_refused(start):
    rig = start(model="da3-tiny")
    assert rig.node.process.wait(30) == 1
    assert "unknown model 'da3-tiny'; known: da3-nano" in rig.node.output
    assert "Traceback" not in rig.node.output


def test_shipped_parameter_file_and_big_images(start):
    """1280 x 720 images are three times the middleware's default segment: with the setting of the launch
    file none is lost.
    """
    rig = start(width=1280, params_file=ROOT / "config" / "multi_cam.yaml")
    rig.peer.collect(DEPTH, "sensor_msgs/msg/Image")
    rig.connect()
    rig.feed_until(lambda: rig.peer.received[DEPTH], "depth", period=0.3)
    sent = len(rig.sent)
    for _ in range(15):
        rig.send()
        time.sleep(0.1)
    rig.feed_until(
        lambda: int(rig.peer.diagnostics()["left"][2]["received"]) >= 0.8 * (sent + 15),
        "most images",
        send=lambda: None,
    )
    depth = np.frombuffer(rig.peer.received[DEPTH][-1].data, np.float32)
    assert depth.size == 140 * 98
    assert rig.peer.received[DEPTH][-1].header.frame_id == "left_optical"

# SPDX-License-Identifier: Apache-2.0
"""From live to offline: what the node published over DDS, recorded, and what the bag tool makes of the same recording
with the same parameter file are equal.
"""

from needs import needs

needs("mcap", "rosbags", "scipy")

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import bags
import numpy as np
import pytest

from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.messages import decode_cloud, decode_depth, matrix_from_pose, stamp_to_ns

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = """
/**:
  ros__parameters:
    model: da3-nano
    cameras: [left, right]
    inference: {size: 140}
    scale: {smoothing: 0.0, hold: 0.0}  # no set depends on those before it, of which the node may have missed some
    cloud: {rate: 0.0, voxel_size: 0.05}
    watchdog: {timeout: 30.0}
    input_qos: DEFAULT  # reliable: both must see the same
    min_range: 0.5
    max_range: 6.0
"""
IMAGE, INFO, CLOUD = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"
POSE = "geometry_msgs/msg/PoseWithCovarianceStamped"
INPUTS = {
    "/tf_static": "tf2_msgs/msg/TFMessage",
    **{f"/{name}/image_raw": IMAGE for name in ("left", "right")},
    **{f"/{name}/camera_info": INFO for name in ("left", "right")},
}
OUTPUTS = {
    "/da3/left/depth/image_rect": IMAGE,
    "/da3/right/depth/image_rect": IMAGE,
    "/da3/left/depth/stddev": IMAGE,
    "/da3/right/depth/stddev": IMAGE,
    "/da3/left/confidence/image": IMAGE,
    "/da3/right/depth/camera_info": INFO,
    "/da3/right/pose": POSE,
    "/da3/points": CLOUD,
}
SETS = 5


@pytest.fixture(scope="module")
def recorded(start, tmp_path_factory):
    """A recording of a rig and of the node's outputs, both as they came over DDS, and the parameter file."""
    folder = tmp_path_factory.mktemp("live")
    params = folder / "params.yaml"
    params.write_text(PARAMETERS)
    rig = start(params_file=params)
    for topic, kind in OUTPUTS.items():
        rig.peer.collect(topic, kind)
    rig.connect()
    path = folder / "recording"
    command = [sys.executable, "tools/demo/recorder.py", str(path)]
    command += [f"{topic}:{kind}" for topic, kind in {**INPUTS, **OUTPUTS}.items()]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(rig.peer.context.get_domain_id())}
    recorder = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert recorder.stdout.readline() == "recording\n"
    count = rig.peer.node.count_subscribers
    topics = [*INPUTS, *OUTPUTS]
    rig.peer.wait(lambda: all(count(topic) > 1 for topic in topics), what="the recorder's subscriptions")
    heard: set[str] = set()
    threading.Thread(target=_listen, args=(recorder.stdout, heard), daemon=True).start()
    rig.settle()
    # The graph knows of a subscription before its publisher does.
    rig.feed_until(lambda: heard >= set(topics), "every topic at the recorder")
    pictures, came = dict(rig.images), []
    for attempt in range(3 * SETS):  # one after the other, each another picture, so that none is dropped
        rig.images = {name: np.roll(picture, 3 * attempt, axis=0) for name, picture in pictures.items()}
        stamp = rig.send()
        if _arrives(rig.peer, stamp):
            came.append(stamp)
        if len(came) == SETS:
            break
    time.sleep(0.5)  # the recorder is another process
    recorder.send_signal(signal.SIGINT)
    assert recorder.wait(20) == 0
    assert len(came) == SETS, rig.node.output
    return path, params, came


def _listen(lines, heard):
    """Collect the topics of which the recorder says that it had a message."""
    for line in lines:
        heard.add(line.split()[-1])


def _arrives(peer, stamp, seconds=8.0):
    """Whether every output of a set comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if all(any(stamp_to_ns(m.header.stamp) == stamp for m in list(peer.received[topic])) for topic in OUTPUTS):
            return True
        time.sleep(0.02)
    return False


def by_stamp(bag, topic):
    return {stamp_to_ns(message.header.stamp): message for _, message in bags.read(bag, topic)}


def test_live_and_offline_are_equal(recorded, tmp_path):
    path, params, stamps = recorded
    request = Request(path, tmp_path / "out", params_file=params, options=Options(pictures=0))
    summary = reprocess(request)
    for counts in summary["frames"].values():
        assert counts["received"] == counts["used"] + sum(counts["dropped"].values())
    compared = 0
    for topic in OUTPUTS:
        live, offline = by_stamp(path, topic), by_stamp(tmp_path / "out", topic)
        assert set(stamps) <= set(live), topic
        for stamp in stamps:
            a, b = live[stamp], offline[stamp]
            assert a.header == b.header
            _assert_equal(topic, a, b)
            compared += 1
    assert compared == SETS * len(OUTPUTS)
    # Depth that follows what the cameras measure is among what was compared.
    done = {view["camera"] for record in summary["sets"] for view in record["views"] if view["refinement"]["applied"]}
    assert done == {"left", "right"}
    depths = [decode_depth(by_stamp(path, "/da3/left/depth/image_rect")[stamp]) for stamp in stamps]
    assert all(np.nanmax(np.abs(a - b)) > 0.01 for a, b in pairwise(depths))  # they could differ


def _assert_equal(topic, a, b):
    if topic.endswith("camera_info"):
        np.testing.assert_array_equal(a.k, b.k)
        assert (a.width, a.height) == (b.width, b.height)
    elif topic.endswith("pose"):
        np.testing.assert_array_equal(matrix_from_pose(a.pose.pose), matrix_from_pose(b.pose.pose))
        np.testing.assert_array_equal(a.pose.covariance, b.pose.covariance)
    elif topic.endswith("points"):
        one, other = decode_cloud(a), decode_cloud(b)
        assert one["x"].size == other["x"].size > 100
        for field in one:
            np.testing.assert_allclose(one[field], other[field], rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_allclose(decode_depth(a), decode_depth(b), rtol=1e-5)

# SPDX-License-Identifier: Apache-2.0
"""The node with a viewer and without one; the viewer itself: test/viewer."""

from needs import needs

needs("rclpy")

import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
from node_bench import IMAGE, RIG, WARN, feed_until, status_matches

from da3_ros.node.multi_cam import FAILURE

ROOT = Path(__file__).resolve().parents[2]


def test_a_node_without_a_viewer_has_nothing_of_it(bench):
    b = bench()
    assert b.node.trigger_configure() == rclpy.lifecycle.TransitionCallbackReturn.SUCCESS
    session = b.node._session
    kinds = {type(publisher) for publisher in session._outputs.all()}
    assert kinds == {rclpy.lifecycle.LifecyclePublisher}
    assert set(session._outputs.all()) <= set(session._publishers)
    assert session._viewer is None


def test_what_shows_is_not_loaded_by_a_node_that_has_no_viewer():
    code = (
        "import sys\n"
        "sys.path.insert(0, 'test/helpers')\n"
        "from node_bench import Bench\n"
        "bench = Bench({'cameras': ['left']}, {}).start()\n"
        "print('loaded:', [m for m in sys.modules if m.startswith(('rerun', 'da3_ros.viewer'))])\n"
        "bench.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout.splitlines()


def test_what_goes_in_and_comes_out_is_saved(bench, tmp_path):
    pytest.importorskip("rerun", reason="the extra `make env EXTRAS=interop` is not installed")
    from rrd_files import Rrd

    path = tmp_path / "live.rrd"
    b = bench(viewer__mode="save", viewer__address=str(path), viewer__rate=50.0, cloud__rate=0.0).start()
    assert "da3 viewer" in b.threads()
    b.place(RIG)
    b.connect()
    # Nobody else subscribes to anything but the depth of one camera.
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    feed_until(b, lambda: len(b.estimator.sets) > 3, what="sets for the viewer")
    feed_until(b, lambda: len(b.peer.received["/da3/left/depth/image_rect"]) > 3, what="depth")
    b.node.trigger_deactivate()
    b.node.trigger_cleanup()
    assert "da3 viewer" not in b.threads()
    file = Rrd(path)
    sent = {view.stamp_ns for view_set in b.estimator.sets for view in view_set.views}
    for entity, component in (
        ("world/left/input/rgb", "EncodedImage:blob"),
        ("world/left/image/depth", "DepthImage:buffer"),
        ("world/right/confidence", "EncodedImage:blob"),
        ("world/right/stddev", "EncodedImage:blob"),
        ("world/cloud", "Points3D:positions"),
        ("timing_ms/engine", "Scalars:scalars"),
    ):
        stamps = [stamp for stamp, _ in file.rows(entity, component)]
        assert stamps, entity
        assert set(stamps) <= sent, entity
    for entity in ("world/left/input", "world/left/image"):
        assert file.rows(entity, "Pinhole:parent_frame")[0][1] == ["left_optical"]
    assert file.rows("tf/left_optical", "Transform3D:parent_frame")[0] == (None, ["base_link"])
    assert file.rows("world", "CoordinateFrame:frame")[-1][1] == ["base_link"]
    assert file.rows("scale/metres_per_unit", "Scalars:scalars")[-1][1] == [1.25]


def test_a_missing_sdk_is_said_and_the_node_goes_on(bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    b = bench(viewer__mode="spawn").start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/left/depth/image_rect"], what="depth")
    words = ["nothing is shown: Rerun's SDK is not installed", "pip install rerun-sdk"]
    feed_until(b, lambda: status_matches(b, "pipeline", WARN, words), what="the message")


def test_an_address_that_is_none_is_refused(bench):
    b = bench(viewer__mode="save", viewer__address="a.mcap")
    assert b.node.trigger_configure() == FAILURE

# SPDX-License-Identifier: Apache-2.0
"""What tests of the node in this process share: the node with its peer, kinds of messages, a rig, and waiting."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import rclpy
from fake_estimator import CAMERA, FakeEstimator
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_peer import Peer, next_domain

from da3_ros.node.multi_cam import MultiCam
from da3_ros.stream.transforms import TransformError

IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
CLOUD, POSE = "sensor_msgs/msg/PointCloud2", "geometry_msgs/msg/PoseWithCovarianceStamped"
OK, WARN, ERROR = 0, 1, 2
W, H = CAMERA.width, CAMERA.height

T_BASE_LEFT = np.array([[0.0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 1.0], [0, 0, 0, 1]])
T_BASE_RIGHT = T_BASE_LEFT.copy()
T_BASE_RIGHT[1, 3] = -0.1
RIG = {("base_link", "left_optical"): T_BASE_LEFT, ("base_link", "right_optical"): T_BASE_RIGHT}


class Bench:
    """A node under test, spinning, and its peer."""

    def __init__(self, parameters, estimator_options, make=FakeEstimator):
        """make: (model, config, **estimator_options) -> estimator."""
        self._before = set(threading.enumerate())
        domain = next_domain()
        self.peer = Peer(domain)
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.estimators = []

        def load(model, config):
            self.estimators.append(make(model, config, **estimator_options))
            return self.estimators[-1]

        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = MultiCam(load, context=self.context, parameter_overrides=overrides)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        for name in ("configure", "activate", "deactivate", "cleanup", "shutdown"):
            transition = getattr(self.node, f"trigger_{name}")
            setattr(self.node, f"trigger_{name}", partial(self._where_it_spins, transition))
        self.peer.collect("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")

    def _spin(self):
        try:
            self._executor.spin()
        except Exception:  # the context may end at any point of the wait
            if self.context.ok():
                raise

    def _where_it_spins(self, transition):
        """A transition in the thread that spins, as the lifecycle's services have it: what another thread destroys may
        just be waited for.
        """
        if not self._thread.is_alive():
            return transition()
        task, done = self._executor.create_task(transition), threading.Event()
        task.add_done_callback(lambda _: done.set())
        assert done.wait(60), "the transition has not ended"
        return task.result()

    @property
    def estimator(self):
        return self.estimators[-1]

    def threads(self):
        """Sorted names of the package's threads that were started since this bench was made: other tests of the
        process leave a pool or an estimator behind.
        """
        new = set(threading.enumerate()) - self._before
        return sorted(thread.name for thread in new if thread.name.startswith("da3 "))

    def start(self):
        assert self.node.trigger_configure() == rclpy.lifecycle.TransitionCallbackReturn.SUCCESS
        assert self.node.trigger_activate() == rclpy.lifecycle.TransitionCallbackReturn.SUCCESS
        self._thread.start()
        return self

    def close(self):
        if self._thread.is_alive():
            rclpy.shutdown(context=self.context)
            self._thread.join(5)
        assert self.node.close()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)
        self.peer.__exit__()

    def connect(self, cameras=("left", "right")):
        """Wait until the node hears the cameras, and knows that it is heard."""
        node = self.peer.node
        self.peer.wait(
            lambda: all(node.count_subscribers(f"/{camera}/image_raw") for camera in cameras),
            what="subscriptions",
        )

    def place(self, transforms):
        """Publish fixed poses, {(parent, child): T_parent_child}, and wait until the node knows them.

        Sets from before that would be relative, and of the camera.
        """
        self.peer.send_static(transforms)
        tree = self.node._session._transforms

        def known():
            try:
                return [tree.lookup(parent, child, 0) for parent, child in transforms]
            except TransformError:
                return []

        self.peer.wait(known, what="the poses at the node")

    def send(self, stamp_ns, cameras=("left", "right")):
        """One calibrated grey image of each camera, once the node has found its publishers: of those that it has not,
        messages are lost, and a set whose calibration was lost is another one.
        """
        topics = {f"/{c}/{name}": kind for c in cameras for name, kind in (("camera_info", INFO), ("image_raw", IMAGE))}
        publishers = [self.peer.publisher(topic, kind) for topic, kind in topics.items()]
        self.peer.wait(
            lambda: all(p.get_subscription_count() and self.node.count_publishers(p.topic_name) for p in publishers),
            what="the node and the publishers at each other",
        )
        for camera in cameras:
            self.peer.send_info(camera, CAMERA, stamp_ns)
            self.peer.send_image(camera, np.full((H, W, 3), 90, np.uint8), stamp_ns)


def feed_until(bench, condition, *, send=None, what="condition", timeout=15.0):
    """Send sets at about 20 Hz until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come: {bench.peer.diagnostics()}"
        (send or bench.send)(bench.peer.now_ns())
        time.sleep(0.05)


def status_matches(bench, name, level, words):
    status = bench.peer.diagnostics().get(name)
    return status is not None and status[0] == level and all(word in status[1] for word in words)

# SPDX-License-Identifier: Apache-2.0
"""The node in this process, with a fake estimator, and a peer on the same DDS domain."""

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from fake_estimator import CAMERA, FakeEstimator
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_peer import Peer, next_domain

from da3_ros.node.multi_cam import MultiCam
from da3_ros.stream.transforms import TransformError

W, H = CAMERA.width, CAMERA.height


class Bench:
    """A node under test, spinning, and its peer."""

    def __init__(self, parameters, estimator_options):
        domain = next_domain()
        self.peer = Peer(domain)
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.estimators = []

        def load(model, config):
            self.estimators.append(FakeEstimator(model, config, **estimator_options))
            return self.estimators[-1]

        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = MultiCam(load, context=self.context, parameter_overrides=overrides)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self.peer.collect("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")

    def _spin(self):
        try:
            self._executor.spin()
        except Exception:  # the context may end at any point of the wait
            if self.context.ok():
                raise

    @property
    def estimator(self):
        return self.estimators[-1]

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
        """One calibrated grey image of each camera."""
        for camera in cameras:
            self.peer.send_info(camera, CAMERA, stamp_ns)
            self.peer.send_image(camera, np.full((H, W, 3), 90, np.uint8), stamp_ns)


@pytest.fixture
def bench():
    made = []

    def make(estimator_options=None, **parameters):
        values = {"cameras": ["left", "right"], "diagnostics.period": 0.2, "watchdog.timeout": 1.0}
        values.update({name.replace("__", "."): value for name, value in parameters.items()})
        made.append(Bench(values, estimator_options or {}))
        return made[-1]

    yield make
    for item in made:
        item.close()

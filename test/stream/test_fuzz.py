# SPDX-License-Identifier: Apache-2.0
"""Whatever a message holds costs that message alone: no exception, no frame of another camera, none unaccounted for."""

from needs import needs

needs("hypothesis", "rosbags")

import contextlib

import numpy as np
import pytest
from bags import PERIOD, POSES, START, TYPES, H, W
from fuzz_messages import CLOUD, COMPRESSED, EXAMPLES, IMAGE, INFO, TF, fuzzed, messages, sound
from hypothesis import given
from hypothesis import strategies as st
from known_depth import RECORD, KnownDepthEngine

from da3_ros.estimation import Estimator
from da3_ros.messages import MessageError, decode_camera_info, decode_cloud, decode_depth, decode_image
from da3_ros.messages.cameras import decode_rectification
from da3_ros.stream.diagnostics import Health
from da3_ros.stream.outputs import Outputs
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.transforms import TransformTree, add_transforms
from da3_ros.sync import FrameBuffer

NAMES = ("left", "right")
DECODERS = {
    IMAGE: (decode_image, decode_depth),
    COMPRESSED: (decode_image,),
    INFO: (lambda m: decode_camera_info(m, rectified=False), lambda m: decode_camera_info(m, rectified=True),
           decode_rectification),
    CLOUD: (decode_cloud,),
}  # fmt: skip


class Topic:
    def __init__(self):
        self.count = 0

    def get_subscription_count(self):
        return 1

    def publish(self, message):
        assert message.header.stamp if hasattr(message, "header") else message
        self.count += 1


class Node:
    """The node without ROS: buffer, pipeline, diagnostics; its second camera and its LiDAR may send anything."""

    def __init__(self, kind):
        values = {s.name: s.default for s in (*SPECS, *(s for n in NAMES for s in camera_specs(n)))}
        values |= {
            "cameras": list(NAMES),
            "sync.allow_missing": True,
            "inference.size": 84,
            "refinement.source": "none",
        }
        if kind == COMPRESSED:
            values["right.transport"] = "compressed"
        self.parameters = read_parameters(values.__getitem__)
        self.topics = {}
        self.buffer = FrameBuffer(NAMES, self.parameters.sync)
        self.health = Health(NAMES, lambda level, text: None)
        self.tree = TransformTree()
        engine = KnownDepthEngine([np.full((H, W), 2.0)] * 2, np.stack([POSES["left"], POSES["right"]]))
        estimator = Estimator(engine, RECORD, self.parameters.estimator)
        outputs = Outputs(self._advertise, TYPES, self.parameters)
        self.pipeline = Pipeline(
            self.parameters, estimator, outputs, self.tree, self.buffer.counters, self.health, lambda: START
        )
        self.sent = 0
        self.transform(sound(TF))

    def _advertise(self, kind, topic, qos):
        del kind, qos
        self.topics[topic] = Topic()
        return self.topics[topic]

    def transform(self, message):
        for *_, error in add_transforms(self.tree, message, static=True):
            assert isinstance(error, MessageError)

    def step(self, kind, message):
        """A set in which one message is what it is, and all others are sound."""
        stamp = START + self.sent * PERIOD
        self.sent += 1
        image = sound(COMPRESSED if kind == COMPRESSED else IMAGE, stamp, "right_optical")
        info, cloud = sound(INFO, stamp, "right_optical"), sound(CLOUD, stamp, "lidar")
        if kind in (IMAGE, COMPRESSED):
            image = message
        elif kind == INFO:
            message.header.stamp = image.header.stamp  # an older one would hold on
            info = message
        elif kind == CLOUD:
            cloud = message
        else:
            self.transform(message)
        self.pipeline.reference.add_cloud(cloud)
        self.pipeline.set_camera_info("right", info)
        self.pipeline.set_camera_info("left", sound(INFO, stamp))
        published = self.topics["left/depth/image_rect"].count
        sets = [self.buffer.push("right", stamp, image), self.buffer.push("left", stamp, sound(IMAGE, stamp))]
        for frames in sets:
            if frames is not None:
                self.pipeline(frames)
        assert self.topics["left/depth/image_rect"].count == published + 1
        counts = self.buffer.counters.snapshot()
        assert counts["left"].used == counts["left"].received == self.sent
        for name in NAMES:
            assert (
                counts[name].received == counts[name].used + sum(counts[name].dropped.values()) + counts[name].waiting
            )
        assert not any(key[1] in ("engine", "worker", "publisher") for key in self.health.issues()), (
            self.health.issues()
        )
        statuses = self.health.statuses(counts)
        dropped = sum(counts["right"].dropped.values()) - self.before
        self.before += dropped
        if dropped:
            assert next(status for status in statuses if status.name == "right").level == 2
        return dropped

    before = 0


@pytest.mark.parametrize("kind", [IMAGE, COMPRESSED, INFO, CLOUD, TF])
def test_a_message_of_anything_costs_itself_alone(kind):
    node, seen = Node(kind), {"dropped": 0, "kept": 0}

    @fuzzed
    @given(message=messages(kind))
    def run(message):
        for decode in DECODERS.get(kind, ()):
            with contextlib.suppress(MessageError):
                decode(message)
        seen["dropped" if node.step(kind, message) else "kept"] += 1

    run()
    assert node.sent >= 0.9 * EXAMPLES
    if kind in (IMAGE, COMPRESSED, INFO):  # the messages are neither all sound nor all beyond use
        assert min(seen.values()) > 0.02 * node.sent, seen


@fuzzed
@given(data=st.binary(max_size=300))
def test_pictures_of_any_bytes(data):
    for head in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"):
        message = TYPES[COMPRESSED](TYPES.header(0, "a"), "jpeg", np.frombuffer(head + data, np.uint8))
        try:
            pixels = decode_image(message)
        except MessageError:
            continue
        assert (pixels.dtype, pixels.ndim) == (np.uint8, 3)

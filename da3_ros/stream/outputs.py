# SPDX-License-Identifier: Apache-2.0
"""What is published, live or into a bag; each message is made only when somebody wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import OdometryEstimate, ViewEstimate
from da3_ros.estimation.clouds import fuse_views
from da3_ros.messages import (
    CloudEncoder,
    MessageTypes,
    encode_camera_info,
    encode_depth_mm,
    encode_float,
    encode_odometry,
    encode_pose_stamped,
    encode_rgb,
    encode_transform,
)
from da3_ros.messages.kinds import CAMERA_INFO, CLOUD, IMAGE, TRANSFORMS
from da3_ros.stream.parameters import NodeParameters
from da3_ros.sync import FrameSet
from da3_ros.visual import depth_to_color

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Qos:
    """Quality of service of a publisher: the last `depth` messages are kept."""

    depth: int
    profile: str = "DEFAULT"
    """``DEFAULT`` (reliable), ``SENSOR_DATA`` (best effort) or ``SYSTEM_DEFAULT`` (the middleware's)."""
    latched: bool = False
    """Whether late subscribers get the last messages, too."""


class Publisher(Protocol):
    """Takes messages of one topic."""

    def get_subscription_count(self) -> int:
        """How many want the messages; 0: they need not be made."""
        ...

    def publish(self, message: Any) -> None: ...


Advertise = Callable[[str, str, Qos], Publisher]
"""(type as ``sensor_msgs/msg/Image``, topic, quality of service) -> publisher. Topics without a leading slash lie below
the node's namespace."""


@dataclass(frozen=True)
class PublishedView:
    """A view's geometry and the names of its frames."""

    estimate: ViewEstimate
    frame_id: str  # optical frame, marked while depth is relative
    pose_frame: str  # frame of the pose, marked while the pose has no unit
    pose_parent: str  # the same, never marked
    child_frame: str  # frame of the pose on /tf
    in_unit: bool  # whether depth is in the unit of its set: metres, or that of a chunk
    turn: Matrix | None = None
    """R_view_frame (3, 3) of a rectified view that looks another way than its frame in /tf."""


class CameraOutputs:
    """Publishers of one camera, below its name."""

    def __init__(
        self, advertise: Advertise, types: MessageTypes, camera: str, parameters: NodeParameters, *, reuse: bool
    ) -> None:
        """reuse: as of `CloudEncoder`."""
        self._types = types
        self._encode_cloud = CloudEncoder(types, reuse=reuse)
        qos = Qos(parameters.output_qos.depth, parameters.output_qos.profile)

        def publisher(kind: str, topic: str) -> Publisher:
            return advertise(kind, f"{camera}/{topic}", qos)

        self.depth = publisher(IMAGE, "depth/image_rect")
        self.info = publisher(CAMERA_INFO, "depth/camera_info")
        self.color = publisher(IMAGE, "depth/image_color")
        self.stddev = publisher(IMAGE, "depth/stddev")
        self.confidence = publisher(IMAGE, "confidence/image")
        self.points = publisher(CLOUD, "points")
        self.pose = publisher("geometry_msgs/msg/PoseWithCovarianceStamped", "pose")
        self.millimetres: Publisher | None = None
        if parameters.depth_millimetres:
            self.millimetres = publisher(IMAGE, "depth/image_raw")

    def all(self) -> list[Publisher]:
        """Every publisher that exists."""
        found = [
            self.depth,
            self.info,
            self.color,
            self.stddev,
            self.confidence,
            self.points,
            self.pose,
            self.millimetres,
        ]
        return [publisher for publisher in found if publisher is not None]

    def publish(self, view: PublishedView) -> None:
        """Send what is subscribed to; every header has the image's own stamp."""
        types, estimate = self._types, view.estimate
        header = types.header(estimate.stamp_ns, view.frame_id)
        if _wanted(self.info):
            self.info.publish(encode_camera_info(types, estimate.camera, header, view.turn))
        if _wanted(self.depth):
            self.depth.publish(encode_float(types, estimate.depth, header))
        if self.millimetres is not None and _wanted(self.millimetres):
            self.millimetres.publish(encode_depth_mm(types, estimate.depth, header))
        if _wanted(self.confidence):
            self.confidence.publish(encode_float(types, estimate.confidence, header))
        if estimate.stddev is not None and view.in_unit and _wanted(self.stddev):
            self.stddev.publish(encode_float(types, estimate.stddev, header))
        if _wanted(self.color):
            self.color.publish(encode_rgb(types, depth_to_color(estimate.depth), header))
        if _wanted(self.points):
            points = estimate.points()
            if view.turn is not None:  # a cloud has no calibration to say so: it lies in its frame itself
                points = np.ascontiguousarray(points @ view.turn.astype(np.float32))
            cloud = self._encode_cloud(points, estimate.image, estimate.confidence, header)
            self.points.publish(cloud)
        if estimate.pose.source != "none" and _wanted(self.pose):
            pose, pose_header = estimate.pose, types.header(estimate.stamp_ns, view.pose_frame)
            self.pose.publish(encode_pose_stamped(types, pose.T_world_camera, pose.covariance, pose_header))


class Outputs:
    """All topics that are published."""

    def __init__(
        self,
        advertise: Advertise,
        types: MessageTypes,
        parameters: NodeParameters,
        *,
        reuse: bool = False,
        on_set: Callable[[FrameSet[Any]], None] = lambda _: None,
    ) -> None:
        """reuse: whether publishers are done with a message when `publish` returns, so that it may be filled again.
        on_set: told which set publishers are asked about next by the thread that it is called in.
        """
        self._types, self._parameters = types, parameters
        self._on_set = on_set
        self.cameras = {
            name: CameraOutputs(advertise, types, name, parameters, reuse=reuse) for name in parameters.names
        }
        qos = Qos(parameters.output_qos.depth, parameters.output_qos.profile)
        self._fused = advertise(CLOUD, "points", qos)
        self._encode_fused = CloudEncoder(types, reuse=reuse)
        self._last_fused_ns: int | None = None
        self._odometry = advertise("nav_msgs/msg/Odometry", "odometry", qos)
        self._latency = advertise("diagnostic_msgs/msg/DiagnosticArray", "latency", qos)
        self._tf: Publisher | None = None
        if parameters.publish_tf or parameters.odometry.publish_tf:
            self._tf = advertise(TRANSFORMS, "/tf", Qos(100))

    def all(self) -> list[Publisher]:
        """Every publisher that exists."""
        publishers = [publisher for camera in self.cameras.values() for publisher in camera.all()]
        return [*publishers, self._fused, self._odometry, *([self._tf] if self._tf else [])]

    def memory(self) -> int | None:
        """What decides when the next fused cloud is due; for `recall`."""
        return self._last_fused_ns

    def recall(self, memory: int | None) -> None:
        """Go on where `memory` was asked for."""
        self._last_fused_ns = memory

    def turn_to(self, frames: FrameSet[Any]) -> None:
        """What is asked and published from here on by this thread is of this set."""
        self._on_set(frames)

    def wanted(self) -> bool:
        """Whether any output has a subscriber; /tf always counts where it was asked for."""
        return self._tf is not None or any(_wanted(publisher) for publisher in self.all())

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Go by other values of what may change while publishers exist."""
        self._parameters = parameters

    def wants_odometry(self) -> bool:
        """Whether the motion of the cameras is to be followed."""
        return _wanted(self._odometry) or self._parameters.odometry.publish_tf

    def publish_odometry(self, odometry: OdometryEstimate, mark: str, child_frame: str, stamp_ns: int) -> None:
        """Motion since the start; mark: appended to the frame while it has no unit."""
        types, chosen = self._types, self._parameters.odometry
        if _wanted(self._odometry):
            header = types.header(stamp_ns, chosen.frame + mark)
            pose, covariance = odometry.T_start_body, odometry.covariance
            self._odometry.publish(encode_odometry(types, pose, covariance, header, child_frame))
        if self._tf is not None and chosen.publish_tf:
            header = types.header(stamp_ns, chosen.frame + mark)
            transform = encode_transform(types, odometry.T_start_body, header, child_frame)
            self._tf.publish(types[TRANSFORMS](transforms=[transform]))

    def publish_latency(self, stages: Mapping[str, float], stamp_ns: int) -> None:
        """Milliseconds of every stage of the set with this stamp; `total` goes from its stamp to its publish."""
        if not _wanted(self._latency):
            return
        pair, kind = self._types["diagnostic_msgs/msg/KeyValue"], self._types["diagnostic_msgs/msg/DiagnosticStatus"]
        values = [pair(key=f"{stage}_ms", value=f"{value:.3f}") for stage, value in stages.items()]
        message = f"{stages['total']:.1f} ms from stamp to publish"
        status = kind(level=kind.OK, name="latency", message=message, hardware_id="da3", values=values)
        array = self._types["diagnostic_msgs/msg/DiagnosticArray"]
        self._latency.publish(array(header=self._types.header(stamp_ns, ""), status=[status]))

    def wants_fused(self) -> bool:
        """Whether the fused cloud is subscribed to."""
        return _wanted(self._fused)

    def fused_is_due(self, stamp_ns: int) -> bool:
        """Whether the fused cloud is subscribed to and its rate allows another one at this stamp."""
        if not self.wants_fused():
            return False
        rate, last = self._parameters.cloud.rate, self._last_fused_ns
        # A stamp before the last one means that time was set back.
        return rate == 0 or last is None or not 0 <= stamp_ns - last < 1e9 / rate

    def publish_fused(
        self, views: Sequence[ViewEstimate], poses: Sequence[Matrix], frame_id: str, stamp_ns: int
    ) -> None:
        """Fused cloud in `frame_id`; poses: `T_frame_camera` (4, 4) of each view."""
        self._last_fused_ns = stamp_ns
        chosen = self._parameters.cloud
        cloud = fuse_views(
            views,
            poses,
            voxel_size=chosen.voxel_size,
            filter_edges=chosen.filter_edges,
            min_confidence=chosen.min_confidence,
            max_range=chosen.max_range,
            max_stddev=chosen.max_stddev,
        )
        header = self._types.header(stamp_ns, frame_id)
        self._fused.publish(self._encode_fused(cloud.points, cloud.colours, cloud.confidence, header, is_dense=True))

    def publish_transforms(self, views: Sequence[PublishedView]) -> None:
        """Poses of all views on /tf, if that was asked for."""
        if self._tf is None or not self._parameters.publish_tf:
            return
        types = self._types
        transforms = [
            encode_transform(
                types,
                view.estimate.pose.T_world_camera,
                types.header(view.estimate.stamp_ns, view.pose_parent),
                view.child_frame,
            )
            for view in views
            if view.estimate.pose.source != "none"
        ]
        self._tf.publish(types[TRANSFORMS](transforms=transforms))


def _wanted(publisher: Publisher) -> bool:
    return bool(publisher.get_subscription_count() > 0)

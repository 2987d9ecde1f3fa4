# SPDX-License-Identifier: Apache-2.0
"""Parameter values -> frozen configurations. Free of ROS: values are asked of a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from da3_ros.estimation import EstimatorConfig, PoseConfig, ScaleConfig
from da3_ros.estimation.pose import SOURCES as POSE_SOURCES
from da3_ros.estimation.pose.matches import MatchesConfig
from da3_ros.estimation.refinement import SOURCES as REFINEMENTS
from da3_ros.estimation.refinement import RefinementConfig
from da3_ros.estimation.scale import FITS, SOURCES
from da3_ros.stream.names import COMPRESSED, is_rectified, says_raw
from da3_ros.stream.reading import ParameterError, Reader
from da3_ros.stream.specs import CONDITIONING, QOS, RECTIFIED, RESOLUTIONS, SPECS, TRANSPORTS, Spec, camera_specs
from da3_ros.stream.viewing import ViewerParameters, read_viewer
from da3_ros.sync import POLICIES, SyncConfig

__all__ = ["SPECS", "NodeParameters", "ParameterError", "Spec", "camera_names", "camera_specs", "read_parameters"]


@dataclass(frozen=True)
class CameraParameters:
    """Where one camera's messages come from."""

    name: str
    image_topic: str
    """With transport ``compressed`` that of image_transport."""
    plain_topic: str
    """Where compressed images may come, too: a driver's own topic, whose name does not end so. Empty: nowhere else."""
    camera_info_topic: str
    transport: str
    frame_id: str
    rectified: bool
    rectified_said: bool
    """Whether the parameter or the topic says so; else raw is a guess."""


@dataclass(frozen=True)
class WindowParameters:
    """Past sets beside the present one: how many, and the least time between them."""

    size: int
    spacing_ns: int


@dataclass(frozen=True)
class ReferenceParameters:
    """Where a metric reference comes from; largest time between it and an image."""

    points_topic: str
    depth_topic: str
    depth_info_topic: str
    max_age_ns: int


@dataclass(frozen=True)
class CloudParameters:
    """The fused cloud: metres, clouds a second (0: each set)."""

    voxel_size: float
    rate: float
    filter_edges: bool
    min_confidence: float
    max_range: float
    """0: no limit of its own."""
    max_stddev: float
    """Share of the depth; 0: no limit."""


@dataclass(frozen=True)
class OdometryParameters:
    """Frame of the visual odometry, and whether it goes to /tf."""

    frame: str
    publish_tf: bool


@dataclass(frozen=True)
class QosParameters:
    """A profile by name, and how many messages it keeps."""

    profile: str
    depth: int


@dataclass(frozen=True)
class CheckParameters:
    """What diagnostics look after; seconds and degrees, 0: never."""

    period: float
    max_latency: float
    rig_period: float
    rig_tolerance_deg: float
    watchdog_timeout: float


@dataclass(frozen=True)
class NodeParameters:
    """Everything that the node is told; times in seconds, lengths in metres."""

    model: str
    cameras: tuple[CameraParameters, ...]
    autostart: bool
    sync: SyncConfig
    window: WindowParameters
    estimator: EstimatorConfig
    reference: ReferenceParameters
    rig_frame: str
    odometry_frame: str
    fused_frame: str
    cloud: CloudParameters
    odometry: OdometryParameters
    input_qos: QosParameters
    output_qos: QosParameters
    depth_millimetres: bool
    relative_suffix: str
    publish_tf: bool
    tf_prefix: str
    checks: CheckParameters
    viewer: ViewerParameters

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def wants_reference(self) -> bool:
        """Whether points of other sensors are of use: to the scale, or to the refinement."""
        estimator = self.estimator
        return estimator.scale.source in ("auto", "reference") or estimator.refinement.source in (
            "auto",
            "all",
            "measured",
        )


def _info_beside(topic: str) -> str:
    """Where an image's CameraInfo is published by convention."""
    space, slash, _ = topic.rpartition("/")
    return f"{space}{slash}camera_info" if topic else ""


def camera_names(get: Callable[[str], Any]) -> list[str]:
    """The value of `cameras`; raises ParameterError for names that cannot be part of a topic."""
    reader = Reader(get)
    names = reader.names("cameras")
    reader.finish()
    return names


def read_parameters(get: Callable[[str], Any]) -> NodeParameters:
    """Values as configurations; get: name -> value of a declared parameter. Raises ParameterError."""
    names = camera_names(get)
    reader = Reader(get)
    rig_frame = reader.frame("rig_frame")
    values: dict[str, Any] = {
        "model": reader.text("model"),
        "cameras": tuple(_camera(reader, name) for name in names),
        "autostart": reader.flag("autostart"),
        "window": WindowParameters(
            reader.whole("sync.window", 0), round(reader.number("sync.window_spacing", 0) * 1e9)
        ),
        "reference": ReferenceParameters(
            reader.text("scale.points_topic"),
            reader.text("scale.depth_topic"),
            reader.text("scale.depth_info_topic", empty=True) or _info_beside(reader.text("scale.depth_topic")),
            round(reader.number("scale.max_age", 0) * 1e9),
        ),
        "rig_frame": rig_frame,
        "odometry_frame": reader.frame("odometry_frame", empty=True),
        "fused_frame": reader.frame("fused_frame", empty=True) or rig_frame,
        "cloud": CloudParameters(
            reader.number("cloud.voxel_size", 0),
            reader.number("cloud.rate", 0),
            reader.flag("cloud.filter_edges"),
            reader.number("cloud.min_confidence", 0),
            reader.number("cloud.max_range", 0),
            reader.number("cloud.max_stddev", 0),
        ),
        "odometry": OdometryParameters(reader.frame("odometry.frame"), reader.flag("odometry.publish_tf")),
        "input_qos": QosParameters(reader.choice("input_qos", QOS), reader.whole("input_qos_depth", 1)),
        "output_qos": QosParameters(reader.choice("output_qos", QOS), reader.whole("output_qos_depth", 1)),
        "depth_millimetres": reader.flag("depth.millimetres"),
        "relative_suffix": reader.text("relative_suffix", empty=True),
        "publish_tf": reader.flag("publish_tf"),
        "tf_prefix": reader.text("tf.prefix"),
        "checks": CheckParameters(
            reader.number("diagnostics.period", 0, above=True),
            reader.number("diagnostics.max_latency", 0),
            reader.number("diagnostics.rig_check_period", 0),
            reader.number("diagnostics.rig_tolerance", 0, above=True),
            reader.number("watchdog.timeout", 0, above=True),
        ),
        "viewer": read_viewer(reader),
    }
    sync: dict[str, Any] = {
        "policy": reader.choice("sync.policy", POLICIES),
        "max_skew_ns": round(reader.number("sync.max_skew", 0) * 1e9),
        "allow_missing": reader.flag("sync.allow_missing"),
    }
    scale, pose, refinement, estimator = _scale(reader), _pose(reader), _refinement(reader), _estimator(reader)
    # Configurations check themselves, too: build them only from values that were accepted.
    reader.finish()
    matches = MatchesConfig(min_matches=pose["min_matches"])
    return NodeParameters(
        sync=SyncConfig(**sync),
        estimator=EstimatorConfig(
            scale=ScaleConfig(**scale),
            pose=PoseConfig(pose["source"], matches),
            refinement=RefinementConfig(**refinement),
            rig_check_period=values["checks"].rig_period,
            **estimator,
        ),
        **values,
    )


def _scale(reader: Reader) -> dict[str, Any]:
    values: dict[str, Any] = {
        "source": reader.choice("scale.source", SOURCES),
        "value": reader.number("scale.value", 0, above=True),
        "camera_height": reader.number("scale.camera_height", 0),
        "fit": reader.choice("scale.fit", FITS),
        "max_jump": reader.number("scale.max_jump", 0, above=True),
        "confirm": reader.whole("scale.confirm", 1),
        "min_matches": reader.whole("scale.min_matches", 8),
    }
    for name in ("period", "smoothing", "hold"):
        values[name] = reader.number(f"scale.{name}", 0)
    if values["source"] == "camera_height" and values["camera_height"] == 0:
        reader.refuse("scale.camera_height", 0.0, "metres above the ground, where scale.source is camera_height")
    return values


def _pose(reader: Reader) -> dict[str, Any]:
    return {
        "source": reader.choice("pose.source", POSE_SOURCES),
        "min_matches": reader.whole("pose.min_matches", 8),
    }


def _refinement(reader: Reader) -> dict[str, Any]:
    size = reader.whole("refinement.size", 0)
    if 0 < size < 64:
        reader.refuse("refinement.size", size, "0, or pixels >= 64")
    return {
        "source": reader.choice("refinement.source", REFINEMENTS),
        "size": size,
        "hypotheses": reader.whole("refinement.hypotheses", 8, 256),
        "reach": reader.number("refinement.reach", 0.05, 2),
        "held_back": reader.number("refinement.held_back", 0.02, 0.5),
    }


def _estimator(reader: Reader) -> dict[str, Any]:
    low = reader.number("min_range", 0)
    return {
        "size": reader.whole("inference.size", 0, multiple=14),
        "threads": reader.whole("inference.threads", 0),
        "condition_on_poses": CONDITIONING[reader.choice("inference.condition_on_poses", tuple(CONDITIONING))],
        "min_range": low,
        "max_range": reader.number("max_range", low, above=True),
        "min_confidence": reader.number("min_confidence", 0),
        "full_resolution": reader.choice("depth.resolution", RESOLUTIONS) == "camera",
    }


def _camera(reader: Reader, name: str) -> CameraParameters:
    topic = reader.text(f"{name}.image_topic")
    transport = reader.choice(f"{name}.transport", TRANSPORTS)
    choice = reader.choice(f"{name}.rectified", RECTIFIED)
    rectified = is_rectified(topic) if choice == "auto" else choice == "true"
    plain = ""
    if transport == "compressed" and not topic.endswith(COMPRESSED):
        topic, plain = topic + COMPRESSED, topic
    return CameraParameters(
        name=name,
        image_topic=topic,
        plain_topic=plain,
        camera_info_topic=reader.text(f"{name}.camera_info_topic", empty=True),
        transport=transport,
        frame_id=reader.frame(f"{name}.frame_id", empty=True),
        rectified=rectified,
        rectified_said=choice != "auto" or rectified or says_raw(topic),
    )

# SPDX-License-Identifier: Apache-2.0
"""Parameters: one table of names, defaults and meanings; values read from it become frozen configurations.

Reading is free of ROS: it asks a function for values. A bad value is refused with what it is, what is
allowed and what to do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from da3_ros.estimation import EstimatorConfig, ScaleConfig
from da3_ros.estimation.scale import FITS, SOURCES
from da3_ros.sync import POLICIES, SyncConfig

TRANSPORTS = ("raw", "compressed")
RELIABILITIES = ("best_effort", "reliable")
RECTIFIED = ("auto", "true", "false")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class ParameterError(ValueError):
    """One or more parameters cannot be used; the message lists each with value, allowed set and remedy."""


@dataclass(frozen=True)
class Spec:
    """A parameter as it is declared."""

    name: str
    default: Any
    description: str
    allowed: str = ""


SPECS = (
    Spec("model", "da3-nano", "Model of the zoo, or the folder of an exported one.", "see `da3 models list`"),
    Spec("cameras", ["camera"], "Names of the cameras; the first one triggers.", "letters, digits and _"),
    Spec("autostart", True, "Configure and activate at start; false where a lifecycle manager does it."),
    Spec("sync.policy", "anchor", "How frames are matched.", ", ".join(POLICIES)),
    Spec("sync.max_skew", 0.02, "Largest time between matched frames, in seconds.", ">= 0"),
    Spec("sync.allow_missing", False, "Estimate sets that lack a camera's frame, one period later."),
    Spec("scale.source", "auto", "Where the metric scale comes from.", ", ".join(SOURCES)),
    Spec("scale.value", 1.0, "Metres in one unit of the network, for scale.source: given.", "> 0"),
    Spec("scale.fit", "auto", "Fit to the matches: with a shift, without, or as they ask.", ", ".join(FITS)),
    Spec("scale.period", 0.0, "Seconds between two estimates of the scale; 0: with every set.", ">= 0"),
    Spec("inference.size", 0, "Longest side of the network's input in pixels; 0: the model's.", "0 or n * 14"),
    Spec("inference.threads", 0, "Threads of a CPU engine; 0: every core.", ">= 0"),
    Spec("min_range", 0.05, "Nearer depth becomes -Inf, in metres.", ">= 0"),
    Spec("max_range", 50.0, "Farther depth becomes +Inf, in metres.", "> min_range"),
    Spec("min_confidence", 1.0, "Less confident depth becomes NaN.", ">= 0; the network's starts at 1"),
    Spec("rig_frame", "base_link", "Frame in which the cameras' poses are looked up.", "a TF frame"),
    Spec("fused_frame", "", "Frame of the fused cloud; empty: rig_frame.", "a TF frame, or empty"),
    Spec("cloud.voxel_size", 0.02, "Voxel of the fused cloud in metres; 0: no voxel grid.", ">= 0"),
    Spec("cloud.rate", 2.0, "Fused clouds a second at most; 0: one for each set.", ">= 0"),
    Spec("cloud.filter_edges", True, "Leave points at depth jumps out of the fused cloud."),
    Spec("depth.millimetres", False, "Also offer <camera>/depth/image_raw as 16UC1."),
    Spec("relative_suffix", "_relative", "Appended to frames while depth has no unit.", "text, or empty"),
    Spec("publish_tf", False, "Publish the estimated camera poses on /tf."),
    Spec("tf.prefix", "da3_", "Before a camera's frame in /tf: a frame has one parent only.", "not empty"),
    Spec("qos.image_reliability", "best_effort", "Of the image subscriptions.", ", ".join(RELIABILITIES)),
    Spec("qos.output_reliability", "reliable", "Of what is published.", ", ".join(RELIABILITIES)),
    Spec("qos.depth", 5, "Messages kept for each topic.", ">= 1"),
    Spec("diagnostics.period", 1.0, "Seconds between diagnostics.", "> 0"),
    Spec("watchdog.timeout", 2.0, "A camera silent for longer is not waited for, in seconds.", "> 0"),
)


def camera_specs(camera: str) -> tuple[Spec, ...]:
    """Parameters of one camera."""
    image, info = f"/{camera}/image_raw", f"/{camera}/camera_info"
    return (
        Spec(f"{camera}.image_topic", image, "Image; transport `compressed` adds /compressed to it."),
        Spec(f"{camera}.camera_info_topic", info, "Calibration; empty: none, the network guesses one."),
        Spec(f"{camera}.transport", "raw", "Image or CompressedImage.", ", ".join(TRANSPORTS)),
        Spec(f"{camera}.frame_id", "", "Optical frame; empty: the one in the image's header."),
        Spec(
            f"{camera}.rectified",
            "auto",
            "Image is rectified (P holds) or raw (K, D hold); auto: by `rect` in the topic's last name.",
            ", ".join(RECTIFIED),
        ),
    )


@dataclass(frozen=True)
class CameraParameters:
    """Where one camera's messages come from."""

    name: str
    image_topic: str
    camera_info_topic: str
    transport: str
    frame_id: str
    rectified: bool


@dataclass(frozen=True)
class CloudParameters:
    """The fused cloud: metres, clouds a second (0: each set)."""

    voxel_size: float
    rate: float
    filter_edges: bool


@dataclass(frozen=True)
class QosParameters:
    """Quality of service of images in and geometry out."""

    image_reliability: str
    output_reliability: str
    depth: int


@dataclass(frozen=True)
class NodeParameters:
    """Everything that the node is told; times in seconds, lengths in metres."""

    model: str
    cameras: tuple[CameraParameters, ...]
    autostart: bool
    sync: SyncConfig
    estimator: EstimatorConfig
    rig_frame: str
    fused_frame: str
    cloud: CloudParameters
    qos: QosParameters
    depth_millimetres: bool
    relative_suffix: str
    publish_tf: bool
    tf_prefix: str
    diagnostics_period: float
    watchdog_timeout: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(camera.name for camera in self.cameras)


def camera_names(get: Callable[[str], Any]) -> list[str]:
    """The value of `cameras`; raises ParameterError for names that cannot be part of a topic."""
    reader = _Reader(get)
    names = reader.names("cameras")
    reader.finish()
    return names


def read_parameters(get: Callable[[str], Any]) -> NodeParameters:
    """Values as configurations; get: name -> value of a declared parameter. Raises ParameterError."""
    names = camera_names(get)
    reader = _Reader(get)
    rig_frame = reader.text("rig_frame").lstrip("/")
    low = reader.number("min_range", 0)
    values: dict[str, Any] = {
        "model": reader.text("model"),
        "cameras": tuple(_camera(reader, name) for name in names),
        "autostart": reader.flag("autostart"),
        "rig_frame": rig_frame,
        "fused_frame": reader.text("fused_frame", empty=True).lstrip("/") or rig_frame,
        "cloud": CloudParameters(
            reader.number("cloud.voxel_size", 0),
            reader.number("cloud.rate", 0),
            reader.flag("cloud.filter_edges"),
        ),
        "qos": QosParameters(
            reader.choice("qos.image_reliability", RELIABILITIES),
            reader.choice("qos.output_reliability", RELIABILITIES),
            reader.whole("qos.depth", 1),
        ),
        "depth_millimetres": reader.flag("depth.millimetres"),
        "relative_suffix": reader.text("relative_suffix", empty=True),
        "publish_tf": reader.flag("publish_tf"),
        "tf_prefix": reader.text("tf.prefix"),
        "diagnostics_period": reader.number("diagnostics.period", 0, above=True),
        "watchdog_timeout": reader.number("watchdog.timeout", 0, above=True),
    }
    sync: dict[str, Any] = {
        "policy": reader.choice("sync.policy", POLICIES),
        "max_skew_ns": round(reader.number("sync.max_skew", 0) * 1e9),
        "allow_missing": reader.flag("sync.allow_missing"),
    }
    scale: dict[str, Any] = {
        "source": reader.choice("scale.source", SOURCES),
        "value": reader.number("scale.value", 0, above=True),
        "period": reader.number("scale.period", 0),
        "fit": reader.choice("scale.fit", FITS),
    }
    estimator: dict[str, Any] = {
        "size": reader.whole("inference.size", 0, multiple=14),
        "threads": reader.whole("inference.threads", 0),
        "min_range": low,
        "max_range": reader.number("max_range", low, above=True),
        "min_confidence": reader.number("min_confidence", 0),
    }
    # Configurations check themselves, too: build them only from values that were accepted.
    reader.finish()
    return NodeParameters(
        sync=SyncConfig(**sync), estimator=EstimatorConfig(scale=ScaleConfig(**scale), **estimator), **values
    )


def _camera(reader: _Reader, name: str) -> CameraParameters:
    topic = reader.text(f"{name}.image_topic")
    transport = reader.choice(f"{name}.transport", TRANSPORTS)
    choice = reader.choice(f"{name}.rectified", RECTIFIED)
    rectified = "rect" in topic.rsplit("/", maxsplit=1)[-1] if choice == "auto" else choice == "true"
    if transport == "compressed" and not topic.endswith("/compressed"):
        topic += "/compressed"
    return CameraParameters(
        name=name,
        image_topic=topic,
        camera_info_topic=reader.text(f"{name}.camera_info_topic", empty=True),
        transport=transport,
        frame_id=reader.text(f"{name}.frame_id", empty=True).lstrip("/"),
        rectified=rectified,
    )


class _Reader:
    """Reads and checks values; keeps what is wrong until `finish`, so that all of it is said at once."""

    def __init__(self, get: Callable[[str], Any]) -> None:
        self._get = get
        self._problems: list[str] = []

    def finish(self) -> None:
        if self._problems:
            raise ParameterError("; ".join(self._problems))

    def _refuse(self, name: str, value: Any, allowed: str) -> None:
        self._problems.append(
            f"parameter {name} = {value!r} is refused (allowed: {allowed}): "
            f"set it with -p {name}:=... or in the parameter file"
        )

    def flag(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            self._refuse(name, value, "true, false")
        return bool(value)

    def text(self, name: str, *, empty: bool = False) -> str:
        value = self._get(name)
        if not isinstance(value, str) or (not value and not empty):
            self._refuse(name, value, "a text" if empty else "a text that is not empty")
            return "?"
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        value = self._get(name)
        # `-p left.rectified:=true` arrives as a boolean.
        text = str(value).lower() if isinstance(value, bool) else value
        if text not in allowed:
            self._refuse(name, value, ", ".join(allowed))
            return allowed[0]
        return str(text)

    def number(self, name: str, lowest: float, *, above: bool = False) -> float:
        value = self._get(name)
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not good or value < lowest or (above and value == lowest):
            self._refuse(name, value, f"a number {'>' if above else '>='} {lowest:g}")
            return lowest + 1
        return float(value)

    def whole(self, name: str, lowest: int, *, multiple: int = 1) -> int:
        value = self._get(name)
        good = isinstance(value, int) and not isinstance(value, bool)
        if not good or value < lowest or value % multiple:
            kind = "a whole number" if multiple == 1 else f"a multiple of {multiple}"
            self._refuse(name, value, f"{kind} >= {lowest}")
            return lowest
        return int(value)

    def names(self, name: str) -> list[str]:
        values = self._get(name)
        good = isinstance(values, (list, tuple)) and len(values) > 0
        if not good or not all(isinstance(v, str) and _NAME.fullmatch(v) for v in values):
            self._refuse(name, values, "one or more names of letters, digits and _, beginning with a letter")
            return []
        if len(set(values)) != len(values):
            self._refuse(name, values, "each name once")
        return list(values)

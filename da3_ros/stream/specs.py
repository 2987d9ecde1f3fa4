# SPDX-License-Identifier: Apache-2.0
"""The table of parameters: names, defaults, meanings. Documentation and tests are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from da3_ros.estimation.pose import SOURCES as POSE_SOURCES
from da3_ros.estimation.refinement import SOURCES as REFINEMENTS
from da3_ros.estimation.scale import FITS, SOURCES
from da3_ros.sync import POLICIES

TRANSPORTS = ("raw", "compressed")
RECTIFIED = ("auto", "true", "false")
QOS = ("SENSOR_DATA", "DEFAULT", "SYSTEM_DEFAULT")
CONDITIONING = {"auto": None, "always": True, "never": False}
RESOLUTIONS = ("network", "camera")
VIEWERS = ("none", "spawn", "connect", "serve", "save")


@dataclass(frozen=True)
class Spec:
    """A parameter as it is declared."""

    name: str
    default: Any
    description: str
    allowed: str = ""
    live: bool = True
    """Whether it can change while the node is configured."""


SPECS = (
    Spec("model", "da3-nano", "Model of the zoo, or the folder of an exported one.", "see `da3 models list`", False),
    Spec("cameras", ["camera"], "Names of the cameras; the first one triggers.", "letters, digits and _", False),
    Spec("autostart", True, "Configure and activate at start; false where a lifecycle manager does it.", "", False),
    Spec("sync.policy", "anchor", "How frames are matched.", ", ".join(POLICIES)),
    Spec("sync.max_skew", 0.02, "Largest time between matched frames, in seconds.", ">= 0"),
    Spec("sync.allow_missing", False, "Estimate sets that lack a camera's frame, one period later."),
    Spec("sync.window", 0, "Past sets that the network sees beside the present one.", ">= 0"),
    Spec("sync.window_spacing", 0.0, "Least time between the sets of the window, in seconds.", ">= 0"),
    Spec("scale.source", "auto", "Where the metric scale comes from.", ", ".join(SOURCES)),
    Spec("scale.value", 1.0, "Metres in one unit of the network, for scale.source: given.", "> 0"),
    Spec("scale.camera_height", 0.0, "Height of the first camera above level ground in metres; 0: not known.", ">= 0"),
    Spec("scale.fit", "auto", "Fit to the samples: with a shift, without, or as they ask.", ", ".join(FITS)),
    Spec("scale.period", 0.0, "Seconds between two estimates of the scale; 0: with every set.", ">= 0"),
    Spec("scale.smoothing", 0.5, "Time constant of the scale's smoothing in seconds; 0: none.", ">= 0"),
    Spec("scale.hold", 2.0, "Seconds for which the last scale, once overdue, serves sets that tell none.", ">= 0"),
    Spec("scale.max_jump", 0.25, "A scale that differs by more than this share must be confirmed.", "> 0"),
    Spec("scale.confirm", 3, "Sets that must agree on a jump of the scale.", ">= 1"),
    Spec("scale.min_matches", 20, "Samples of metric depth that a scale needs.", ">= 8"),
    Spec(
        "scale.points_topic",
        "scale/points",
        "PointCloud2 of a LiDAR: for the scale, and for the refinement.",
        "",
        False,
    ),
    Spec("scale.depth_topic", "scale/depth", "Depth image of another sensor, for the same.", "", False),
    Spec("scale.depth_info_topic", "", "Its CameraInfo; empty: camera_info beside the depth image.", "", False),
    Spec("scale.max_age", 0.15, "Largest time between an image and its reference, in seconds.", ">= 0"),
    Spec("pose.source", "auto", "Where poses come from that TF does not have.", ", ".join(POSE_SOURCES)),
    Spec("pose.min_matches", 20, "Explained matches that a pose needs.", ">= 8"),
    Spec(
        "refinement.source",
        "auto",
        "What corrects the network's depth: views of known pose, points that sensors measured, or all of it.",
        ", ".join(REFINEMENTS),
    ),
    Spec(
        "refinement.size",
        0,
        "Longest side in pixels at which pairs side by side are matched; 0: thrice the network's.",
        "0 or >= 64",
    ),
    Spec("refinement.hypotheses", 48, "Depths that a sweep tries for a pixel, at most.", "8 to 256"),
    Spec("refinement.reach", 0.5, "Depth is sought this far from the network's, in its logarithm.", "0.05 to 2"),
    Spec(
        "refinement.held_back",
        0.15,
        "Share of the evidence that only checks the result; of fewer than 400 pieces a quarter, in turns.",
        "0.02 to 0.5",
    ),
    Spec("inference.size", 0, "Longest side of the network's input in pixels; 0: the model's.", "0 or n * 14", False),
    Spec("inference.threads", 0, "Threads of a CPU engine; 0: every core.", ">= 0", False),
    Spec(
        "inference.condition_on_poses",
        "auto",
        "Whether the network is given cameras that TF knows, of some views alone too; auto: as its model recommends.",
        ", ".join(CONDITIONING),
        False,
    ),
    Spec("min_range", 0.05, "Nearer depth becomes -Inf, in metres.", ">= 0"),
    Spec("max_range", 50.0, "Farther depth becomes +Inf, in metres.", "> min_range"),
    Spec("min_confidence", 1.0, "Less confident depth becomes NaN.", ">= 0; the network's starts at 1"),
    Spec("rig_frame", "base_link", "Frame in which the cameras' poses are looked up.", "a TF frame"),
    Spec("odometry_frame", "", "Frame in which the robot's own odometry moves rig_frame; empty: none.", "a TF frame"),
    Spec("fused_frame", "", "Frame of the fused cloud; empty: rig_frame.", "a TF frame, or empty"),
    Spec("cloud.voxel_size", 0.02, "Voxel of the fused cloud in metres; 0: no voxel grid.", ">= 0"),
    Spec("cloud.rate", 2.0, "Fused clouds a second at most; 0: one for each set.", ">= 0"),
    Spec("cloud.filter_edges", True, "Leave points at depth jumps out of the fused cloud."),
    Spec("cloud.min_confidence", 0.0, "Less confident points are left out of the fused cloud.", ">= 0"),
    Spec(
        "cloud.max_stddev",
        0.3,
        "Points whose depth has a standard deviation of more than this share of it are left out of the fused cloud; 0: "
        "none.",
        ">= 0",
    ),
    Spec("cloud.max_range", 0.0, "Farther points are left out of the fused cloud, in metres; 0: max_range.", ">= 0"),
    Spec("depth.millimetres", False, "Also offer <camera>/depth/image_raw as 16UC1.", "", False),
    Spec("depth.resolution", "network", "Size of depth and confidence images and clouds.", ", ".join(RESOLUTIONS)),
    Spec("relative_suffix", "_relative", "Appended to frames while depth has no unit.", "text, or empty"),
    Spec("publish_tf", False, "Publish the estimated camera poses on /tf.", "", False),
    Spec("tf.prefix", "da3_", "Before a camera's frame in /tf: a frame has one parent only.", "not empty"),
    Spec("odometry.frame", "da3_odom", "Frame of the topic odometry: where the cameras started.", "not empty"),
    Spec("odometry.publish_tf", False, "Publish odometry.frame -> rig_frame on /tf.", "", False),
    Spec("input_qos", "SENSOR_DATA", "Profile of the image and reference subscriptions.", ", ".join(QOS), False),
    Spec("input_qos_depth", 5, "Messages kept for each subscription.", ">= 1", False),
    Spec("output_qos", "DEFAULT", "Profile of what is published.", ", ".join(QOS), False),
    Spec("output_qos_depth", 5, "Messages kept for each publisher.", ">= 1", False),
    Spec("diagnostics.period", 1.0, "Seconds between diagnostics.", "> 0"),
    Spec("diagnostics.max_latency", 0.0, "WARN when stamp to publish takes longer, in seconds; 0: never.", ">= 0"),
    Spec("diagnostics.rig_check_period", 5.0, "Seconds between checks of the rig's calibration; 0: never.", ">= 0"),
    Spec(
        "diagnostics.rig_tolerance", 2.0, "Degrees by which cameras may seem turned; and 5 % of depth for each.", "> 0"
    ),
    Spec("watchdog.timeout", 2.0, "A camera silent for longer is not waited for, in seconds.", "> 0"),
    Spec(
        "viewer.mode",
        "none",
        "Show it in Rerun: start a viewer, connect to one, serve it to browsers, or save a file.",
        ", ".join(VIEWERS),
        False,
    ),
    Spec(
        "viewer.address",
        "",
        "For connect the viewer's URL, for save the file, else a port; empty: Rerun's own.",
        "a URL, NAME.rrd, a port, or empty",
        False,
    ),
    Spec("viewer.rate", 5.0, "Sets a second that are shown, at most.", "> 0", False),
    Spec("viewer.size", 480, "Longest side of what is shown, in pixels; 0: all of it.", "0 or >= 64", False),
)


def camera_specs(camera: str) -> tuple[Spec, ...]:
    """Parameters of one camera; none can change while the node is configured."""
    image, info = f"/{camera}/image_raw", f"/{camera}/camera_info"
    rectified = "Image is rectified (P holds) or raw (K, D hold); auto: by the word `rect` or `raw` in the topic."
    return (
        Spec(
            f"{camera}.image_topic",
            image,
            "Image; with transport `compressed` its topic, or that without /compressed.",
            "",
            False,
        ),
        Spec(f"{camera}.camera_info_topic", info, "Calibration; empty: none, the network guesses one.", "", False),
        Spec(f"{camera}.transport", "raw", "Image or CompressedImage.", ", ".join(TRANSPORTS), False),
        Spec(f"{camera}.frame_id", "", "Optical frame; empty: the one in the image's header.", "", False),
        Spec(f"{camera}.rectified", "auto", rectified, ", ".join(RECTIFIED), False),
    )

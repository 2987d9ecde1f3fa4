# SPDX-License-Identifier: Apache-2.0
import pytest

from da3_ros.stream.parameters import SPECS, ParameterError, camera_specs, read_parameters


def read(**changes):
    cameras = changes.get("cameras", ["left", "right"])
    values = {spec.name: spec.default for spec in SPECS}
    values["cameras"] = cameras
    for camera in cameras if isinstance(cameras, list) else []:
        values.update({spec.name: spec.default for spec in camera_specs(camera)})
    values.update({name.replace("__", "."): value for name, value in changes.items()})
    return read_parameters(values.__getitem__)


def test_defaults():
    parameters = read()
    assert parameters.names == ("left", "right")
    left = parameters.cameras[0]
    assert (left.image_topic, left.camera_info_topic) == ("/left/image_raw", "/left/camera_info")
    assert not left.rectified
    assert parameters.fused_frame == parameters.rig_frame == "base_link"
    assert parameters.sync.max_skew_ns == 20_000_000


CHANGES = {
    "model": ("da3-small", lambda p: p.model),
    "cameras": (["front"], lambda p: p.names),
    "autostart": (False, lambda p: p.autostart),
    "sync.policy": ("exact", lambda p: p.sync.policy),
    "sync.max_skew": (0.5, lambda p: p.sync.max_skew_ns),
    "sync.allow_missing": (True, lambda p: p.sync.allow_missing),
    "scale.source": ("none", lambda p: p.estimator.scale.source),
    "scale.value": (2.5, lambda p: p.estimator.scale.value),
    "scale.fit": ("scale", lambda p: p.estimator.scale.fit),
    "scale.period": (2.5, lambda p: p.estimator.scale.period),
    "inference.size": (252, lambda p: p.estimator.size),
    "inference.threads": (1, lambda p: p.estimator.threads),
    "min_range": (0.5, lambda p: p.estimator.min_range),
    "max_range": (20, lambda p: p.estimator.max_range),
    "min_confidence": (1.5, lambda p: p.estimator.min_confidence),
    "rig_frame": ("rig", lambda p: p.rig_frame),
    "fused_frame": ("map", lambda p: p.fused_frame),
    "cloud.voxel_size": (0.1, lambda p: p.cloud.voxel_size),
    "cloud.rate": (0, lambda p: p.cloud.rate),
    "cloud.filter_edges": (False, lambda p: p.cloud.filter_edges),
    "depth.millimetres": (True, lambda p: p.depth_millimetres),
    "relative_suffix": ("", lambda p: p.relative_suffix),
    "publish_tf": (True, lambda p: p.publish_tf),
    "tf.prefix": ("est_", lambda p: p.tf_prefix),
    "sync.window": (2, lambda p: p.window.size),
    "sync.window_spacing": (0.5, lambda p: p.window.spacing_ns),
    "scale.camera_height": (1.2, lambda p: p.estimator.scale.camera_height),
    "scale.smoothing": (0, lambda p: p.estimator.scale.smoothing),
    "scale.hold": (1, lambda p: p.estimator.scale.hold),
    "scale.max_jump": (0.5, lambda p: p.estimator.scale.max_jump),
    "scale.confirm": (5, lambda p: p.estimator.scale.confirm),
    "scale.min_matches": (30, lambda p: p.estimator.scale.min_matches),
    "scale.points_topic": ("/velodyne_points", lambda p: p.reference.points_topic),
    "scale.depth_topic": ("/depth", lambda p: p.reference.depth_topic),
    "scale.depth_info_topic": ("/info", lambda p: p.reference.depth_info_topic),
    "scale.max_age": (0.5, lambda p: p.reference.max_age_ns),
    "pose.source": ("network", lambda p: p.estimator.pose.source),
    "pose.min_matches": (30, lambda p: p.estimator.pose.matches.min_matches),
    "refinement.source": ("none", lambda p: p.estimator.refinement.source),
    "refinement.size": (320, lambda p: p.estimator.refinement.size),
    "refinement.hypotheses": (64, lambda p: p.estimator.refinement.hypotheses),
    "refinement.reach": (1, lambda p: p.estimator.refinement.reach),
    "refinement.held_back": (0.3, lambda p: p.estimator.refinement.held_back),
    "odometry_frame": ("odom", lambda p: p.odometry_frame),
    "cloud.min_confidence": (1.5, lambda p: p.cloud.min_confidence),
    "cloud.max_range": (5, lambda p: p.cloud.max_range),
    "cloud.max_stddev": (0.1, lambda p: p.cloud.max_stddev),
    "inference.condition_on_poses": ("never", lambda p: p.estimator.condition_on_poses),
    "depth.resolution": ("camera", lambda p: p.estimator.full_resolution),
    "odometry.frame": ("vo", lambda p: p.odometry.frame),
    "odometry.publish_tf": (True, lambda p: p.odometry.publish_tf),
    "input_qos": ("DEFAULT", lambda p: p.input_qos.profile),
    "input_qos_depth": (1, lambda p: p.input_qos.depth),
    "output_qos": ("SENSOR_DATA", lambda p: p.output_qos.profile),
    "output_qos_depth": (1, lambda p: p.output_qos.depth),
    "diagnostics.period": (0.5, lambda p: p.checks.period),
    "diagnostics.max_latency": (0.5, lambda p: p.checks.max_latency),
    "diagnostics.rig_check_period": (0, lambda p: (p.checks.rig_period, p.estimator.rig_check_period)),
    "diagnostics.rig_tolerance": (5, lambda p: p.checks.rig_tolerance_deg),
    "watchdog.timeout": (5, lambda p: p.checks.watchdog_timeout),
    "viewer.mode": ("serve", lambda p: p.viewer.mode),
    "viewer.address": (9091, lambda p: p.viewer.address),
    "viewer.rate": (2, lambda p: p.viewer.rate),
    "viewer.size": (0, lambda p: p.viewer.size),
    "left.image_topic": ("/a/image", lambda p: p.cameras[0].image_topic),
    "left.camera_info_topic": ("", lambda p: p.cameras[0].camera_info_topic),
    "left.transport": ("compressed", lambda p: (p.cameras[0].transport, p.cameras[0].image_topic)),
    "left.frame_id": ("cam", lambda p: p.cameras[0].frame_id),
    "left.rectified": ("true", lambda p: p.cameras[0].rectified),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_is_read(name):
    value, pick = CHANGES[name]
    assert pick(read(**{name: value})) != pick(read())


def test_the_table_above_is_complete():
    declared = {spec.name for spec in SPECS} | {spec.name for spec in camera_specs("left")}
    assert declared == set(CHANGES)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "sync.policy",
            "nearest",
            ["sync.policy = 'nearest'", "anchor, exact, approximate, latest", "-p sync.policy:="],
        ),
        ("sync.max_skew", -0.1, ["sync.max_skew = -0.1", ">= 0"]),
        ("sync.max_skew", "fast", ["'fast'", "a number"]),
        ("inference.size", 500, ["inference.size = 500", "a multiple of 14"]),
        ("inference.threads", -1, ["inference.threads = -1"]),
        ("max_range", 0.01, ["max_range = 0.01", "> 0.05"]),
        ("max_range", float("nan"), ["max_range = nan"]),
        ("autostart", "yes", ["autostart = 'yes'", "true, false"]),
        ("model", "", ["model = ''"]),
        ("watchdog.timeout", 0, ["watchdog.timeout = 0", "> 0"]),
        ("left.transport", "theora", ["left.transport = 'theora'", "raw, compressed"]),
        ("scale.source", "lidar", ["scale.source = 'lidar'", "auto, reference, rig"]),
        ("scale.source", "camera_height", ["scale.camera_height = 0.0", "metres above the ground"]),
        ("input_qos", "best_effort", ["input_qos = 'best_effort'", "SENSOR_DATA, DEFAULT"]),
        ("pose.source", "gps", ["pose.source = 'gps'", "auto, calibrated, network, rays, matches"]),
        ("refinement.source", "lidar", ["refinement.source = 'lidar'", "auto, all, views, measured, none"]),
        ("refinement.size", 32, ["refinement.size = 32", "0, or pixels >= 64"]),
        ("refinement.hypotheses", 4, ["refinement.hypotheses = 4", "a whole number >= 8 and <= 256"]),
        ("refinement.hypotheses", 300, ["refinement.hypotheses = 300", "<= 256"]),
        ("refinement.reach", 3, ["refinement.reach = 3", "a number >= 0.05 and <= 2"]),
        ("refinement.held_back", 0.0, ["refinement.held_back = 0.0", ">= 0.02 and <= 0.5"]),
        ("viewer.mode", "rerun", ["viewer.mode = 'rerun'", "none, spawn, connect, serve, save"]),
        ("viewer.mode", "save", ["viewer.address = ''", "a file whose name ends in .rrd, where viewer.mode is save"]),
        ("viewer.rate", 0, ["viewer.rate = 0", "> 0"]),
        ("viewer.size", 32, ["viewer.size = 32", "0, or pixels >= 64"]),
        ("cameras", [], ["cameras = []", "one or more names"]),
        ("cameras", ["front-left"], ["front-left", "letters, digits"]),
        ("cameras", ["a", "a"], ["each name once"]),
        ("cameras", "left", ["cameras = 'left'"]),
    ],
)
def test_refusals_name_value_allowed_and_remedy(name, value, words):
    with pytest.raises(ParameterError) as caught:
        read(**{name: value})
    for word in words:
        assert word in str(caught.value)


def test_what_is_within_the_limits_is_taken_as_it_is():
    limits = {"refinement.hypotheses": (8, 256), "refinement.reach": (0.05, 2), "refinement.held_back": (0.02, 0.5)}
    for name, values in limits.items():
        for value in values:
            assert getattr(read(**{name: value}).estimator.refinement, name.partition(".")[2]) == value


def test_all_problems_are_said_at_once():
    with pytest.raises(ParameterError, match=r"output_qos_depth = 0.*sync.policy = 'x'"):
        read(**{"sync.policy": "x", "output_qos_depth": 0})


@pytest.mark.parametrize(
    ("topic", "value", "expected"),
    [
        ("/left/image_raw", "auto", False),
        ("/left/image_rect", "auto", True),
        ("/left/image_rect_color", "auto", True),
        ("/rectified_rig/image_raw", "auto", False),
        ("/left/image_raw", "true", True),
        ("/left/image_raw", True, True),
        ("/left/image_rect", "false", False),
    ],
)
def test_rectified(topic, value, expected):
    parameters = read(**{"left.image_topic": topic, "left.rectified": value})
    assert parameters.cameras[0].rectified is expected


def test_compressed_topic():
    assert read(**{"left.transport": "compressed"}).cameras[0].image_topic == "/left/image_raw/compressed"
    given = {"left.transport": "compressed", "left.image_topic": "/left/jpeg/compressed"}
    assert read(**given).cameras[0].image_topic == "/left/jpeg/compressed"

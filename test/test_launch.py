# SPDX-License-Identifier: Apache-2.0
"""The launch files: with the real launch packages where they are, and otherwise with a stand-in that records."""

import importlib.util
import json
import re
import sys
import types
from pathlib import Path

import pytest
import yaml
from topics import CAMERA_TOPICS

import da3_ros
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(path.name.split(".")[0] for path in (ROOT / "launch").glob("*.launch.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(f"{name}_launch", ROOT / "launch" / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorded:
    def __init__(self, *arguments, **options):
        self.arguments, self.options = arguments, options


class Configuration(Recorded):
    def perform(self, context):
        return context[self.arguments[0]]


class Joined(Recorded):
    def perform(self, context):
        return "/".join(part if isinstance(part, str) else "<here>" for part in self.arguments[0])


@pytest.fixture
def launch_file(monkeypatch):
    """Loads a launch file by name, on a stand-in for the launch packages."""

    def stand_in(name, *classes, **content):
        module = types.ModuleType(name)
        module.__dict__.update({kind: type(kind, (Recorded,), {}) for kind in classes}, **content)
        monkeypatch.setitem(sys.modules, name, module)

    actions = ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable", "IncludeLaunchDescription")
    stand_in("launch")
    stand_in("launch.launch_description", "LaunchDescription")
    stand_in("launch.actions", *actions, "ExecuteProcess", "TimerAction")
    substitutions = {"LaunchConfiguration": Configuration, "PathJoinSubstitution": Joined}
    stand_in("launch.substitutions", "ThisLaunchFileDir", **substitutions)
    stand_in("launch.launch_description_sources", "PythonLaunchDescriptionSource")
    stand_in("launch_ros")
    stand_in("launch_ros.actions", "Node")
    stand_in("launch_ros.substitutions", "FindPackageShare")
    # What it has imported must be these, and be gone after the test.
    monkeypatch.setitem(sys.modules, "da3_ros.launching", None)
    monkeypatch.setattr(da3_ros, "launching", None, raising=False)
    del sys.modules["da3_ros.launching"], da3_ros.launching
    return load


def run(launch_file, **changes):
    """Actions for the given arguments, by the name of their class."""
    description = launch_file.generate_launch_description()
    entities = description.arguments[0]
    values = {e.arguments[0]: e.options["default_value"] for e in entities if "default_value" in e.options}
    assert set(changes) <= set(values)
    [function] = [e.options["function"] for e in entities if "function" in e.options]
    return {type(action).__name__: action for action in function({**values, **changes})}


def included(actions, name="multi_cam"):
    """Arguments that a launch file hands to the last one that it includes."""
    include = actions["IncludeLaunchDescription"]
    joined = include.arguments[0].arguments[0].arguments[0]
    assert joined[1] == f"{name}.launch.py"
    return dict(include.options["launch_arguments"])


def parameters_of(path):
    """Parameters of a file by their full names, and its cameras."""

    def flatten(tree, prefix=""):
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flatten(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    found = dict(flatten(yaml.safe_load(path.read_text())["/**"]["ros__parameters"]))
    return found, found["cameras"]


def known_parameters(cameras):
    return {spec.name for spec in (*SPECS, *(spec for camera in cameras for spec in camera_specs(camera)))}


def test_defaults(launch_file):
    actions = run(launch_file("multi_cam"))
    node = actions["Node"].options
    assert (node["package"], node["executable"], node["name"], node["namespace"]) == (
        "da3_ros", "multi_cam", "multi_cam", "da3",
    )  # fmt: skip
    assert node["parameters"] == [{"use_sim_time": False}]
    assert node["remappings"] == []
    name, value = actions["SetEnvironmentVariable"].arguments
    assert name == "FASTDDS_BUILTIN_TRANSPORTS"
    assert value.startswith("LARGE_DATA?")


def test_arguments(launch_file):
    node = run(
        launch_file("multi_cam"),
        params_file="/tmp/rig.yaml",
        model="da3-small",
        cameras="[front, left]",
        use_sim_time="true",
        parameters="{max_range: 8.0, front.image_topic: /usb}",
        remappings="{/da3/points: /cloud}",
    )["Node"].options
    assert node["parameters"] == [
        "/tmp/rig.yaml",
        {
            "use_sim_time": True,
            "max_range": 8.0,
            "front.image_topic": "/usb",
            "model": "da3-small",
            "cameras": ["front", "left"],
        },
    ]
    assert node["remappings"] == [("/da3/points", "/cloud")]


def test_what_is_no_mapping_is_refused(launch_file):
    with pytest.raises(ValueError, match=r"parameters:=.*YAML mapping"):
        run(launch_file("multi_cam"), parameters="max_range=8")


def test_what_is_neither_true_nor_false_is_refused(launch_file):
    with pytest.raises(ValueError, match="use_sim_time:=yes must be true or false"):
        run(launch_file("multi_cam"), use_sim_time="yes")
    with pytest.raises(ValueError, match="driver:=no must be true or false"):
        run(launch_file("zed"), driver="no")


def test_a_driver_can_be_left_out(launch_file):
    description = launch_file("zed").generate_launch_description()
    [function] = [e.options["function"] for e in description.arguments[0] if "function" in e.options]
    values = {a.name: a.default for a in launch_file("zed").ARGUMENTS}
    assert len(function(values)) == 2
    assert len(function({**values, "driver": "false"})) == 1


def test_transports_can_be_left_alone(launch_file):
    assert "SetEnvironmentVariable" not in run(launch_file("multi_cam"), fastdds_transports="")


def test_one_camera(launch_file):
    actions = run(launch_file("mono_cam"), image="/rgb", camera_info="/info", parameters="{scale.source: given}")
    passed = included(actions)
    assert passed["cameras"] == "[camera]"
    parameters = yaml.safe_load(passed["parameters"])
    assert parameters["camera.image_topic"] == "/rgb"
    assert parameters["camera.camera_info_topic"] == "/info"
    assert parameters["scale.source"] == "given"


def test_nav2(launch_file):
    passed = included(run(launch_file("nav2"), max_range="6"), "mono_cam")
    assert yaml.safe_load(passed["remappings"])["/da3/camera/points"] == "/pipeline/points"
    assert yaml.safe_load(passed["parameters"])["max_range"] == 6.0
    assert passed["model"] == "da3metric-large"


def test_the_costmap_clears_as_far_as_it_marks(launch_file):
    costmap = yaml.safe_load((ROOT / "config" / "nav2_costmap.yaml").read_text())["local_costmap"]["local_costmap"]
    source = costmap["ros__parameters"]["voxel_layer"]["da3"]
    passed = included(run(launch_file("nav2")), "mono_cam")
    assert source["raytrace_max_range"] >= source["obstacle_max_range"]
    assert source["obstacle_max_range"] <= yaml.safe_load(passed["parameters"])["max_range"]
    assert source["topic"] == yaml.safe_load(passed["remappings"])["/da3/camera/points"]


def test_stereo(launch_file):
    stereo = launch_file("stereo")
    actions = run(stereo, left="/zed/left/image_rect", right_info="/info", transport="compressed", rig_frame="body")
    assert "Node" not in actions
    parameters = yaml.safe_load(included(actions)["parameters"])
    assert parameters["rig_frame"] == "body"
    assert parameters["left.camera_info_topic"] == "/zed/left/camera_info"
    assert parameters["right.camera_info_topic"] == "/info"
    assert parameters["right.transport"] == "compressed"


def test_a_baseline_takes_the_place_of_tf(launch_file):
    stereo = launch_file("stereo")
    actions = run(stereo, baseline="0.12", left_frame="l", right_frame="r")
    node = actions["Node"].options
    assert (node["package"], node["executable"]) == ("tf2_ros", "static_transform_publisher")
    assert node["arguments"] == ["--x", "0.12", "--frame-id", "l", "--child-frame-id", "r"]
    parameters = yaml.safe_load(included(actions)["parameters"])
    assert (parameters["rig_frame"], parameters["right.frame_id"]) == ("l", "r")
    with pytest.raises(ValueError, match="needs left_frame and right_frame"):
        run(stereo, baseline="0.12", left_frame="l")


def test_replay(launch_file):
    replay = launch_file("replay")
    actions = run(replay, bag="walk/", loop="true", rate="0.5", cameras="[front]")
    passed = included(actions)
    assert (passed["use_sim_time"], passed["cameras"]) == ("true", "[front]")
    timer = actions["TimerAction"].options
    assert timer["period"] == 3.0
    command = timer["actions"][0].options["cmd"]
    assert command == ["ros2", "bag", "play", "walk/", "--clock", "100", "--rate", "0.5", "--loop"]
    rviz = actions["Node"].options
    assert rviz["executable"] == "rviz2"
    assert rviz["arguments"][1].endswith("config/multi_cam.rviz")
    assert run(replay, bag="walk/", viewer="foxglove")["Node"].options["package"] == "foxglove_bridge"
    assert "Node" not in run(replay, bag="walk/", viewer="none")
    with pytest.raises(ValueError, match="name the recording"):
        run(replay)
    with pytest.raises(ValueError, match="viewer:=xv is unknown: choose one of none, rviz, foxglove"):
        run(replay, bag="walk/", viewer="xv")


def test_usb_cam(launch_file):
    actions = run(launch_file("usb_cam"), device="/dev/video2", size="640x480", calibration="file:///c.yaml")
    node = actions["Node"].options
    assert (node["package"], node["namespace"]) == ("usb_cam", "camera")
    [driver] = node["parameters"]
    assert (driver["video_device"], driver["image_width"], driver["image_height"]) == ("/dev/video2", 640, 480)
    assert driver["camera_info_url"] == "file:///c.yaml"
    assert included(actions, "mono_cam")["camera_info"] == "/camera/camera_info"
    assert included(run(launch_file("usb_cam"), uncalibrated="true"), "mono_cam")["camera_info"] == ""


@pytest.mark.parametrize("name", ["realsense", "zed"])
def test_drivers_with_a_parameter_file_of_their_own(launch_file, name):
    passed = included(run(launch_file(name)))
    assert passed["params_file"].endswith(f"config/{name}.yaml")
    assert (ROOT / "config" / f"{name}.yaml").is_file()
    assert included(run(launch_file(name), params_file="/mine.yaml"))["params_file"] == "/mine.yaml"
    description = launch_file(name).generate_launch_description()
    assert len(description.arguments[0]) == len(launch_file(name).ARGUMENTS) + 1


REQUIRED = {"replay": {"bag": "walk/"}}
INCLUDED = {"usb_cam": "mono_cam", "nav2": "mono_cam"}


@pytest.mark.parametrize("name", [name for name in FILES if name != "multi_cam"])
def test_the_node_knows_all_that_is_passed(launch_file, name):
    """Parameters that it declares, topics that it publishes, arguments of the included file."""
    target = INCLUDED.get(name, "multi_cam")
    passed = included(run(launch_file(name), **REQUIRED.get(name, {})), target)
    declared = {argument for argument, _, _ in load(target).ARGUMENTS}
    assert set(passed) <= declared
    cameras = yaml.safe_load(passed.get("cameras") or "[camera]")
    assert set(yaml.safe_load(passed["parameters"])) <= known_parameters(cameras)
    topics = {f"/da3/camera/{topic}" for topic in CAMERA_TOPICS}
    assert set(yaml.safe_load(passed.get("remappings", "{}"))) <= topics


@pytest.mark.parametrize("name", ["multi_cam", "realsense", "zed", "six_cameras"])
def test_parameter_files(name):
    """Every name is a parameter, every value is accepted."""
    values, cameras = parameters_of(ROOT / "config" / f"{name}.yaml")
    specs = {spec.name: spec.default for spec in (*SPECS, *(s for camera in cameras for s in camera_specs(camera)))}
    assert set(values) <= set(specs)
    parameters = read_parameters(lambda parameter: values.get(parameter, specs[parameter]))
    assert list(parameters.names) == cameras


def test_the_foxglove_layout_shows_topics_of_the_node():
    text = (ROOT / "config" / "multi_cam.foxglove.json").read_text()
    layout = json.loads(text)

    def leaves(tree):
        return [tree] if isinstance(tree, str) else leaves(tree["first"]) + leaves(tree["second"])

    assert sorted(leaves(layout["layout"])) == sorted(layout["configById"])
    known = {f"/da3/left/{topic}" for topic in CAMERA_TOPICS} | {"/da3/points", "/da3/odometry", "/da3/latency"}
    assert set(re.findall(r'"(/da3/[\w/]+)', text)) <= known


@pytest.mark.parametrize("name", FILES)
def test_with_the_real_launch_packages(name):
    launch = pytest.importorskip("launch")
    pytest.importorskip("launch_ros")
    context = launch.LaunchContext()
    description = load(name).generate_launch_description()
    declared = [entity for entity in description.entities if isinstance(entity, launch.actions.DeclareLaunchArgument)]
    for entity in declared:
        entity.visit(context)
    assert context.launch_configurations["model"] in ("", "da3metric-large")

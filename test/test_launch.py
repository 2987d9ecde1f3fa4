# SPDX-License-Identifier: Apache-2.0
"""The launch files: with the real launch packages where they are, and otherwise with a stand-in that records."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest
import yaml
from topics import CAMERA_TOPICS

from da3_ros.stream.parameters import SPECS, camera_specs

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


@pytest.fixture
def launch_file(monkeypatch):
    """Loads a launch file by name, on a stand-in for the launch packages."""

    def stand_in(name, *classes, **content):
        module = types.ModuleType(name)
        module.__dict__.update({kind: type(kind, (Recorded,), {}) for kind in classes}, **content)
        monkeypatch.setitem(sys.modules, name, module)

    actions = ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable", "IncludeLaunchDescription")
    stand_in("launch", "LaunchDescription")
    stand_in("launch.actions", *actions)
    stand_in("launch.substitutions", "PathJoinSubstitution", "ThisLaunchFileDir", LaunchConfiguration=Configuration)
    stand_in("launch.launch_description_sources", "PythonLaunchDescriptionSource")
    stand_in("launch_ros")
    stand_in("launch_ros.actions", "Node")
    return load


def run(launch_file, **changes):
    """Actions for the given arguments, by the name of their class."""
    description = launch_file.generate_launch_description()
    entities = description.arguments[0]
    values = {e.arguments[0]: e.options["default_value"] for e in entities if "default_value" in e.options}
    assert set(changes) <= set(values)
    [function] = [e.options["function"] for e in entities if "function" in e.options]
    return {type(action).__name__: action for action in function({**values, **changes})}


def included(actions):
    """Arguments that a launch file hands to multi_cam.launch.py."""
    include = actions["IncludeLaunchDescription"]
    joined = include.arguments[0].arguments[0].arguments[0]
    assert joined[1] == "multi_cam.launch.py"
    return dict(include.options["launch_arguments"])


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
    passed = included(run(launch_file("nav2"), max_range="6"))
    assert yaml.safe_load(passed["remappings"])["/da3/camera/points"] == "/pipeline/points"
    assert yaml.safe_load(passed["parameters"])["max_range"] == 6.0
    assert passed["model"] == "da3metric-large"


def test_the_costmap_clears_as_far_as_it_marks(launch_file):
    costmap = yaml.safe_load((ROOT / "config" / "nav2_costmap.yaml").read_text())["local_costmap"]["local_costmap"]
    source = costmap["ros__parameters"]["voxel_layer"]["da3"]
    passed = included(run(launch_file("nav2")))
    assert source["raytrace_max_range"] >= source["obstacle_max_range"]
    assert source["obstacle_max_range"] <= yaml.safe_load(passed["parameters"])["max_range"]
    assert source["topic"] == yaml.safe_load(passed["remappings"])["/da3/camera/points"]


@pytest.mark.parametrize("name", [name for name in FILES if name != "multi_cam"])
def test_the_node_knows_all_that_is_passed(launch_file, name):
    """Parameters that it declares, topics that it publishes, arguments of the included file."""
    passed = included(run(launch_file(name)))
    declared = {argument for argument, _, _ in load("multi_cam").ARGUMENTS}
    assert set(passed) <= declared
    known = {spec.name for spec in (*SPECS, *camera_specs("camera"))}
    assert set(yaml.safe_load(passed["parameters"])) <= known
    topics = {f"/da3/camera/{topic}" for topic in CAMERA_TOPICS}
    assert set(yaml.safe_load(passed.get("remappings", "{}"))) <= topics


@pytest.mark.parametrize("name", FILES)
def test_with_the_real_launch_packages(name):
    launch = pytest.importorskip("launch")
    pytest.importorskip("launch_ros")
    context = launch.LaunchContext()
    description = load(name).generate_launch_description()
    declared = [entity for entity in description.entities if isinstance(entity, launch.actions.DeclareLaunchArgument)]
    for entity in declared:
        entity.visit(context)
    assert context.launch_configurations["use_sim_time"] == "false"

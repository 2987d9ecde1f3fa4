# SPDX-License-Identifier: Apache-2.0
"""The launch file: with the real launch packages where they are, and otherwise with a stand-in that
records.
"""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "launch" / "multi_cam.launch.py"


def load():
    spec = importlib.util.spec_from_file_location("multi_cam_launch", FILE)
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
    def stand_in(name, **content):
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)

    names = ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable", "Node", "LaunchDescription")
    kinds = {name: type(name, (Recorded,), {}) for name in names}
    stand_in("launch", LaunchDescription=kinds["LaunchDescription"])
    stand_in("launch.actions", **{name: kinds[name] for name in names[:3]})
    stand_in("launch.substitutions", LaunchConfiguration=Configuration)
    stand_in("launch_ros")
    stand_in("launch_ros.actions", Node=kinds["Node"])
    return load()


def run(launch_file, **changes):
    """Actions for the given arguments, by the name of their class."""
    description = launch_file.generate_launch_description()
    entities = description.arguments[0]
    values = {e.arguments[0]: e.options["default_value"] for e in entities if "default_value" in e.options}
    assert set(changes) <= set(values)
    [function] = [e.options["function"] for e in entities if "function" in e.options]
    return {type(action).__name__: action for action in function({**values, **changes})}


def test_defaults(launch_file):
    actions = run(launch_file)
    node = actions["Node"].options
    assert (node["package"], node["executable"], node["name"], node["namespace"]) == (
        "da3_ros", "multi_cam", "multi_cam", "da3",
    )  # fmt: skip
    assert node["parameters"] == [{"use_sim_time": False}]
    name, value = actions["SetEnvironmentVariable"].arguments
    assert name == "FASTDDS_BUILTIN_TRANSPORTS"
    assert value.startswith("LARGE_DATA?")


def test_arguments(launch_file):
    node = run(
        launch_file,
        params_file="/tmp/rig.yaml",
        model="da3-small",
        cameras="[front, left]",
        use_sim_time="true",
    )["Node"].options
    assert node["parameters"] == [
        "/tmp/rig.yaml",
        {"use_sim_time": True, "model": "da3-small", "cameras": ["front", "left"]},
    ]


def test_transports_can_be_left_alone(launch_file):
    assert "SetEnvironmentVariable" not in run(launch_file, fastdds_transports="")


def test_with_the_real_launch_packages():
    launch = pytest.importorskip("launch")
    pytest.importorskip("launch_ros")
    context = launch.LaunchContext()
    description = load().generate_launch_description()
    for entity in description.entities:
        entity.visit(context)
    assert context.launch_configurations["namespace"] == "da3"

# SPDX-License-Identifier: Apache-2.0
"""What the files in `launch/` share: arguments as a table, and one file that starts another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.substitutions import FindPackageShare


class Argument(NamedTuple):
    """An argument of a launch file."""

    name: str
    default: str
    description: str


TRANSPORT = Argument("transport", "raw", "raw or compressed (adds /compressed to the topic).")
MODEL = Argument("model", "", "Model of the zoo or folder of an exported one; empty: da3-nano.")
CAMERAS = Argument("cameras", "", "List of camera names, such as [left, right]; empty: the parameter file's.")
PARAMS_FILE = Argument("params_file", "", "YAML file of parameters; empty: the defaults.")
PARAMETERS = Argument("parameters", "{}", "YAML mapping of further parameters by their full names.")
REMAPPINGS = Argument("remappings", "{}", "YAML mapping of topic names, such as {/da3/camera/points: /points}.")
USE_SIM_TIME = Argument("use_sim_time", "false", "Take the time from /clock.")
VIEWER = Argument("viewer", "none", "none, or rerun: started here; elsewhere, in a browser, to a file: viewer.mode.")
DRIVER = Argument("driver", "true", "Start the driver, too.")

VIEWERS = ("none", "rerun")

Actions = Callable[[Any, dict[str, str]], list[Any]]


def describe(arguments: Sequence[Argument], start: Actions) -> Any:
    """A launch description of these arguments.

    start: is given the launch context and the values of the arguments by name, once they are known; returns actions.
    """

    def act(context: Any) -> list[Any]:
        values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments}
        return start(context, values)

    declared = [
        DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description)
        for argument in arguments
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=act)])


def include(context: Any, name: str, arguments: Mapping[str, str]) -> Any:
    """Start another launch file of this package: ``<name>.launch.py``."""
    # Now, and not when it is visited: a driver's file that is included before would have moved ThisLaunchFileDir.
    path = PathJoinSubstitution([ThisLaunchFileDir(), f"{name}.launch.py"]).perform(context)
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=dict(arguments).items())


def config_file(context: Any, name: str) -> str:
    """Path of a file in `config/` of this package."""
    return str(PathJoinSubstitution([ThisLaunchFileDir(), "..", "config", name]).perform(context))


def is_true(values: Mapping[str, str], name: str) -> bool:
    """Whether the argument `name` is true; raises ValueError for anything but true and false."""
    text = values[name].lower()
    if text not in ("true", "false"):
        raise ValueError(f"{name}:={values[name]} must be true or false")
    return text == "true"


def mapping(name: str, text: str) -> dict[str, Any]:
    """A YAML mapping given as the argument `name`, empty for nothing; raises ValueError for anything else."""
    found = yaml.safe_load(text)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f'{name}:="{text}" must be a YAML mapping, such as "{{min_range: 0.3, max_range: 8.0}}"')
    return found


def viewer(values: Mapping[str, str]) -> dict[str, Any]:
    """Parameters of the node for the argument ``viewer``, of which further ``parameters`` may think otherwise; raises
    ValueError for a viewer that is not known.
    """
    if values["viewer"] not in VIEWERS:
        raise ValueError(f"viewer:={values['viewer']} is unknown: choose one of {', '.join(VIEWERS)}")
    return {} if values["viewer"] == "none" else {"viewer.mode": "spawn"}


def with_driver(
    context: Any,
    values: Mapping[str, str],
    config: str,
    package: str,
    file: str,
    options: Mapping[str, str],
) -> list[Any]:
    """A camera's driver, unless ``driver`` is false, and the node with the parameters for it.

    values: of `DRIVER`, `MODEL`, `PARAMS_FILE`, `PARAMETERS` and `VIEWER`. config: file in `config/` that stands in for
    an empty ``params_file``. package, file, options: the driver's launch file and what it is given.
    """
    actions = []
    if is_true(values, "driver"):
        path = PathJoinSubstitution([FindPackageShare(package), "launch", file])
        source = PythonLaunchDescriptionSource(path)
        driver = IncludeLaunchDescription(source, launch_arguments=dict(options).items())
        # What its launch file sets, such as a namespace or the clock, is not meant for our node.
        actions.append(GroupAction([driver], scoped=True))
    passed = {name: values[name] for name in ("model", "parameters", "viewer")}
    passed["params_file"] = values["params_file"] or config_file(context, config)
    return [*actions, include(context, "multi_cam", passed)]

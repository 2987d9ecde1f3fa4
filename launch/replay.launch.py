# SPDX-License-Identifier: Apache-2.0
"""A recording into the live node, and a viewer.

    ros2 launch da3_ros replay.launch.py bag:=recording/ params_file:=rig.yaml viewer:=foxglove

The node takes its time from the recording, so that transforms, scale and windows work as they did then, also when it
loops. A node that is slower than the recording drops frames: `rate:=0.2` plays slower, and `da3 bag` drops none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launch.actions import ExecuteProcess, TimerAction
from launch_ros.actions import Node

from da3_ros import launching
from da3_ros.launching import CAMERAS, MODEL, PARAMETERS, PARAMS_FILE, Argument

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_context import LaunchContext
    from launch.launch_description import LaunchDescription

VIEWERS = ("none", "rviz", "foxglove", "rerun")
ARGUMENTS = (
    Argument("bag", "", "Recording: a folder or file that `ros2 bag play` takes."),
    Argument("rate", "1.0", "Speed of the recording."),
    Argument("loop", "false", "Play it again and again."),
    Argument("delay", "3.0", "Seconds before it starts: the model is loaded in the meantime."),
    Argument(
        "viewer", "rviz", "rviz, foxglove (foxglove_bridge; open config/multi_cam.foxglove.json there), rerun, or none."
    ),
    PARAMS_FILE,
    MODEL,
    CAMERAS,
    PARAMETERS,
)


def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
    """Node, viewer, and the recording a little later."""
    if not values["bag"]:
        raise ValueError("bag:= is empty: name the recording to play")
    if values["viewer"] not in VIEWERS:
        raise ValueError(f"viewer:={values['viewer']} is unknown: choose one of {', '.join(VIEWERS)}")
    passed = {name: values[name] for name in ("params_file", "model", "cameras", "parameters")}
    passed["use_sim_time"] = "true"
    passed["viewer"] = "rerun" if values["viewer"] == "rerun" else "none"
    actions = [launching.include(context, "multi_cam", passed)]
    if values["viewer"] == "rviz":
        layout = launching.config_file(context, "multi_cam.rviz")
        time = [{"use_sim_time": True}]
        actions.append(Node(package="rviz2", executable="rviz2", arguments=["-d", layout], parameters=time))
    elif values["viewer"] == "foxglove":
        time = [{"use_sim_time": True}]
        actions.append(Node(package="foxglove_bridge", executable="foxglove_bridge", parameters=time))
    play = ["ros2", "bag", "play", values["bag"], "--clock", "100", "--rate", values["rate"]]
    if launching.is_true(values, "loop"):
        play.append("--loop")
    recording = ExecuteProcess(cmd=play, output="screen")
    return [*actions, TimerAction(period=float(values["delay"]), actions=[recording])]


def generate_launch_description() -> LaunchDescription:
    """Arguments; everything else is decided when they are known."""
    return launching.describe(ARGUMENTS, start)

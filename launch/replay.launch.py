# SPDX-License-Identifier: Apache-2.0
"""A recording into the live node, and a viewer.

    ros2 launch da3_ros replay.launch.py bag:=recording/ params_file:=rig.yaml viewer:=foxglove

The node takes its time from the recording, so that transforms, scale and windows work as they did then, also when it
loops. A node that is slower than the recording drops frames: `rate:=0.2` plays slower, and `da3 bag` drops none.
"""

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, TimerAction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node

from launch import LaunchDescription

VIEWERS = ("none", "rviz", "foxglove")
ARGUMENTS = (
    ("bag", "", "Recording: a folder or file that `ros2 bag play` takes."),
    ("rate", "1.0", "Speed of the recording."),
    ("loop", "false", "Play it again and again."),
    ("delay", "3.0", "Seconds before it starts: the model is loaded in the meantime."),
    ("viewer", "rviz", "rviz, foxglove (foxglove_bridge; open config/multi_cam.foxglove.json there), or none."),
    ("params_file", "", "YAML file of parameters; empty: the defaults."),
    ("model", "", "Model of the zoo or folder of an exported one; empty: da3-nano."),
    ("cameras", "", "List of camera names, such as [left, right]; empty: the parameter file's."),
    ("parameters", "{}", "YAML mapping of further parameters by their full names."),
)


def start(context):
    """Node, viewer, and the recording a little later."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    if not value["bag"]:
        raise ValueError("bag:= is empty: name the recording to play")
    if value["viewer"] not in VIEWERS:
        raise ValueError(f"viewer:={value['viewer']} is unknown: choose one of {', '.join(VIEWERS)}")
    passed = {name: value[name] for name in ("params_file", "model", "cameras", "parameters")}
    passed["use_sim_time"] = "true"
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([ThisLaunchFileDir(), "multi_cam.launch.py"]))
    actions = [IncludeLaunchDescription(source, launch_arguments=passed.items())]
    if value["viewer"] == "rviz":
        layout = PathJoinSubstitution([ThisLaunchFileDir(), "..", "config", "multi_cam.rviz"]).perform(context)
        time = [{"use_sim_time": True}]
        actions.append(Node(package="rviz2", executable="rviz2", arguments=["-d", layout], parameters=time))
    elif value["viewer"] == "foxglove":
        time = [{"use_sim_time": True}]
        actions.append(Node(package="foxglove_bridge", executable="foxglove_bridge", parameters=time))
    play = ["ros2", "bag", "play", value["bag"], "--clock", "100", "--rate", value["rate"]]
    if value["loop"].lower() == "true":
        play.append("--loop")
    recording = ExecuteProcess(cmd=play, output="screen")
    return [*actions, TimerAction(period=float(value["delay"]), actions=[recording])]


def generate_launch_description():
    """Arguments; everything else is decided when they are known."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])

# SPDX-License-Identifier: Apache-2.0
"""The launch files: how they start the node and what goes with it."""

import ast
import json
import re

import pytest
import yaml
from launching_bench import FILES, ROOT, Bench, LaunchFailed, flat, our_programs
from needs import needs
from topics import CAMERA_TOPICS

from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters

REQUIRED = {"replay": {"bag": "walk/", "delay": "0.1", "cameras": "[camera]"}, "multi_cam": {"cameras": "[camera]"}}
"""What a launch file cannot do without, or not in time."""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    with Bench(tmp_path, monkeypatch) as bench:
        yield bench


def parameters_of(path):
    """Parameters of a file by their full names, and its cameras."""
    found = flat(yaml.safe_load(path.read_text())["/**"]["ros__parameters"])
    return found, found["cameras"]


def known_parameters(cameras):
    return {
        spec.name: spec.default for spec in (*SPECS, *(spec for camera in cameras for spec in camera_specs(camera)))
    }


def named(commands, program):
    [command] = [command for command in commands if command.program == program]
    return command


@pytest.mark.parametrize("name", FILES)
def test_every_file_starts_the_node_with_what_it_knows(bench, name):
    """Its program, with parameters that it declares and accepts, and remappings of topics that it has."""
    node = bench.node(name, **REQUIRED.get(name, {}))
    assert node.names == {"__node": "multi_cam", "__ns": "/da3"}
    assert node.arguments == []
    given = dict(node.parameters)
    given.pop("use_sim_time")  # every node has it
    specs = known_parameters(given["cameras"])
    assert set(given) <= set(specs)
    parameters = read_parameters(lambda parameter: given.get(parameter, specs[parameter]))
    assert list(parameters.names) == given["cameras"]
    topics = {f"/da3/{camera}/{topic}" for camera in given["cameras"] for topic in CAMERA_TOPICS}
    assert set(node.remappings) <= topics | {"/da3/points"}
    assert node.env["FASTDDS_BUILTIN_TRANSPORTS"].startswith("LARGE_DATA?")


@pytest.mark.system
def test_ros_reads_the_command_lines_as_they_were_meant(bench):
    """Names, parameters with their types, and remappings of a node that is started so."""
    needs("rclpy")
    import rclpy

    for name in FILES:
        command = bench.node(name, **REQUIRED.get(name, {}))
        context = rclpy.Context()
        rclpy.init(context=context, args=command.ros_arguments)
        node = rclpy.create_node("other", context=context, automatically_declare_parameters_from_overrides=True)
        try:
            assert node.get_fully_qualified_name() == "/da3/multi_cam"
            found = {name: node.get_parameter(name).value for name in command.parameters}
            assert {k: repr(v) for k, v in found.items()} == {k: repr(v) for k, v in command.parameters.items()}
            for topic, other in command.remappings.items():
                assert node.resolve_topic_name(topic) == other
        finally:
            node.destroy_node()
            context.shutdown()


def test_the_program_is_installed():
    module, function = our_programs()["multi_cam"].split(":")
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", FILES)
def test_with_the_real_launch_packages(bench, name):
    """What the other tests did on them; here the launch service also waits for the programs and sees them end."""
    if not bench.is_real:
        pytest.skip("no launch, no launch_ros: tested on the stand-in in test/helpers/launch_api alone")
    assert bench.start(name, **REQUIRED.get(name, {}))


@pytest.mark.parametrize("name", [name for name in FILES if "Node(" in (ROOT / f"launch/{name}.launch.py").read_text()])
def test_an_option_that_a_node_does_not_have_fails(bench, tmp_path, name):
    for path in (ROOT / "launch").glob("*.launch.py"):
        (tmp_path / path.name).write_text(path.read_text())
    path = tmp_path / f"{name}.launch.py"
    arguments = {"stereo": {"baseline": "0.1", "left_frame": "l", "right_frame": "r"}, **REQUIRED}.get(name, {})
    bench.start(path, **arguments)
    path.write_text(re.sub(r"\bNode\((?=\s*package)", "Node(respwan=True, ", path.read_text()))
    with pytest.raises(LaunchFailed, match="unexpected keyword argument 'respwan'"):
        bench.start(path, **arguments)


def test_defaults(bench):
    [node] = bench.start("multi_cam")
    assert node.program == "da3_ros/multi_cam"
    assert node.parameters == {"use_sim_time": False}
    assert node.remappings == {}


def test_arguments(bench, tmp_path):
    rig = tmp_path / "rig.yaml"
    rig.write_text("/**:\n  ros__parameters: {model: da3-large, max_range: 3.0, min_range: 0.4}\n")
    node = bench.node(
        "multi_cam",
        params_file=str(rig),
        model="da3-small",
        cameras="[front, left]",
        use_sim_time="true",
        namespace="rig",
        parameters="{max_range: 8.0, front.image_topic: /usb, left: {frame_id: ''}}",
        remappings="{/rig/points: /cloud}",
    )
    assert node.names["__ns"] == "/rig"
    assert node.parameters == {
        "use_sim_time": True,
        "max_range": 8.0,
        "min_range": 0.4,
        "front.image_topic": "/usb",
        "left.frame_id": "",
        "model": "da3-small",
        "cameras": ["front", "left"],
    }
    assert node.remappings == {"/rig/points": "/cloud"}


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_a_viewer(bench, name):
    assert bench.node(name, viewer="rerun", **REQUIRED.get(name, {})).parameters["viewer.mode"] == "spawn"
    assert "viewer.mode" not in bench.node(name, **REQUIRED.get(name, {})).parameters
    node = bench.node(name, viewer="rerun", parameters="{viewer.mode: serve}", **REQUIRED.get(name, {}))
    assert node.parameters["viewer.mode"] == "serve"


def test_a_parameter_file_that_is_not_there_is_refused(bench):
    with pytest.raises(LaunchFailed, match=r"params_file:=/no/rig\.yaml is no file"):
        bench.start("multi_cam", params_file="/no/rig.yaml")


def test_what_is_no_mapping_is_refused(bench):
    with pytest.raises(LaunchFailed, match=r"parameters:=.*YAML mapping"):
        bench.start("multi_cam", parameters="max_range=8")


def test_what_is_not_among_the_choices_is_refused(bench):
    with pytest.raises(LaunchFailed, match="viewer:=rviz is unknown: choose one of none, rerun"):
        bench.start("multi_cam", viewer="rviz")
    with pytest.raises(LaunchFailed, match="use_sim_time:=yes must be true or false"):
        bench.start("multi_cam", use_sim_time="yes")
    with pytest.raises(LaunchFailed, match="driver:=no must be true or false"):
        bench.start("zed", driver="no")


def test_transports_can_be_left_alone(bench):
    assert "FASTDDS_BUILTIN_TRANSPORTS" not in bench.node("multi_cam", fastdds_transports="").env


def test_one_camera(bench):
    node = bench.node(
        "mono_cam",
        image="/rgb",
        camera_info="/info",
        transport="compressed",
        parameters="{scale.source: given}",
        remappings="{/da3/camera/points: /points}",
    )
    assert node.parameters == {
        "use_sim_time": False,
        "cameras": ["camera"],
        "camera.image_topic": "/rgb",
        "camera.camera_info_topic": "/info",
        "camera.transport": "compressed",
        "scale.source": "given",
    }
    assert node.remappings == {"/da3/camera/points": "/points"}


def test_nav2(bench):
    node = bench.node("nav2", max_range="6", points="/cloud", depth="/d/depth")
    assert node.remappings == {
        "/da3/camera/points": "/cloud",
        "/da3/camera/depth/image_rect": "/d/depth",
        "/da3/camera/depth/camera_info": "/d/camera_info",
    }
    assert (node.parameters["max_range"], node.parameters["min_confidence"]) == (6.0, 1.0)
    assert node.parameters["model"] == "da3metric-large"


def test_nav2_takes_further_parameters(bench):
    given = bench.node("nav2", parameters="{min_range: 0.3, max_range: 5.0}").parameters
    assert (given["min_range"], given["max_range"], given["min_confidence"]) == (0.3, 5.0, 1.0)


def test_the_costmap_clears_as_far_as_it_marks(bench):
    costmap = yaml.safe_load((ROOT / "config" / "nav2_costmap.yaml").read_text())["local_costmap"]["local_costmap"]
    source = costmap["ros__parameters"]["voxel_layer"]["da3"]
    node = bench.node("nav2")
    assert source["raytrace_max_range"] >= source["obstacle_max_range"]
    assert source["obstacle_max_range"] <= node.parameters["max_range"]
    assert source["topic"] == node.remappings["/da3/camera/points"]


def test_stereo(bench):
    [node] = bench.start(
        "stereo", left="/zed/left/image_rect", right_info="/info", transport="compressed", rig_frame="body"
    )
    assert node.parameters["rig_frame"] == "body"
    assert node.parameters["left.camera_info_topic"] == "/zed/left/camera_info"
    assert node.parameters["right.camera_info_topic"] == "/info"
    assert node.parameters["right.transport"] == "compressed"
    assert node.parameters["cameras"] == ["left", "right"]


def test_a_baseline_takes_the_place_of_tf(bench):
    commands = bench.start("stereo", baseline="0.12", left_frame="l", right_frame="r")
    tf = named(commands, "tf2_ros/static_transform_publisher")
    assert tf.arguments == ["--x", "0.12", "--frame-id", "l", "--child-frame-id", "r"]
    node = named(commands, "da3_ros/multi_cam")
    assert (node.parameters["rig_frame"], node.parameters["right.frame_id"]) == ("l", "r")
    with pytest.raises(LaunchFailed, match="needs left_frame and right_frame"):
        bench.start("stereo", baseline="0.12", left_frame="l")


def test_replay(bench):
    commands = bench.start("replay", bag="walk/", loop="true", rate="0.5", cameras="[front]", delay="0.2")
    node = named(commands, "da3_ros/multi_cam")
    assert (node.parameters["use_sim_time"], node.parameters["cameras"]) == (True, ["front"])
    assert named(commands, "ros2").arguments == ["bag", "play", "walk/", "--clock", "100", "--rate", "0.5", "--loop"]
    rviz = named(commands, "rviz2/rviz2")
    assert rviz.arguments == ["-d", str(ROOT / "launch" / ".." / "config" / "multi_cam.rviz")]
    assert rviz.parameters == {"use_sim_time": True}


def test_replay_with_other_viewers(bench):
    foxglove = named(bench.start("replay", bag="w", viewer="foxglove", delay="0.1"), "foxglove_bridge/foxglove_bridge")
    assert foxglove.parameters == {"use_sim_time": True}
    programs = {command.program for command in bench.start("replay", bag="w", viewer="none", delay="0.1")}
    assert programs == {"da3_ros/multi_cam", "ros2"}
    with pytest.raises(LaunchFailed, match="name the recording"):
        bench.start("replay")
    with pytest.raises(LaunchFailed, match="viewer:=xv is unknown: choose one of none, rviz, foxglove, rerun"):
        bench.start("replay", bag="walk/", viewer="xv")


def test_the_recording_waits_for_the_model(bench):
    assert {a.name: a.default for a in bench.load("replay").ARGUMENTS}["delay"] == "3.0"


def test_usb_cam(bench):
    commands = bench.start("usb_cam", device="/dev/video2", size="640x480", calibration="file:///c.yaml")
    driver = named(commands, "usb_cam/usb_cam_node_exe")
    assert driver.names == {"__node": "usb_cam", "__ns": "/camera"}
    assert driver.parameters == {
        "video_device": "/dev/video2",
        "image_width": 640,
        "image_height": 480,
        "framerate": 30.0,
        "pixel_format": "mjpeg2rgb",
        "camera_info_url": "file:///c.yaml",
        "camera_name": "camera",
        "frame_id": "camera_optical_frame",
    }
    assert named(commands, "da3_ros/multi_cam").parameters["camera.camera_info_topic"] == "/camera/camera_info"
    assert bench.node("usb_cam", uncalibrated="true").parameters["camera.camera_info_topic"] == ""


@pytest.mark.parametrize(("name", "package"), [("realsense", "realsense2_camera"), ("zed", "zed_wrapper")])
def test_a_driver_and_the_node_for_it(bench, tmp_path, name, package):
    commands = bench.start(name)
    options = {
        "realsense": ["align_depth.enable:=true", "enable_sync:=true", "serial:=any"],
        "zed": ["camera_model:=zed2i", "param_overrides:=video.publish_left_right:=true", "serial:=any"],
    }[name]
    assert named(commands, f"{package}/driver").arguments == options
    node = named(commands, "da3_ros/multi_cam")
    values, _ = parameters_of(ROOT / "config" / f"{name}.yaml")
    assert node.parameters == {**values, "use_sim_time": False}
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**:\n  ros__parameters: {cameras: [mine]}\n")
    assert bench.node(name, params_file=str(mine)).parameters["cameras"] == ["mine"]


@pytest.mark.parametrize("name", ["realsense", "zed"])
def test_a_driver_leaves_nothing_to_the_node(bench, name):
    """Its launch file sets a namespace, the clock and the middleware's transports: of the driver alone."""
    node = bench.node(name)
    assert node.names["__ns"] == "/da3"
    assert node.parameters["use_sim_time"] is False
    assert node.env["FASTDDS_BUILTIN_TRANSPORTS"].startswith("LARGE_DATA?")


def test_a_driver_can_be_left_out(bench):
    assert [command.program for command in bench.start("zed", driver="false")] == ["da3_ros/multi_cam"]


def test_arguments_that_files_share_reach_the_node(bench, tmp_path):
    rig = tmp_path / "rig.yaml"
    rig.write_text("/**:\n  ros__parameters: {cameras: [camera], min_confidence: 1.3}\n")
    shared = {
        "model": ("da3-small", "model", "da3-small"),
        "parameters": ("{min_range: 0.7}", "min_range", 0.7),
        "params_file": (str(rig), "min_confidence", 1.3),
        "use_sim_time": ("true", "use_sim_time", True),
        "transport": ("compressed", "CAMERA.transport", "compressed"),
    }
    for name in FILES:
        declared = {argument.name for argument in bench.load(name).ARGUMENTS}
        assert {"model", "parameters"} <= declared
        arguments = {argument: text for argument, (text, _, _) in shared.items() if argument in declared}
        given = bench.node(name, **{**REQUIRED.get(name, {}), **arguments}).parameters
        for argument in arguments:
            _, parameter, value = shared[argument]
            parameter = parameter.replace("CAMERA", given["cameras"][0])
            assert (name, parameter, given[parameter]) == (name, parameter, value)


@pytest.mark.parametrize("name", ["multi_cam", "realsense", "zed", "six_cameras"])
def test_parameter_files(name):
    """Every name is a parameter, every value is accepted."""
    values, cameras = parameters_of(ROOT / "config" / f"{name}.yaml")
    specs = known_parameters(cameras)
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

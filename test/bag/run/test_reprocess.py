# SPDX-License-Identifier: Apache-2.0
"""A bag in, a bag out: every frame once, original stamps, quality of service, copies."""

from needs import needs

needs("mcap", "rosbags", "scipy")


import bags
import numpy as np
import pytest
import yaml
from fake_estimator import HEIGHT, WIDTH
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader

from da3_ros.bag.errors import BagError
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.outcome import has_errors
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.messages import decode_cloud, decode_depth, matrix_from_pose, stamp_to_ns

STAMPS = [bags.START + i * bags.PERIOD for i in range(6)]
DONE = [stamp + bags.PERIOD // 2 + 2 for stamp in STAMPS]  # log time of the message that completes each set


def test_every_frame_once_in_order_with_original_stamps(bag, make):
    output, summary = make(bag, "cloud.rate:=0")
    for camera, shift in (("left", 0), ("right", 1_000_000)):
        for topic in ("depth/image_rect", "depth/camera_info", "confidence/image", "pose"):
            found = bags.read(output, f"/da3/{camera}/{topic}")
            assert [stamp_to_ns(m.header.stamp) for _, m in found] == [s + shift for s in STAMPS]
            assert [log_ns for log_ns, _ in found] == DONE
    assert summary["frames"]["left"] == {"received": 6, "used": 6, "dropped": {}}
    assert not has_errors(summary)
    log_times = [log_ns for _, log_ns, _ in bags.messages(output)]
    assert log_times == sorted(log_times)


def test_messages_are_those_of_the_live_node(bag, make):
    output, _ = make(bag, "cloud.rate:=0", load=bags.load_fake)
    _, depth = bags.read(output, "/da3/left/depth/image_rect")[0]
    assert (depth.encoding, depth.width, depth.height) == ("32FC1", WIDTH, HEIGHT)
    values = decode_depth(depth)
    assert np.isnan(values[0, 0])
    assert np.isposinf(values[0, -1])
    assert depth.header.frame_id == "left_optical"  # metric: both cameras have poses
    _, pose = bags.read(output, "/da3/right/pose")[0]
    np.testing.assert_allclose(matrix_from_pose(pose.pose.pose), bags.POSES["right"], atol=1e-9)
    _, cloud = bags.read(output, "/da3/points")[0]
    assert cloud.header.frame_id == "base_link"
    assert set(decode_cloud(cloud)) == {"x", "y", "z", "rgb", "confidence"}


@pytest.mark.parametrize("name", ["out", "out.mcap", "out.db3"])
@pytest.mark.parametrize("compress", [False, True])
def test_rosbags_reads_the_same(bag, make, name, compress):
    from da3_ros.bag.io.writer import Format

    if compress and name.endswith(".db3"):
        pytest.skip("a single sqlite3 file has no place to say that its messages are compressed")
    form = Format("sqlite3" if name.endswith(".db3") else "mcap", compress)
    output, summary = make(bag, name=name, segment_sets=2, copy=("*",), load=bags.load_fake, form=form)
    content = bags.by_rosbags(output)
    assert [(topic, log_ns, raw) for topic, _, log_ns, raw in content] == bags.messages(output)
    assert len(content) == sum(summary["messages"].values())


def test_cloud_rate_goes_by_stamps(bag, make):
    output, _ = make(bag, "cloud.rate:=4")
    stamps = [stamp_to_ns(m.header.stamp) for _, m in bags.read(output, "/da3/points")]
    assert stamps == [STAMPS[0], STAMPS[3]]


def test_outputs_are_chosen(bag, make):
    output, _ = make(bag, "depth.millimetres:=true", outputs=("*/points", "!/da3/left/*", "right/depth/image_raw"))
    topics = {topic for topic, _, _ in bags.messages(output)}
    assert topics - {"/tf", "/tf_static"} == {"/da3/right/points", "/da3/points", "/da3/right/depth/image_raw"}
    with pytest.raises(BagError, match="no output fits nonsense; there are /da3/left/depth/image_rect"):
        make(bag, name="other", outputs=("nonsense",))


@pytest.mark.parametrize(
    ("copy", "names"),
    [((), set()), (("/notes",), {"/notes"}), (("*", "!*/image_raw"), {"/notes", "/left/camera_info"})],
)
def test_copies_byte_for_byte(bag, make, copy, names):
    output, _ = make(bag, copy=copy)
    for topic in ("/tf", "/tf_static", *names):
        assert bags.messages(output, topic) == bags.messages(bag, topic)
    found = {topic for topic, _, _ in bags.messages(output)}
    assert ("/left/image_raw" in found) is False
    assert ("/notes" in found) is ("/notes" in names)


@pytest.mark.parametrize("name", ["out", "out.mcap", "out.db3"])
def test_quality_of_service_and_definitions_are_kept(bag, make, name):
    storage = "sqlite3" if name.endswith("db3") else "mcap"
    from da3_ros.bag.io.writer import Format

    output, _ = make(bag, name=name, copy=("*",), segment_sets=2, form=Format(storage))
    with Reader(output) as reader:
        found = {connection.topic: connection for connection in reader.connections}
        assert all(connection.msgdef.data for connection in found.values())
    qos = {topic: connection.ext.offered_qos_profiles[0] for topic, connection in found.items()}
    assert qos["/tf_static"].durability == QosDurability.TRANSIENT_LOCAL
    assert qos["/left/image_raw"] == bags.SENSOR
    assert qos["/da3/left/depth/image_rect"].reliability == QosReliability.RELIABLE
    assert found["/notes"].msgtype == "std_msgs/msg/String"
    assert bags.messages(output, "/notes") == bags.messages(bag, "/notes")


def test_split_output_is_a_valid_rosbag2_folder(bag, make):
    output, _ = make(bag, segment_sets=2)
    content = yaml.safe_load((output / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert content["relative_file_paths"] == ["out_0.mcap", "out_1.mcap", "out_2.mcap"]
    assert content["message_count"] == len(bags.messages(output)) == sum(f["message_count"] for f in content["files"])
    counts = {t["topic_metadata"]["name"]: t["message_count"] for t in content["topics_with_message_count"]}
    assert counts["/da3/left/depth/image_rect"] == 6
    # Humble reads the profiles as text.
    assert all(
        isinstance(t["topic_metadata"]["offered_qos_profiles"], str) for t in content["topics_with_message_count"]
    )


@pytest.mark.parametrize("name", ["out.mcap", "out.db3", "folder"])
@pytest.mark.parametrize("compress", [False, True])
def test_storages_hold_the_same(bag, make, name, compress):
    from da3_ros.bag.io.writer import Format

    if compress and name.endswith(".db3"):
        pytest.skip("a single sqlite3 file has no place to say that its messages are compressed")
    plain, _ = make(bag, name="plain")
    form = Format("sqlite3" if name.endswith(".db3") else "mcap", compress)
    output, _ = make(bag, name=name, form=form, segment_sets=2)
    assert bags.messages(output) == bags.messages(plain)


def test_ros1_gives_the_same_as_ros2(bag, make, tmp_path):
    old, _ = make(bags.write_ros1_bag(tmp_path / "old.bag"), name="old_out", copy=("*",))
    new, _ = make(bag, name="new_out", copy=("*",))
    assert bags.messages(old) == bags.messages(new)


def test_compressed_images_and_a_parameter_file(tmp_path, make):
    def stream():
        for name, log_ns, event in bags.events(3):
            topic, message = name, event
            if topic.endswith("image_raw"):
                camera = topic.split("/")[1]
                index = (stamp_to_ns(message.header.stamp) - bags.START) // bags.PERIOD
                data = np.frombuffer(bags.jpeg(index, camera), np.uint8)
                kind = bags.TYPES["sensor_msgs/msg/CompressedImage"]
                message = kind(header=message.header, format="jpeg", data=data)
                topic += "/compressed"
                bags.KINDS[topic] = "sensor_msgs/msg/CompressedImage"
            yield topic, log_ns, bytes(bags.STORE.serialize_cdr(message, bags.KINDS[topic]))

    source = bags.write_bag(tmp_path / "jpeg", stream())
    params = tmp_path / "params.yaml"
    params.write_text(
        "/**:\n  ros__parameters:\n    cameras: [right, left]\n    right: {transport: compressed}\n"
        "    left: {image_topic: /left/image_raw, transport: compressed}\n    cloud: {rate: 0.0}\n"
    )
    request = Request(source, tmp_path / "out", params_file=params)
    summary = reprocess(request, load=bags.load_fake)
    assert list(summary["frames"]) == ["right", "left"]
    assert len(bags.messages(tmp_path / "out", "/da3/points")) == 3


def test_moving_transforms_are_known_before_their_images(tmp_path, make):
    """Without looking ahead, the transform of an image's time comes after it: the fused frame would lag."""
    late = [
        (topic, log_ns + (3_000_000_000 if topic == "/tf" else 0), raw)
        for topic, log_ns, raw in bags.serialised(bags.events(6))
    ]
    source = bags.write_bag(tmp_path / "late", late)
    output, summary = make(source, "fused_frame:=odom", "cloud.rate:=0", load=bags.load_fake)
    clouds = [decode_cloud(m) for _, m in bags.read(output, "/da3/points")]
    assert len(clouds) == 6
    # The rig drives at 1 m/s along x of odom, in front of a scene that is the same in every image.
    steps = np.diff([float(np.median(cloud["x"])) for cloud in clouds])
    np.testing.assert_allclose(steps, 0.1, atol=1e-3)
    assert not summary["issues"]


def test_a_jump_back_in_time_is_a_new_beginning(tmp_path, make):
    again = [
        (topic, log_ns + 600_000_000, message) for topic, log_ns, message in bags.events(6) if topic != "/tf_static"
    ]
    stream = [*bags.events(6, start=bags.START + 30_000_000_000)]
    stream = [(t, log - 30_000_000_000, m) for t, log, m in stream] + again
    source = bags.write_bag(tmp_path / "loop", bags.serialised(stream))
    output, summary = make(source)
    depths = [m for _, m in bags.read(output, "/da3/left/depth/image_rect")]
    assert len(depths) == 12
    alone, _ = make(bags.write_bag(tmp_path / "alone"), name="alone_out")
    expected = [m.data.tobytes() for _, m in bags.read(alone, "/da3/left/depth/image_rect")]
    assert [m.data.tobytes() for m in depths[6:]] == expected  # the estimator forgot the first part
    assert summary["frames"]["left"]["received"] == 12


def test_a_silent_camera_is_not_waited_for(tmp_path, make):
    stream = [
        event
        for event in bags.serialised(bags.events(60))
        if not (event[0].startswith("/right") and event[1] > bags.START + 1_500_000_000)
    ]
    source = bags.write_bag(tmp_path / "silent", stream)
    output, summary = make(source, "watchdog.timeout:=1.0")
    used = summary["frames"]["left"]["used"]
    assert used > 45
    assert any("the others go on without it" in issue["text"] for issue in summary["issues"])
    for counts in summary["frames"].values():
        assert counts["received"] == counts["used"] + sum(counts["dropped"].values())
    assert len(bags.messages(output, "/da3/left/depth/image_rect")) == used


def test_a_pause_of_the_recording_makes_no_camera_silent(tmp_path, make):
    late = 5_000_000_000
    stream = [
        *bags.events(4),
        *(event for event in bags.events(4, start=bags.START + late) if event[0] != "/tf_static"),
    ]
    _, summary = make(bags.write_bag(tmp_path / "pause", bags.serialised(stream)))
    assert [record["missing"] for record in summary["sets"]] == [[]] * 8
    assert summary["frames"]["right"] == {"received": 8, "used": 8, "dropped": {}}
    assert not summary["issues"]

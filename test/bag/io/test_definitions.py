# SPDX-License-Identifier: Apache-2.0
"""Definitions of messages as recorders have written them: what can be understood is, and what cannot is said."""

from needs import needs

needs("rosbags")

import bags
import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from da3_ros.bag.io.channels import Channel, interface_name
from da3_ros.bag.io.definitions import define

RULE = "=" * 80
IMAGE = bags.STORE.generate_msgdef("sensor_msgs/msg/Image", ros_version=2)[0]
OWN = "std_msgs/Header header\nSample[] samples  # two of them\n"
SAMPLE = "MSG: my_msgs/Sample\nfloat64 value\nbuiltin_interfaces/Time at\n"


def channel(text, kind="sensor_msgs/msg/Image", *, schema="ros2msg", encoding="cdr"):
    data = text if isinstance(text, bytes) else text.encode()
    return Channel(1, "/topic", interface_name(kind), encoding, schema, data)


def image():
    message = bags.TYPES["sensor_msgs/msg/Image"]
    data = np.arange(6, dtype=np.uint8)
    made = message(bags.TYPES.header(5, "eye"), height=1, width=2, encoding="rgb8", is_bigendian=0, step=6, data=data)
    return bytes(bags.STORE.serialize_cdr(made, "sensor_msgs/msg/Image"))


@pytest.mark.parametrize(
    "text",
    [
        IMAGE,
        IMAGE.replace("\n", "\r\n"),
        IMAGE.replace("\n", "\r"),
        IMAGE.replace("uint32 height", "uint32 height # Höhe in µm").encode("latin-1"),
        ("\ufeff" + IMAGE).encode(),
        f"{RULE}\nMSG: sensor_msgs/Image\n{IMAGE}",
        f"MSG: sensor_msgs/msg/Image\n{IMAGE}",
        f"# a comment alone\n{RULE}\nMSG: sensor_msgs/Image\n{IMAGE}",
        f"{IMAGE}{RULE}\n",
        f"{IMAGE}\n\n{RULE}\n\n",
        IMAGE.replace(RULE, "=" * 40),
        IMAGE.replace(RULE, RULE + "  "),
        IMAGE.replace("MSG: ", "MSG:"),
        IMAGE.split(RULE)[0],  # without what it uses
    ],
)
def test_every_form_of_a_definition_reads_the_same(text):
    for kind in ("sensor_msgs/msg/Image", "sensor_msgs/Image", "sensor_msgs::msg::dds_::Image_"):
        found = define(channel(text, kind))
        read = found.read(image())
        assert (found.kind, found.remark) == ("sensor_msgs/msg/Image", "")
        assert (read.header.frame_id, read.width, read.data.tolist()) == ("eye", 2, list(range(6)))
        # What is embedded in another bag is such that others read it.
        store = get_typestore(Stores.EMPTY)
        store.register(get_types_from_msg(found.text, found.kind))
        assert store.deserialize_cdr(image(), found.kind).width == 2


def test_types_of_their_own_are_completed_from_the_standard_ones():
    found = define(channel(f"{OWN}{RULE}\n{SAMPLE}", "my_msgs/msg/Own"))
    assert {"std_msgs/msg/Header", "builtin_interfaces/msg/Time"} <= found.store.types.keys()
    message = found.store.types["my_msgs/msg/Own"]
    assert [name for name in message.__dataclass_fields__ if not name.startswith("__")] == ["header", "samples"]
    with pytest.raises(ValueError, match="the definition of my_msgs/msg/Sample, which it uses, is missing"):
        define(channel(OWN, "my_msgs/msg/Own"))


def test_comments_and_constants_are_kept_where_nothing_has_to_be_mended():
    text = f"# why it is there\nuint8 FAST=1\n{IMAGE}"
    assert define(channel(text)).text == text


def test_a_standard_type_whose_definition_is_broken_is_read_aloud():
    found = define(channel("string !{\n"))
    assert found.read(image()).width == 2
    assert "the standard one of sensor_msgs/msg/Image is taken" in found.remark
    with pytest.raises(ValueError, match="its type my_msgs/msg/Own has no usable definition"):
        define(channel("string !{\n", "my_msgs/msg/Own"))


def test_idl():
    text = "module my_msgs { module msg { struct Thing { long x; }; }; };"
    for whole in (text, f"{RULE}\nIDL: my_msgs/msg/Thing\n{text}", f"{RULE}\r\nIDL: my_msgs/msg/Thing\r\n{text}\r\n"):
        assert define(channel(whole, "my_msgs/msg/Thing", schema="ros2idl")).read(b"\0\1\0\0\7\0\0\0").x == 7


def test_ros1_definitions():
    text = get_typestore(Stores.ROS1_NOETIC).generate_msgdef("std_msgs/msg/Header", ros_version=1)[0]
    sample = f"Header header\nint32 x # \xb5m\n{RULE}\nMSG: std_msgs/Header\n{text}".encode("latin-1")
    raw = b"\7\0\0\0" + b"\5\0\0\0" + b"\0\0\0\0" + b"\3\0\0\0eye" + b"\x2a\0\0\0"
    for content in (sample, sample.split(RULE.encode())[0], sample.replace(b"\n", b"\r\n")):
        found = define(channel(content, "my_msgs/Sample", schema="ros1msg", encoding="ros1"))
        read = found.read(raw)
        assert (found.kind, found.is_ros1) == ("my_msgs/msg/Sample", True)
        assert (read.header.stamp.sec, read.header.frame_id, read.x) == (5, "eye", 42)

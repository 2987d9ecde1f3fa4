# SPDX-License-Identifier: Apache-2.0
"""Odd recordings give the output of the ordinary one, and the tool says that nothing was lost."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import bags
import pytest
from mcap_files import Layout, write_mcap
from rosbags.rosbag1 import Reader

from da3_ros.bag.plan.outcome import has_errors

ALL = {"received": 6, "used": 6, "dropped": {}}


@pytest.fixture(scope="module")
def content():
    return sorted(bags.serialised(bags.events()), key=lambda event: event[1])


@pytest.fixture
def expected(make, content, tmp_path):
    """Outputs of the ordinary recording."""
    output, _ = make(bags.write_bag(tmp_path / "plain", content), name="expected")
    return bags.messages(output)


@pytest.mark.parametrize(
    "changes", [{"indexed": lambda n: n % 2}, {"summary": False}, {"statistics": lambda fields: None}, {"profile": ""}]
)
def test_optional_parts_of_a_container(tmp_path, make, content, expected, changes):
    output, summary = make(write_mcap(tmp_path / "odd.mcap", content, **changes))
    assert summary["frames"] == {"left": ALL, "right": ALL}
    assert bags.messages(output) == expected
    assert not has_errors(summary)


def test_one_file_a_camera(tmp_path, make, content, expected):
    (tmp_path / "folder").mkdir()
    for name in ("right", "left"):
        write_mcap(tmp_path / "folder" / f"{name}.mcap", [e for e in content if e[0].startswith(f"/{name}/")])
    write_mcap(tmp_path / "folder" / "tf.mcap", [event for event in content if event[0].startswith("/tf")])
    output, summary = make(tmp_path / "folder")
    assert summary["frames"] == {"left": ALL, "right": ALL}
    assert sorted(bags.messages(output)) == sorted(expected)
    assert not has_errors(summary)


def test_channels_of_other_programs_are_left_out_aloud(tmp_path, make, content):
    foreign = (("/status", "json", "Status", "jsonschema", "{}", b"{}"),)
    said = []
    source = write_mcap(tmp_path / "mixed.mcap", content, foreign=foreign)
    output, summary = make(source, copy=("*",), log=lambda level, text: said.append(text))
    assert any("/status (1 messages) is not copied: its messages are json" in text for text in said)
    assert summary["frames"] == {"left": ALL, "right": ALL}
    assert len(bags.messages(output, "/notes")) == 6
    assert not bags.messages(output, "/status")
    assert not has_errors(summary)


def test_ros1_messages_in_mcap(tmp_path, make, expected):
    with Reader(bags.write_ros1_bag(tmp_path / "old.bag")) as reader:
        events = [(c.topic, log_ns, bytes(raw)) for c, log_ns, raw in reader.messages()]
        kinds = {c.topic: (c.msgtype.replace("/msg/", "/"), "ros1msg", c.msgdef.data) for c in reader.connections}
    layout = Layout(profile="ros1", encoding="ros1", definitions=kinds)
    output, summary = make(write_mcap(tmp_path / "converted.mcap", events, layout))
    assert summary["frames"] == {"left": ALL, "right": ALL}
    assert bags.messages(output) == expected
    assert not has_errors(summary)

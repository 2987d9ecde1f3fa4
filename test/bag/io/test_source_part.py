# SPDX-License-Identifier: Apache-2.0
"""The messages of what was recorded without ROS."""

from needs import needs

needs("rosbags")

from made_sources import BODIES, COUNT, STAMPS, START, euroc, write_tum

from da3_ros.bag.io.findings import Findings
from da3_ros.bag.io.source_part import SourcePart
from da3_ros.bag.sources import Reading, find_source


def test_a_source_begins_with_its_first_pose_or_picture(tmp_path):
    """What holds from the beginning, as places do, comes before everything else."""
    euroc(tmp_path / "in")
    for first in (STAMPS[0] - 10**9, STAMPS[0] + 10**7):
        poses = write_tum(tmp_path / "poses.txt", [first, STAMPS[5] + 10**9], BODIES[:2])
        part = SourcePart(find_source(tmp_path / "in", Reading(poses=poses)), Findings())
        stamps = [stamp for _, stamp, _ in part.messages([channel.key for channel in part.channels])]
        assert stamps == sorted(stamps)
        topics = {channel.key: channel.topic.rpartition("/")[2] for channel in part.channels}
        order = [topics[key] for key, stamp, _ in part.messages(list(topics)) if stamp == STAMPS[1]]
        assert order == ["camera_info", "compressed"] * 2
        assert (part.start_ns, part.end_ns) == (stamps[0], stamps[-1]) == (min(first, STAMPS[0]), STAMPS[5] + 10**9)


def test_every_picture_pose_and_calibration_of_stamps_that_begin_at_zero(tmp_path):
    euroc(tmp_path, truth="")
    moved = [stamp - START for stamp in STAMPS]
    for camera in ("cam0", "cam1"):
        rows = [f"{stamp},{old}.png" for stamp, old in zip(moved, STAMPS, strict=True)]
        (tmp_path / "mav0" / camera / "data.csv").write_text("#timestamp [ns],filename\n" + "\n".join(rows))
    source = find_source(tmp_path, Reading(poses=write_tum(tmp_path / "poses.txt", moved)))
    part = SourcePart(source, Findings())
    stamps = [stamp for _, stamp, _ in part.messages([channel.key for channel in part.channels])]
    assert len(stamps) == 1 + COUNT + 4 * COUNT
    assert min(stamps) > 0

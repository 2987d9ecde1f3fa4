# SPDX-License-Identifier: Apache-2.0
"""What lies beside an output never ends a run."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import json

import bags
import cv2
import pytest

from da3_ros.bag.plan.outcome import companion, has_errors
from da3_ros.bag.report import pictures
from da3_ros.bag.run import reprocess as module


def test_the_folder_of_an_output_is_made(bag, make, tmp_path):
    output, summary = make(bag, name="not/yet/there.mcap")
    assert output.is_file()
    assert not has_errors(summary)


def test_a_folder_that_cannot_be_made_is_said(bag, make, tmp_path):
    from da3_ros.bag.errors import BagError

    (tmp_path / "file").touch()
    with pytest.raises(BagError, match="cannot be made or written to"):
        make(bag, name="file/out")


@pytest.mark.parametrize("name", ["write_report", "write_poses", "write_scene"])
def test_what_cannot_be_written_beside_is_a_problem_and_the_output_is_whole(bag, make, monkeypatch, name):
    def fail(*arguments):
        raise ValueError("nothing to draw on")

    monkeypatch.setattr(module, name, fail)
    logged = []
    output, summary = make(bag, log=lambda level, text: logged.append((level, text)))
    assert len(bags.read(output, "/da3/left/depth/image_rect")) == 6
    (problem,) = summary["problems"]
    assert "could not be written (ValueError: nothing to draw on); the output out is whole" in problem
    assert has_errors(summary)
    assert (2, problem) in logged
    assert json.loads((companion(output) / "run.json").read_text())["problems"] == [problem]
    if name != "write_report":
        assert problem in (companion(output) / "report.html").read_text()


def test_a_picture_that_cannot_be_drawn_says_so_in_its_place(bag, make, monkeypatch, caplog):
    def fail(*arguments):
        raise cv2.error("this size")

    monkeypatch.setattr(pictures, "depth_to_color", fail)
    output, summary = make(bag, pictures=2)
    assert len(summary["sets"]) == 6
    assert "no picture for the report: error: this size" in caplog.text
    found = sorted((companion(output) / "pictures").glob("*.jpg"))
    assert found
    assert all(cv2.imread(str(path)).shape == (60, 720, 3) for path in found)

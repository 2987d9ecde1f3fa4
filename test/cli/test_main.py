# SPDX-License-Identifier: Apache-2.0
"""The command on a machine that has the node's packages and no others."""

import sys

import cv2
import pytest

import da3_ros.bag
from da3_ros.cli.main import main


@pytest.fixture
def bare(monkeypatch):
    """Neither recordings nor progress bars nor torch can be imported."""
    packages = ("rosbags", "mcap", "tqdm", "torch")
    monkeypatch.setattr(da3_ros, "bag", da3_ros.bag)  # afterwards it is the one that other tests have, too
    for name in list(sys.modules):
        if name.split(".")[0] in packages or name.split(".")[:2] == ["da3_ros", "bag"]:
            monkeypatch.delitem(sys.modules, name)
    for name in packages:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("verb", ["doctor", "images", "models", "build", "render"])
def test_verbs_of_a_robot_need_the_packages_of_the_node_alone(bare, verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert f"da3 {verb}" in capsys.readouterr().out


def test_the_doctor_answers_where_packages_are_missing(bare, capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "onnxruntime" in out
    assert f"Refinement of depth: on the CPU, by OpenCV {cv2.__version__}" in out


@pytest.mark.parametrize("verb", ["bag", "fleet"])
def test_a_verb_whose_packages_are_missing_names_them_and_how_to_get_them(bare, verb, capsys):
    assert main([verb, "a", "b"]) == 1
    assert capsys.readouterr().err.startswith(f"da3 {verb}: needs rosbags, which is not installed: `pip install rosb")


def test_all_verbs_are_listed(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(
        verb in out for verb in ("models", "images", "render", "bag", "fleet", "report", "export", "build", "doctor")
    )

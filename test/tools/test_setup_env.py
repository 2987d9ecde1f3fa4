# SPDX-License-Identifier: Apache-2.0
"""The environment's maker, as far as it goes without making one."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


sys.path.insert(0, str(ROOT / "tools"))  # programs, not a package

import plain_env
import setup_env
from environment import machine
from environment.folder import Environment
from environment.machine import SetupError, System
from environment.pins import Requirements


@pytest.fixture(scope="module")
def requirements():
    return Requirements.parse((ROOT / "tools" / "requirements.txt").read_text())


def test_everything_is_pinned(requirements):
    lines = [
        *requirements.common,
        *requirements.ros,
        *(x for group in requirements.special.values() for x in group),
    ]
    pattern = r"[a-z0-9-]+==[0-9][\w.]*(; python_version (<|>=) \"3\.1[12]\")?"
    assert [line for line in lines if not re.fullmatch(pattern, line)] == []
    names = [line for line in lines[: len(requirements.common) + len(requirements.ros)] if ";" not in line]
    assert len(names) == len(set(names))


def test_sections(requirements):
    assert all(line.startswith("ros-") or "catkin" in line or "ninja" in line for line in requirements.ros)
    assert not any(line.startswith("ros-") for line in requirements.common)
    assert requirements.special["no-deps"] == ("depth-anything-3==0.1.1",)
    assert "torch==2.13.0" in requirements.common


def test_extras_are_pinned_and_asked_for_only(requirements):
    assert set(setup_env.EXTRAS) <= set(requirements.special)
    assert not any("tensorrt" in line for line in requirements.common)
    with pytest.raises(SetupError, match="unknown extra bla; there is tensorrt"):
        setup_env.ensure(ROOT / "no-such-folder", extras=["bla"])


def test_extras_change_the_fingerprint():
    system = System(None, False, True)
    assert setup_env.fingerprint(system) != setup_env.fingerprint(system, ["tensorrt"])


def test_sourced_ros_gets_no_ros_wheels(requirements):
    lines = requirements.lines(with_ros=False, numpy1=False, with_cmake=False)
    assert tuple(lines) == requirements.common


def test_numpy_1_replaces_what_needs_numpy_2(requirements):
    lines = requirements.lines(with_ros=False, numpy1=True, with_cmake=False)
    assert [line for line in lines if line.startswith("numpy==")] == ["numpy==1.26.4"]
    assert [line for line in lines if line.startswith("opencv")] == ["opencv-python-headless==4.11.0.86"]


def test_cmake_only_where_there_is_none(requirements):
    assert not any(x.startswith("cmake") for x in requirements.lines(with_ros=True, numpy1=False, with_cmake=False))
    assert any(x.startswith("cmake") for x in requirements.lines(with_ros=True, numpy1=False, with_cmake=True))


def test_everything_missing_is_named_at_once(monkeypatch):
    monkeypatch.setattr(machine.sys, "version_info", (3, 8, 1))
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    with pytest.raises(SetupError) as caught:
        System.inspect()
    text = str(caught.value)
    for words in (
        "Python 3.8",
        "3.10 to 3.13",
        "C compiler",
        "C++ compiler",
        "sudo apt install build-essential",
    ):
        assert words in text


def test_other_machines_are_pointed_to_an_installation(monkeypatch):
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    with pytest.raises(SetupError, match="Linux x86_64 only; this is Linux aarch64: install ROS 2"):
        System.inspect()


def test_sourced_ros_with_the_wrong_python(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(machine, "_probe", lambda code: None if "rclpy" in code else "")
    with pytest.raises(SetupError, match=r"ROS_DISTRO=jazzy is set, but .* cannot import rclpy"):
        System.inspect()


def test_sourced_ros_is_used(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "humble")
    monkeypatch.setattr(machine, "_probe", lambda code: "1.21.5" if "numpy" in code else "")
    system = System.inspect()
    assert (system.ros_distro, system.numpy1) == ("humble", True)


def test_fingerprint_follows_the_inputs(monkeypatch, tmp_path):
    system = System(None, False, True)
    first = setup_env.fingerprint(system)
    assert first == setup_env.fingerprint(system)
    assert first != setup_env.fingerprint(System("humble", False, True))


def test_patch_of_the_wheels(tmp_path):
    folder = tmp_path / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    export = folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    before = 'set_target_properties(x\n  INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp311/include;a"\n)\n'
    export.write_text(before)
    environment = Environment(tmp_path)
    environment.patch_rosidl()
    after = export.read_text()
    assert after == 'set_target_properties(x\n  INTERFACE_INCLUDE_DIRECTORIES ""\n)\n'
    environment.patch_rosidl()
    assert export.read_text() == after


def test_failures_show_the_end_of_the_output(tmp_path):
    environment = Environment(tmp_path)
    with pytest.raises(SetupError, match="ended with 3"):
        environment.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], lambda text: None)


def test_the_plain_environment_holds_what_the_package_asks_for_and_pytest(requirements):
    """No library beyond those of package.xml and of README's `pip install`, but what these themselves need."""
    names = {line.split("==")[0] for line in requirements.special["plain"]}
    needed = {
        "numpy",
        "opencv-python-headless",
        "scipy",
        "pyyaml",
        "onnxruntime",
        "array-api-compat",
        "pytest",
        "pytest-timeout",
    }
    assert needed <= names
    of_pytest = {"attrs", "iniconfig", "packaging", "pluggy", "py", "toml"}
    of_onnxruntime = {"coloredlogs", "flatbuffers", "humanfriendly", "mpmath", "protobuf", "sympy"}
    assert names == needed | of_pytest | of_onnxruntime
    assert "numpy==1.26.4" in requirements.special["plain"]


def test_a_python_without_the_old_libraries_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(plain_env.sys, "version_info", (3, 13, 0))
    with pytest.raises(SetupError, match=r"Python 3\.13: the old libraries .* up to Python 3\.12"):
        plain_env.make(tmp_path / "venv", with_ros=False)
    assert not (tmp_path / "venv").exists()


def test_sourced_ros_is_plain_already(monkeypatch, tmp_path):
    monkeypatch.setattr(System, "inspect", lambda: System("humble", True, True))
    with pytest.raises(SetupError, match="ROS_DISTRO=humble is set: this machine is a plain ROS machine"):
        plain_env.make(tmp_path / "venv", with_ros=True)

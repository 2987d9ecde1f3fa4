# SPDX-License-Identifier: Apache-2.0
"""The environment's maker, as far as it goes without making one."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools" / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["setup_env"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def requirements(setup_env):
    return setup_env.Requirements.parse((ROOT / "tools" / "requirements.txt").read_text())


def test_everything_is_pinned(requirements):
    lines = [
        *requirements.common,
        *requirements.ros,
        *(x for group in requirements.special.values() for x in group),
    ]
    pattern = r"[a-z0-9-]+==[0-9][\w.]*(; python_version (<|>=) \"3\.11\")?"
    assert [line for line in lines if not re.fullmatch(pattern, line)] == []
    names = [line for line in lines[: len(requirements.common) + len(requirements.ros)] if ";" not in line]
    assert len(names) == len(set(names))


def test_sections(requirements):
    assert all(line.startswith("ros-") or "catkin" in line or "ninja" in line for line in requirements.ros)
    assert not any(line.startswith("ros-") for line in requirements.common)
    assert requirements.special["no-deps"] == ("depth-anything-3==0.1.1",)
    assert "torch==2.13.0" in requirements.common


def test_extras_are_pinned_and_asked_for_only(setup_env, requirements):
    assert set(setup_env.EXTRAS) <= set(requirements.special)
    assert not any("tensorrt" in line for line in requirements.common)
    with pytest.raises(setup_env.SetupError, match="unknown extra bla; there is tensorrt"):
        setup_env.ensure(ROOT / "no-such-folder", extras=["bla"])


def test_extras_change_the_fingerprint(setup_env):
    system = setup_env.System(None, False, True)
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


def test_everything_missing_is_named_at_once(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env.sys, "version_info", (3, 8, 1))
    monkeypatch.setattr(setup_env.shutil, "which", lambda name: None)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    with pytest.raises(setup_env.SetupError) as caught:
        setup_env.System.inspect()
    text = str(caught.value)
    for words in (
        "Python 3.8",
        "3.10 to 3.13",
        "C compiler",
        "C++ compiler",
        "sudo apt install build-essential",
    ):
        assert words in text


def test_other_machines_are_pointed_to_an_installation(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env.platform, "machine", lambda: "aarch64")
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    with pytest.raises(setup_env.SetupError, match="Linux x86_64 only; this is Linux aarch64: install ROS 2"):
        setup_env.System.inspect()


def test_sourced_ros_with_the_wrong_python(setup_env, monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(setup_env, "_probe", lambda code: None if "rclpy" in code else "")
    with pytest.raises(setup_env.SetupError, match=r"ROS_DISTRO=jazzy is set, but .* cannot import rclpy"):
        setup_env.System.inspect()


def test_sourced_ros_is_used(setup_env, monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "humble")
    monkeypatch.setattr(setup_env, "_probe", lambda code: "1.21.5" if "numpy" in code else "")
    system = setup_env.System.inspect()
    assert (system.ros_distro, system.numpy1) == ("humble", True)


def test_fingerprint_follows_the_inputs(setup_env, monkeypatch, tmp_path):
    system = setup_env.System(None, False, True)
    first = setup_env.fingerprint(system)
    assert first == setup_env.fingerprint(system)
    assert first != setup_env.fingerprint(setup_env.System("humble", False, True))


def test_patch_of_the_wheels(setup_env, tmp_path):
    folder = tmp_path / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    export = folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    before = 'set_target_properties(x\n  INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp311/include;a"\n)\n'
    export.write_text(before)
    environment = setup_env.Environment(tmp_path)
    environment.patch_rosidl()
    after = export.read_text()
    assert after == 'set_target_properties(x\n  INTERFACE_INCLUDE_DIRECTORIES ""\n)\n'
    environment.patch_rosidl()
    assert export.read_text() == after


def test_failures_show_the_end_of_the_output(setup_env, tmp_path):
    environment = setup_env.Environment(tmp_path)
    with pytest.raises(setup_env.SetupError, match="ended with 3"):
        environment.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], lambda text: None)

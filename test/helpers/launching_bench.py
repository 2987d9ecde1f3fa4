# SPDX-License-Identifier: Apache-2.0
"""Launch files run for real, on pretended programs that write down how they were started.

On the packages `launch` and `launch_ros` where a ROS 2 installation has them, and otherwise on the stand-in in
`launch_api`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

import da3_ros

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STAND_IN = HERE / "launch_api"
FILES = sorted(path.name.split(".")[0] for path in (ROOT / "launch").glob("*.launch.py"))
PROGRAM = """#!/bin/sh
printf '%s\\0' "$0" "$@" > "$DA3_RECORDED/$$.argv"
exec env -0 > "$DA3_RECORDED/$$.env"
"""
# What the launch files start beside the node. The drivers' own files leave behind what those of today do: an empty
# `namespace`, `use_sim_time`, and another ThisLaunchFileDir.
DRIVER = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument("namespace", default_value=""),
        DeclareLaunchArgument("use_sim_time", default_value="true"),
        DeclareLaunchArgument("serial", default_value="any"),
        SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", "the driver's"),
        Node(package="{package}", executable="driver", namespace=LaunchConfiguration("namespace"),
             arguments=[[name + ":=", LaunchConfiguration(name)] for name in {options}]),
    ])
"""
DRIVERS = {
    "realsense2_camera": ("rs_launch.py", ("align_depth.enable", "enable_sync")),
    "zed_wrapper": ("zed_camera.launch.py", ("camera_model", "param_overrides")),
}
PROGRAMS = (
    ("tf2_ros", "static_transform_publisher"),
    ("usb_cam", "usb_cam_node_exe"),
    ("rviz2", "rviz2"),
    ("foxglove_bridge", "foxglove_bridge"),
    ("realsense2_camera", "driver"),
    ("zed_wrapper", "driver"),
)


class LaunchFailed(Exception):
    """What a launch logged before it ended with an error."""


@dataclass(frozen=True)
class Command:
    """How a program was started."""

    program: str
    """``package/executable``, or its name alone."""
    arguments: list[str]
    """Those of the program itself."""
    names: dict[str, str]
    """Special remappings, such as ``__node`` and ``__ns``."""
    remappings: dict[str, str]
    parameters: dict[str, Any]
    """By full names; later files over earlier ones, the node's own rules over those for every node."""
    env: dict[str, str]
    ros_arguments: list[str]
    """All of them as they were given, from ``--ros-args`` on."""


def is_real() -> bool:
    """Whether the real packages are installed. (The folder `launch` of this repository is none of them.)"""
    known = "launch" in sys.modules
    try:
        return importlib.util.find_spec("launch.launch_service") is not None and _is_there("launch_ros")
    except ModuleNotFoundError:
        return False
    finally:
        if not known:
            sys.modules.pop("launch", None)


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


class Bench:
    """A folder with pretended packages, and what was started from it. For the time of a test."""

    def __init__(self, folder: Path, monkeypatch: Any) -> None:
        self.prefix, self._recorded = folder / "prefix", folder / "recorded"
        self.is_real = is_real()
        self._recorded.mkdir()
        (folder / "tmp").mkdir()
        self._make_packages()
        for name, value in {
            "AMENT_PREFIX_PATH": f"{self.prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}",
            "PATH": f"{self.prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "DA3_RECORDED": str(self._recorded),
            "ROS_LOG_DIR": str(folder / "log"),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("FASTDDS_BUILTIN_TRANSPORTS", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))  # parameter files are left behind
        if not self.is_real:
            monkeypatch.syspath_prepend(str(STAND_IN))
        self._before: dict[str, ModuleType] = {}

    def __enter__(self) -> Bench:
        self._before = self._take_modules()
        return self

    def __exit__(self, *_: object) -> None:
        self._take_modules()
        sys.modules.update(self._before)
        if "da3_ros.launching" in self._before:
            da3_ros.launching = self._before["da3_ros.launching"]

    def _take_modules(self) -> dict[str, ModuleType]:
        """Modules of the launch packages, and ours upon them, out of the interpreter: the stand-in and what was
        imported before must not meet. The real ones may stay.
        """
        if self.is_real:
            return {}
        houses = ("launch", "launch_ros")
        names = [name for name in sys.modules if name.split(".")[0] in houses or name == "da3_ros.launching"]
        vars(da3_ros).pop("launching", None)
        return {name: sys.modules.pop(name) for name in names}

    def start(self, name: str | Path, **arguments: str) -> list[Command]:
        """Launch a file, by its name or path, with arguments as of the command line; what was started, in its order.

        Raises LaunchFailed with what was logged, and ValueError for an argument that it does not declare.
        """
        from launch.actions import IncludeLaunchDescription
        from launch.launch_description_sources import PythonLaunchDescriptionSource

        from launch import LaunchDescription, LaunchService

        path = name if isinstance(name, Path) else ROOT / "launch" / f"{name}.launch.py"
        before = set(self._recorded.glob("*.argv"))
        log, environment = _Log(), dict(os.environ)
        logging.getLogger("launch").addHandler(log)
        try:
            if path.parent == ROOT / "launch":
                self._check_arguments(path, arguments)
            source = PythonLaunchDescriptionSource(str(path))
            service = LaunchService(noninteractive=True)
            included = IncludeLaunchDescription(source, launch_arguments=list(arguments.items()))
            service.include_launch_description(LaunchDescription([included]))
            if service.run() != 0:
                raise LaunchFailed("\n".join(log.texts))
        finally:
            logging.getLogger("launch").removeHandler(log)
            os.environ.clear()  # the real launch sets variables in this process, and lets them be
            os.environ.update(environment)
        found = set(self._recorded.glob("*.argv")) - before
        return [self._command(path) for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def node(self, name: str | Path, **arguments: str) -> Command:
        """The same; how our node was started, once."""
        [command] = [command for command in self.start(name, **arguments) if command.program == "da3_ros/multi_cam"]
        return command

    @staticmethod
    def load(name: str) -> ModuleType:
        """A launch file as a module."""
        path = ROOT / "launch" / f"{name}.launch.py"
        spec = importlib.util.spec_from_file_location(f"{name}_launch", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def _check_arguments(self, path: Path, arguments: dict[str, str]) -> None:
        description = self.load(path.name.split(".")[0]).generate_launch_description()
        declared = {argument.name for argument in description.get_launch_arguments()}
        unknown = set(arguments) - declared
        if unknown:
            raise ValueError(f"{path.name} declares no {', '.join(sorted(unknown))}; it has {sorted(declared)}")

    def _make_packages(self) -> None:
        for package, executable in (*PROGRAMS, *(("da3_ros", name) for name in our_programs())):
            _write_program(self.prefix / "lib" / package / executable)
            index = self.prefix / "share/ament_index/resource_index/packages" / package
            index.parent.mkdir(parents=True, exist_ok=True)
            index.touch()
            (self.prefix / "share" / package / "launch").mkdir(parents=True, exist_ok=True)
        for package, (file, options) in DRIVERS.items():
            text = DRIVER.format(package=package, options=(*options, "serial"))
            (self.prefix / "share" / package / "launch" / file).write_text(text)
        _write_program(self.prefix / "bin" / "ros2")

    def _command(self, written: Path) -> Command:
        argv, lines = (path.read_bytes().decode().split("\0")[:-1] for path in (written, written.with_suffix(".env")))
        env = dict(line.split("=", 1) for line in lines)
        path = Path(argv[0])
        program = f"{path.parent.name}/{path.name}" if path.parent.parent == self.prefix / "lib" else path.name
        start = argv.index("--ros-args") if "--ros-args" in argv else len(argv)
        names, remappings, files = _ros_arguments(argv[start:])
        full = f"{names.get('__ns', '/').rstrip('/')}/{names.get('__node', '')}"
        return Command(program, argv[1:start], names, remappings, _parameters(files, full), env, argv[start:])


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def our_programs() -> dict[str, str]:
    """Commands that setup.py installs, and the ``module:function`` behind each."""
    text = (ROOT / "setup.py").read_text()
    [block] = re.findall(r'"console_scripts": \[(.*?)\]', text, re.DOTALL)
    return dict(re.findall(r'"(\w+) = ([\w.:]+)"', block))


def _write_program(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PROGRAM)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def _ros_arguments(words: list[str]) -> tuple[dict[str, str], dict[str, str], list[Path]]:
    """Special remappings, others, and parameter files of a command line, all of which must be understood."""
    names: dict[str, str] = {}
    remappings: dict[str, str] = {}
    files: list[Path] = []
    readers: dict[str, Callable[[str], Any]] = {
        "-r": lambda text: (names if text.startswith("__") else remappings).update([text.split(":=", 1)]),
        "--params-file": lambda text: files.append(Path(text)),
    }
    rest = [word for word in words if word != "--ros-args"]
    assert len(rest) % 2 == 0, words
    for flag, text in zip(rest[::2], rest[1::2], strict=True):
        readers[flag](text)
    return names, remappings, files


def _parameters(files: list[Path], full: str) -> dict[str, Any]:
    wild: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for path in files:
        # launch_ros writes lists as tuples of Python, a tag over which rcl passes
        for key, content in yaml.unsafe_load(path.read_text()).items():
            assert key in ("/**", full), f"{path}: rules for {key} do not concern {full}"
            (own if key == full else wild).update(flat(content["ros__parameters"]))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in {**wild, **own}.items()}


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Parameters by their full names."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found

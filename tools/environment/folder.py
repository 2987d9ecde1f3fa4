# SPDX-License-Identifier: Apache-2.0
"""The virtual environment: made, filled, and given the messages that have no wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from environment.machine import ROOT, SetupError, System
from environment.pins import Requirements

TOOLS = ROOT / "tools"
TF_TYPE_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"


class Environment:
    """The virtual environment at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.stamp = folder / "da3_ros_env.json"

    @property
    def pip_install(self) -> list[str | Path]:
        return [self.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]

    @property
    def site_packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def variables(self) -> dict[str, str]:
        """Environment for programs of this venv, freed of what another venv of ROS wheels may have left."""
        stale = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "PYTHONHOME")
        env = {name: value for name, value in os.environ.items() if name not in stale}
        if not os.environ.get("ROS_DISTRO"):
            for name in ("LD_LIBRARY_PATH", "PYTHONPATH"):
                env.pop(name, None)
            env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = str(self.folder)
        env["VIRTUAL_ENV"] = str(self.folder)
        env["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{env['PATH']}"
        return env

    def run(self, command: Sequence[str | Path], report: Callable[[str], None]) -> None:
        """Run a program of the venv; its last lines become part of the error if it fails."""
        process = subprocess.Popen(
            [str(part) for part in command],
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            report(lines[-1].strip())
        if process.wait() != 0:
            tail = "\n".join(f"    {line}" for line in lines[-25:])
            shown = " ".join(str(part) for part in command)
            raise SetupError(f"`{shown}` ended with {process.returncode}:\n{tail}")

    def create(self, system: System) -> None:
        """Make the venv; one of another Python version is replaced, a half-finished one is gone on with."""
        config = self.folder / "pyvenv.cfg"
        wanted = "true" if system.ros_distro else "false"
        usable = self.site_packages.is_dir() and self.python.exists() and config.exists()
        usable = usable and f"include-system-site-packages = {wanted}" in config.read_text()
        if usable:
            return
        flags = ["--clear"] + (["--system-site-packages"] if system.ros_distro else [])
        command = [sys.executable, "-m", "venv", *flags, str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SetupError(f"cannot make {self.folder}:\n{done.stdout}{done.stderr}")
        if system.ros_distro:
            # The venv lies inside the workspace of a ROS machine: colcon must not look for packages in it.
            (self.folder / "COLCON_IGNORE").touch()

    def install(self, requirements: Requirements, system: System, report: Callable[[str], None]) -> None:
        """Install the pins, then what must come without its own dependencies."""
        lines = requirements.lines(
            with_ros=not system.ros_distro,
            numpy1=system.numpy1,
            with_cmake=not system.has_cmake and not system.ros_distro,
        )
        self.install_pins(lines, report)
        self.run([*self.pip_install, "--progress-bar", "off", "--no-deps", *requirements.special["no-deps"]], report)

    def install_pins(self, lines: Sequence[str], report: Callable[[str], None]) -> None:
        """Install requirements, one a line, and what they depend on."""
        with tempfile.TemporaryDirectory() as scratch:
            pins = Path(scratch, "pins.txt")
            pins.write_text("\n".join(lines) + "\n")
            self.run([*self.pip_install, "--progress-bar", "off", "-r", pins], report)

    def install_extra(self, name: str, requirements: Requirements, report: Callable[[str], None]) -> None:
        """Install an optional group. Tests that want it skip without it, so a failure is told and no more."""
        try:
            self.run([*self.pip_install, "--progress-bar", "off", "--no-deps", *requirements.special[name]], report)
        except SetupError as error:
            print(f"\nwithout the optional packages of {name}: {error}", file=sys.stderr)

    def install_package(self, report: Callable[[str], None]) -> None:
        """da3_ros itself, editable, with its commands; and the environment that every process needs."""
        self.install_variables()
        self.run([*self.pip_install, "--no-deps", "--no-build-isolation", "--editable", ROOT], report)

    def install_variables(self) -> None:
        """Let every process of this venv find ROS 2 from wheels; where ROS is installed it changes nothing."""
        shutil.copyfile(TOOLS / "venv_environment.py", self.site_packages / "da3_ros_environment.py")
        (self.site_packages / "da3_ros_environment.pth").write_text("import da3_ros_environment\n")

    def patch_rosidl(self) -> None:
        """Take the wheels' build machine out of their CMake exports: its folders don't exist here."""
        for export in self.folder.glob("share/*/cmake/*generator_pyExport.cmake"):
            lines = export.read_text().splitlines(keepends=True)
            patched = [
                '  INTERFACE_INCLUDE_DIRECTORIES ""\n'
                if line.strip().startswith('INTERFACE_INCLUDE_DIRECTORIES "/opt/python')
                else line
                for line in lines
            ]
            if patched != lines:
                export.write_text("".join(patched))

    def build_tf2_msgs(self, report: Callable[[str], None]) -> None:
        """Compile tf2_msgs into the venv and check that its type is the one that other ROS machines speak."""
        self.patch_rosidl()
        with tempfile.TemporaryDirectory() as build:
            configure: list[str | Path] = [
                "cmake",
                "-S",
                TOOLS / "tf2_msgs",
                "-B",
                build,
                "-G",
                "Ninja",
                "-Wno-dev",
            ]
            configure += [f"-DCMAKE_INSTALL_PREFIX={self.folder}", f"-DPython3_EXECUTABLE={self.python}"]
            configure += ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"]
            self.run(configure, report)
            self.run(["cmake", "--build", build, "--target", "install"], report)
        description = json.loads((self.folder / "share/tf2_msgs/msg/TFMessage.json").read_text())
        hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
        found = hashes.get("tf2_msgs/msg/TFMessage")
        if found != TF_TYPE_HASH:
            raise SetupError(
                f"tf2_msgs/msg/TFMessage has type hash {found}, wanted {TF_TYPE_HASH}: "
                "tools/tf2_msgs/msg/TFMessage.msg or the geometry_msgs wheel differs from the distributions'"
            )

    def check(self, report: Callable[[str], None]) -> None:
        """Import once what the node needs."""
        modules = "rclpy, tf2_msgs.msg, sensor_msgs.msg, cv2, onnxruntime, torch, da3_ros"
        self.run([self.python, "-c", f"import {modules}"], report)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make `.venv`: everything that da3_ros needs to run, be tested and be trained, real ROS 2 included.

Standard library only; Python 3.10 to 3.13. A second run with nothing changed ends at once. On a machine with
a sourced ROS 2 installation the venv sees that installation and no ROS wheel is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
PYTHON_VERSIONS = ((3, 10), (3, 13))
EXTRAS = ("tensorrt", "openvino", "accuracy", "interop", "docs")
"""Optional groups of requirements.txt, chosen with `make env EXTRAS=...`."""
NEEDED_BYTES = 4 * 2**30
TF_TYPE_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"


class SetupError(RuntimeError):
    """Something is missing or failed; the message says what, and how to get it."""


@dataclass(frozen=True)
class Requirements:
    """`requirements.txt`, taken apart: lines outside and inside its `[ros]` section, `#:` lines."""

    common: tuple[str, ...]
    ros: tuple[str, ...]
    special: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, text: str) -> Requirements:
        common: list[str] = []
        ros: list[str] = []
        special: dict[str, list[str]] = {}
        target = common
        for line in (raw.strip() for raw in text.splitlines()):
            if line.startswith("#:"):
                kind, requirement = line[2:].strip().split(maxsplit=1)
                # Two or more blanks end the requirement and begin a remark.
                special.setdefault(kind, []).append(requirement.split("  ")[0].strip())
            elif line.startswith("# [ros]"):
                target = ros
            elif line and not line.startswith("#"):
                target.append(line)
        return cls(tuple(common), tuple(ros), {kind: tuple(lines) for kind, lines in special.items()})

    def lines(self, *, with_ros: bool, numpy1: bool, with_cmake: bool) -> list[str]:
        """The lines to hand to pip."""
        lines = [*self.common, *(self.ros if with_ros else ())]
        if numpy1:
            replaced = {_name(line) for line in self.special.get("numpy1", ())}
            keep_old = sys.version_info < (3, 11)  # pandas of Python 3.10 still takes NumPy 1
            replaced -= {"pandas"} if keep_old else set()
            lines = [line for line in lines if _name(line) not in replaced]
            lines += self.special.get("numpy1", ())
        if with_cmake:
            lines += self.special.get("cmake", ())
        return lines


def _name(requirement: str) -> str:
    return requirement.split("==", maxsplit=1)[0].strip().lower()


@dataclass(frozen=True)
class System:
    """What this machine offers, found without changing anything."""

    ros_distro: str | None  # a sourced ROS 2 installation that this Python can import
    numpy1: bool  # that installation's NumPy is 1.x
    has_cmake: bool

    @classmethod
    def inspect(cls) -> System:
        """Look around; raises SetupError that lists everything missing at once."""
        problems = list(_python_problems()) + list(_disk_problems())
        distro = os.environ.get("ROS_DISTRO")
        numpy1 = False
        if distro:
            probe = _probe("import rclpy, numpy; print(numpy.__version__)")
            if probe is None:
                problems.append(
                    f"ROS_DISTRO={distro} is set, but {sys.executable} cannot import rclpy. Use the Python "
                    "ROS was installed for (make env PYTHON=/usr/bin/python3), or a shell without ROS."
                )
            else:
                numpy1 = probe.startswith("1.")
                if _probe("import tf2_msgs.msg") is None:
                    problems.append(f"tf2_msgs is missing: sudo apt install ros-{distro}-tf2-msgs")
        else:
            problems += _wheel_problems()
        if problems:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise SetupError(f"This machine cannot hold the environment yet:\n{listed}")
        return cls(distro, numpy1, shutil.which("cmake") is not None)


def _probe(code: str) -> str | None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _python_problems() -> list[str]:
    problems = []
    version = sys.version_info[:2]
    low, high = PYTHON_VERSIONS
    if not low <= version <= high:
        problems.append(
            f"Python {version[0]}.{version[1]} ({sys.executable}); wanted {low[0]}.{low[1]} to "
            f"{high[0]}.{high[1]}: sudo apt install python3, or name another one: make env PYTHON=python3.12"
        )
    for module in ("venv", "ensurepip"):
        if _probe(f"import {module}") is None:
            problems.append(f"Python module {module!r}: sudo apt install python3-venv")
    return problems


def _disk_problems() -> list[str]:
    free = shutil.disk_usage(ROOT).free
    if free >= NEEDED_BYTES or (ROOT / ".venv").exists():
        return []
    return [f"disk: {free / 2**30:.1f} GiB free at {ROOT}; wanted {NEEDED_BYTES / 2**30:.0f} GiB"]


def _wheel_problems() -> list[str]:
    """What ROS 2 from wheels needs: their platform, and a compiler for tf2_msgs."""
    problems = []
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        problems.append(
            f"ROS 2 wheels exist for Linux x86_64 only; this is {platform.system()} {platform.machine()}: "
            "install ROS 2 (https://docs.ros.org) and source it, then run this again"
        )
    for what, names in (("C compiler", ("cc", "gcc", "clang")), ("C++ compiler", ("c++", "g++", "clang++"))):
        if not any(shutil.which(name) for name in names):
            problems.append(f"{what} ({', '.join(names)}): sudo apt install build-essential")
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        problems.append("Python headers (Python.h): sudo apt install python3-dev")
    return problems


class Steps:
    """Numbered progress lines with seconds; a terminal also sees what the running step is at."""

    def __init__(self, total: int) -> None:
        self._total, self._index = total, 0

    def run(self, title: str, action: Callable[[Callable[[str], None]], None]) -> None:
        """Run `action(report)`; `report(text)` shows what it is doing."""
        self._index += 1
        head = f"[{self._index}/{self._total}] {title}"
        begin = time.monotonic()
        state = {"text": ""}
        finished = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(head, begin, state, finished), daemon=True)
        if sys.stdout.isatty():
            ticker.start()
        else:
            print(f"{head} ...", flush=True)
        try:
            action(lambda text: state.update(text=text))
        finally:
            finished.set()
            if ticker.is_alive():
                ticker.join()
        line = f"{head}: {time.monotonic() - begin:.1f} s"
        print(f"\r\033[K{line}" if sys.stdout.isatty() else line, flush=True)

    @staticmethod
    def _tick(head: str, begin: float, state: Mapping[str, str], finished: threading.Event) -> None:
        while not finished.wait(0.5):
            width = shutil.get_terminal_size().columns - 1
            line = f"{head} {time.monotonic() - begin:4.0f} s  {state['text']}"
            print(f"\r\033[K{line[:width]}", end="", flush=True)


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
        pip = [*self.pip_install, "--progress-bar", "off"]
        with tempfile.TemporaryDirectory() as scratch:
            pins = Path(scratch, "pins.txt")
            pins.write_text("\n".join(lines) + "\n")
            self.run([*pip, "-r", pins], report)
        self.run([*pip, "--no-deps", *requirements.special["no-deps"]], report)

    def install_extra(self, name: str, requirements: Requirements, report: Callable[[str], None]) -> None:
        """Install an optional group. Tests that want it skip without it, so a failure is told and no more."""
        try:
            self.run([*self.pip_install, "--progress-bar", "off", "--no-deps", *requirements.special[name]], report)
        except SetupError as error:
            print(f"\nwithout the optional packages of {name}: {error}", file=sys.stderr)

    def install_package(self, report: Callable[[str], None]) -> None:
        """da3_ros itself, editable, with its commands; and the environment that every process needs."""
        shutil.copyfile(TOOLS / "venv_environment.py", self.site_packages / "da3_ros_environment.py")
        (self.site_packages / "da3_ros_environment.pth").write_text("import da3_ros_environment\n")
        self.run([*self.pip_install, "--no-deps", "--no-build-isolation", "--editable", ROOT], report)

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


def fingerprint(system: System, extras: Sequence[str] = ()) -> dict[str, str]:
    """What the environment was made from; equal fingerprints need no second run."""
    digest = hashlib.sha256()
    inputs = [
        TOOLS / "requirements.txt",
        TOOLS / "venv_environment.py",
        TOOLS / "setup_env.py",
        ROOT / "setup.py",
    ]
    inputs += sorted(path for path in (TOOLS / "tf2_msgs").rglob("*") if path.is_file())
    for path in inputs:
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return {
        "inputs": digest.hexdigest(),
        "python": platform.python_version(),
        "folder": str(ROOT),  # scripts and the editable install hold absolute paths
        "ros": system.ros_distro or "wheels",
        "extras": " ".join(sorted(extras)),
    }


def ensure(folder: Path, *, force: bool = False, extras: Sequence[str] = ()) -> None:
    """Make or renew the environment at `folder` unless its stamp says that it is up to date.

    extras: optional groups of `requirements.txt`; those that are already there stay.
    """
    unknown = sorted(set(extras) - set(EXTRAS))
    if unknown:
        raise SetupError(f"unknown extra {', '.join(unknown)}; there is {', '.join(EXTRAS)}")
    system = System.inspect()
    environment = Environment(folder)
    stamp = json.loads(environment.stamp.read_text()) if environment.stamp.exists() else {}
    chosen = sorted({*extras, *stamp.get("extras", "").split()})
    wanted = fingerprint(system, chosen)
    if not force and stamp == wanted:
        return
    begin = time.monotonic()
    requirements = Requirements.parse((TOOLS / "requirements.txt").read_text())
    environment.stamp.unlink(missing_ok=True)
    source = f"ROS 2 {system.ros_distro} of this machine" if system.ros_distro else "ROS 2 Kilted from wheels"
    print(f"Environment {folder}: Python {platform.python_version()}, {source}", flush=True)
    steps = Steps((4 if system.ros_distro else 5) + len(chosen))
    steps.run("virtual environment", lambda report: environment.create(system))
    steps.run("packages", lambda report: environment.install(requirements, system, report))
    for name in chosen:
        steps.run(f"optional: {name}", partial(environment.install_extra, name, requirements))
    if not system.ros_distro:
        steps.run("tf2_msgs, compiled", environment.build_tf2_msgs)
    steps.run("da3_ros, editable", environment.install_package)
    steps.run("check", environment.check)
    environment.stamp.write_text(json.dumps(wanted, indent=2) + "\n")
    print(f"Environment ready in {time.monotonic() - begin:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="run every step although nothing changed")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME", help=f"also: {', '.join(EXTRAS)}")
    options = parser.parse_args()
    # One at a time: `make demo` and `make test` may start together.
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            ensure(ROOT / ".venv", force=options.force, extras=options.extra)
        except SetupError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""What this machine offers, and what it lacks for the environment."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON_VERSIONS = ((3, 10), (3, 13))
NEEDED_BYTES = 4 * 2**30


class SetupError(RuntimeError):
    """Something is missing or failed; the message says what, and how to get it."""


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

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the tests as on a plain ROS machine: with what package.xml asks for and nothing else, in old versions.

    python3 tools/plain_env.py                                  every test but those over DDS
    python3 tools/plain_env.py test/messages -k bayer           a part
    python3 tools/plain_env.py --without-ros                    as on a machine that has no ROS either

Makes a virtual environment in a temporary folder (the `plain` lines of requirements.txt, ROS 2 from wheels), runs
pytest of the checkout in it, and removes it. It wants what `make env` wants (Linux x86_64, a compiler). Standard
library only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from environment.folder import TOOLS, Environment
from environment.machine import ROOT, SetupError, System
from environment.pins import Requirements
from environment.steps import Steps

NEWEST_PYTHON = (3, 12)
"""The old libraries have no wheels for later ones."""
EVERYTHING = ("test", "-m", "not system")


def make(folder: Path, *, with_ros: bool) -> Environment:
    """A virtual environment in an empty folder with the `plain` pins. Raises SetupError."""
    if sys.version_info[:2] > NEWEST_PYTHON:
        raise SetupError(
            f"Python {sys.version_info[0]}.{sys.version_info[1]}: the old libraries of this test exist up to Python "
            f"{NEWEST_PYTHON[0]}.{NEWEST_PYTHON[1]}; name another one: python3.12 tools/plain_env.py"
        )
    machine = System.inspect()
    if machine.ros_distro:
        raise SetupError(
            f"ROS_DISTRO={machine.ros_distro} is set: this machine is a plain ROS machine, `python3 -m pytest test` or "
            "`colcon test` shows the same. In a shell without ROS this makes one of wheels."
        )
    requirements = Requirements.parse((TOOLS / "requirements.txt").read_text())
    environment = Environment(folder)
    pins = [*requirements.special["plain"]]
    if with_ros:
        pins += requirements.ros
        pins += () if machine.has_cmake else requirements.special["cmake"]
    steps = Steps(3 if with_ros else 2)
    steps.run("virtual environment", lambda report: environment.create(machine))
    steps.run("packages", lambda report: environment.install_pins(pins, report))
    environment.install_variables()
    if with_ros:
        steps.run("tf2_msgs, compiled", environment.build_tf2_msgs)
    return environment


def run_tests(environment: Environment, arguments: Sequence[str], scratch: Path) -> int:
    """Exit code of pytest over the checkout, which stays as it is: caches go to a folder that is thrown away."""
    command = [str(environment.python), "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    variables = {**environment.variables(), "PYTHONPYCACHEPREFIX": str(scratch / "pycache")}
    return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-ros", action="store_true", help="no ROS 2 either: its tests skip")
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="da3_plain_") as scratch:
        try:
            environment = make(Path(scratch, "venv"), with_ros=not options.without_ros)
        except SetupError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return run_tests(environment, arguments or EVERYTHING, Path(scratch))


if __name__ == "__main__":
    sys.exit(main())

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
import platform
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from environment.folder import TOOLS, Environment
from environment.machine import ROOT, SetupError, System
from environment.pins import Requirements
from environment.steps import Steps

EXTRAS = ("tensorrt", "openvino", "accuracy", "interop", "docs", "workflows", "mutants")
"""Optional groups of requirements.txt, chosen with `make env EXTRAS=...`."""


def fingerprint(system: System, extras: Sequence[str] = ()) -> dict[str, str]:
    """What the environment was made from; equal fingerprints need no second run."""
    digest = hashlib.sha256()
    inputs = [
        TOOLS / "requirements.txt",
        TOOLS / "venv_environment.py",
        TOOLS / "setup_env.py",
        ROOT / "setup.py",
    ]
    inputs += sorted((TOOLS / "environment").glob("*.py"))
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

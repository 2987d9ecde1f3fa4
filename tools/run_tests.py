#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole test suite, as `make test` runs it: in two parts at once.

Tests that wait for nothing but the processor run in two processes, each folder in one of them (its fixtures are dear),
at a low priority. Those that start processes which talk to each other and mind the time run one by one beside
them, and come first wherever they want a core; what they say is shown when both parts are through.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUSY = (
    "export", "bag", "training", "estimation", "tools", "stream", "benchmark", "engines", "cli", "parity", "render",
    "viewer", "test_imports.py", "network", "examples", "files", "geometry", "messages", "sync", "test_launch.py",
    "test_launch_api.py", "test_rooms.py",
)  # fmt: skip
"""Folders and files of `test` that only compute, the longest ones first: what is short fills up the end."""
SIDE_BY_SIDE = ("--numprocesses", "2", "--dist", "loadgroup", "--no-loadscope-reorder")
"""Options for them; test/conftest.py says what stays in one process."""
NICE = 10
"""Niceness of the first part: enough to come second, and there is room below it for threads that give way."""


def run(busy: Sequence[str], timed: Sequence[str], folder: Path = ROOT) -> int:
    """Exit code 0 where both parts pass; arguments of pytest for either part, which runs in `folder`. The first part
    prints as it goes, the second one's output follows it.
    """
    pytest = [sys.executable, "-m", "pytest"]
    # Hundreds of processes would compile the same modules anew.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as said:
        second = subprocess.Popen([*pytest, *timed], cwd=folder, env=env, stdout=said, stderr=subprocess.STDOUT)
        first = subprocess.Popen(
            ["nice", "-n", str(NICE), *pytest, *busy], cwd=folder, env={**env, "OMP_NUM_THREADS": "1"}
        )
        try:
            codes = first.wait(), second.wait()
        except KeyboardInterrupt:  # they have it, too: both are from this terminal
            codes = first.wait(), second.wait()
        said.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    return int(any(codes))


def main(arguments: Sequence[str] | None = None) -> int:
    """All tests of the checkout; exits where anything is asked for, but for help."""
    argparse.ArgumentParser(
        description=__doc__,
        epilog="It takes no arguments: for some of the tests, call pytest with their paths.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    paths = [f"test/{name}" for name in BUSY]
    return run([*SIDE_BY_SIDE, *paths], [f"--ignore={path}" for path in paths])


if __name__ == "__main__":
    sys.exit(main())

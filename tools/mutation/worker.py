# SPDX-License-Identifier: Apache-2.0
"""A process that has imported what is slow to import, and runs tests in children of its own: `python worker.py`.

Reads one JSON object a line from standard input, `{"tests": [...], "limit_s": 20}`, and answers with one a line:
`{"outcome": "passed" | "failed" | "late" | "crashed" | "none", "said": last lines}`. Of the package itself it imports
nothing, so that each child sees the files as they are then.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence

SLOW = (
    "numpy",
    "cv2",
    "scipy.spatial.transform",
    "scipy.optimize",
    "onnxruntime",
    "pytest",
    "hypothesis",
    "yaml",
    "rclpy",
    "rclpy.executors",
    "rclpy.node",
    "sensor_msgs.msg",
    "geometry_msgs.msg",
    "nav_msgs.msg",
    "diagnostic_msgs.msg",
    "lifecycle_msgs.msg",
    "tf2_msgs.msg",
    "rosbags.highlevel",
)
CODES = {0: "passed", 1: "failed", 2: "failed", 3: "failed", 4: "failed", 5: "none"}
"""Of pytest: a mutant that can't be imported interrupts the collection (2), or makes a named test unknown (4)."""


def main() -> None:
    """Answers until standard input ends."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.getcwd())
    for name in SLOW:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    for plugin in importlib.metadata.entry_points(group="pytest11"):
        plugin.load()  # pytest would, in each child
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(_run(task["tests"], task["limit_s"])), flush=True)


def _run(tests: Sequence[str], limit_s: float) -> dict[str, str]:
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            os.setsid()
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os._exit(_pytest(tests))
        outcome = _wait(child, limit_s)
        said.seek(0)
        return {"outcome": outcome, "said": said.read()[-2000:]}


def _pytest(tests: Sequence[str]) -> int:
    import pytest

    try:
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=line", *tests]))
    except BaseException as error:  # whatever it is, it is the mutant's
        print(repr(error))
        return 1


def _wait(child: int, limit_s: float) -> str:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end(child)
            return CODES.get(os.WEXITSTATUS(status), "failed") if os.WIFEXITED(status) else "crashed"
        time.sleep(0.01)
    _end(child)
    os.waitpid(child, 0)
    return "late"


def _end(child: int) -> None:
    """With all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


if __name__ == "__main__":
    main()

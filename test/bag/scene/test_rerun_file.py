# SPDX-License-Identifier: Apache-2.0
"""A scene for Rerun that cannot be written."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from da3_ros.bag.errors import BagError
from da3_ros.bag.scene.rerun_file import write_rerun
from da3_ros.viewer import places
places.TURN_S = 0.3
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
points = np.random.rand(100_000, 3).astype(np.float32)
try:
    write_rerun(Path(sys.argv[1]), [], [], points, np.zeros((100_000, 3), np.uint8), metric=True)
except BagError as error:
    print("error:", error)
"""


def test_a_scene_that_there_is_no_room_for_is_said_and_nothing_is_left(tmp_path):
    """By the limit of a process, in place of a disk's: the SDK would wait for ever, and once more when Python ends."""
    pytest.importorskip("rerun", reason="the extra `make env EXTRAS=interop` is not installed")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "scene.rrd")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert found.returncode == 0, found.stderr
    assert "scene.rrd.tmp is not written any more (" in found.stdout
    assert "is there space left?" in found.stdout
    assert not list(tmp_path.iterdir())

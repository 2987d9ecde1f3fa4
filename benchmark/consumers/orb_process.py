# SPDX-License-Identifier: Apache-2.0
"""A process that runs ORB-SLAM3 in RGB-D mode on a folder, and nothing else: its binding is GPL and native, and
neither may come into the process of the benchmark. `orb_slam3.py` starts it:

    python orb_process.py FOLDER VOCABULARY PACE

FOLDER holds settings.yaml, images.npy (N, H, W) grey, depths.npy (N, H, W) metres with 0 for unknown, stamps.npy (N)
seconds; it gets trajectory.txt (TUM) and states.json. PACE: how many times as fast as the stamps frames come.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np


def main() -> int:
    """Track every frame, and save the trajectory that is left after the last adjustment."""
    import pyorbslam3

    folder, vocabulary, pace = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    images, depths = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "depths"))
    stamps = np.load(folder / "stamps.npy")
    slam = pyorbslam3.Slam(vocabulary, str(folder / "settings.yaml"), pyorbslam3.Sensor.RGBD, use_viewer=False)
    states, seconds, begin = [], [], time.monotonic()
    for image, depth, stamp in zip(images, depths, stamps, strict=True):
        late = begin + (stamp - stamps[0]) / pace - time.monotonic()
        if late > 0:
            time.sleep(late)
        before = time.monotonic()
        result = slam.track_rgbd(np.array(image), np.array(depth), float(stamp))
        seconds.append(time.monotonic() - before)
        states.append(str(result.state).rsplit(".", 1)[-1])
    slam.shutdown()
    slam.save_trajectory_tum(str(folder / "trajectory.txt"))
    (folder / "states.json").write_text(json.dumps({"states": states, "milliseconds": 1e3 * float(np.median(seconds))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Our FrameBuffer beside message_filters' ApproximateTimeSynchronizer: ``python benchmark/synchroniser.py``.

First it records: each camera is a process of its own that stamps frames by its own timer, with the clock drift and the
scheduling of this machine, and sends them over DDS; the order of arrival is kept. Or `--bag FILE` takes the stamps and
arrivals of a recording. Then both get the same frames in the same order, and also with every second frame of one camera
left out, and as a recording that is played twice. Reported: sets as a share of what was possible (the frames of the
slowest camera), skew within sets, and time for each frame.

message_filters comes with ROS 2; where it is not installed, only ours is run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "test" / "helpers"))

from da3_ros.sync import FrameBuffer, SyncConfig

CAMERAS = ("front", "left", "rear", "right")
HERTZ = 30.0
Arrivals = list[tuple[str, int]]
"""(camera, stamp in ns) in order of arrival."""
Sets = list[list[int]]
"""Stamps of each set."""


def send(camera: str, start: float, seconds: float) -> int:
    """One camera: a small image every 33 ms by a timer that runs a little fast or slow."""
    from ros_peer import Peer

    drift = 1 + 4e-5 * (CAMERAS.index(camera) - 1.5)
    with Peer(int(os.environ["ROS_DOMAIN_ID"]), camera) as peer:
        image = np.zeros((8, 8, 3), np.uint8)
        peer.publisher(f"/{camera}/image_raw", "sensor_msgs/msg/Image")
        peer.wait(lambda: peer.node.count_subscribers(f"/{camera}/image_raw"), 30, "the recorder")
        for index in range(round(seconds * HERTZ)):
            time.sleep(max(0.0, start + index / HERTZ * drift - time.time()))
            peer.send_image(camera, image, peer.now_ns())
        time.sleep(0.5)
    return 0


def record(seconds: float) -> Arrivals:
    """Frames of all cameras as they came."""
    from ros_peer import TYPES, Peer, next_domain

    from da3_ros.messages import stamp_to_ns
    from da3_ros.node.compat import qos_profile

    domain = next_domain()
    found: Arrivals = []
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    with Peer(domain, "recorder") as peer:
        for camera in CAMERAS:
            peer.node.create_subscription(
                TYPES["sensor_msgs/msg/Image"],
                f"/{camera}/image_raw",
                lambda message, camera=camera: found.append((camera, stamp_to_ns(message.header.stamp))),
                qos_profile(50),
            )
        command = [sys.executable, str(Path(__file__).resolve()), "--seconds", str(seconds)]
        processes = []
        start = time.time() + 5.0
        for index, camera in enumerate(CAMERAS):  # 4 ms apart, as where nothing triggers them together
            own = ["--camera", camera, "--start", str(start + 0.004 * index)]
            processes.append(subprocess.Popen([*command, *own], env=environment))
        codes = [process.wait(seconds + 60) for process in processes]
    if any(codes):
        raise RuntimeError(f"the cameras ended with {codes}")
    return found


def read(path: Path) -> Arrivals:
    """Stamps of the image topics of a bag, in order of arrival; each topic is a camera."""
    from rosbags.highlevel import AnyReader

    from da3_ros.messages import stamp_to_ns

    def stamp(message: Any) -> int:
        return stamp_to_ns(message.header.stamp)

    with AnyReader([path]) as reader:
        wanted = [c for c in reader.connections if c.msgtype.split("/")[-1] in ("Image", "CompressedImage")]
        return [
            (connection.topic, stamp(reader.deserialize(data, connection.msgtype)))
            for connection, _, data in reader.messages(wanted)
        ]


def ours(arrivals: Arrivals, policy: str, slop_ns: int) -> tuple[Sets, float]:
    """Sets, and seconds spent."""
    buffer: FrameBuffer[None] = FrameBuffer(
        sorted({camera for camera, _ in arrivals}), SyncConfig(policy=policy, max_skew_ns=slop_ns)
    )
    sets = []
    begin = time.perf_counter()
    for camera, stamp in arrivals:
        found = buffer.push(camera, stamp, None)
        if found is not None:
            sets.append(found)
    spent = time.perf_counter() - begin
    return [[frame.stamp_ns for frame in found.frames] for found in sets], spent


def theirs(arrivals: Arrivals, slop_ns: int) -> tuple[Sets, float]:
    """The same by message_filters, with queues of ten as ours; raises ImportError."""
    import message_filters

    from da3_ros.node.compat import live_types

    types = live_types()
    filters = {camera: message_filters.SimpleFilter() for camera in sorted({c for c, _ in arrivals})}
    synchroniser = message_filters.ApproximateTimeSynchronizer(list(filters.values()), 10, slop_ns / 1e9)
    sets: list[tuple[Any, ...]] = []
    synchroniser.registerCallback(lambda *messages: sets.append(messages))
    kind = types["sensor_msgs/msg/Image"]
    messages = [(camera, kind(header=types.header(stamp, camera))) for camera, stamp in arrivals]
    begin = time.perf_counter()
    for camera, message in messages:
        filters[camera].signalMessage(message)
    spent = time.perf_counter() - begin
    stamps = [[m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in found] for found in sets]
    return stamps, spent


def halved(arrivals: Arrivals) -> Arrivals:
    """Without every second frame of one camera."""
    seen: Counter[str] = Counter()
    one = sorted({camera for camera, _ in arrivals})[1]
    kept = []
    for camera, stamp in arrivals:
        seen[camera] += 1
        if camera != one or seen[camera] % 2:
            kept.append((camera, stamp))
    return kept


def looped(arrivals: Arrivals) -> Arrivals:
    """Played twice; the first time one camera lacks its end, so that frames are left that nothing matches."""
    last = max(stamp for _, stamp in arrivals)
    one = sorted({camera for camera, _ in arrivals})[0]
    return [(c, stamp) for c, stamp in arrivals if c != one or stamp < last - 1_000_000_000] + arrivals


def main() -> int:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of recording")
    parser.add_argument("--slop", type=float, default=0.02, help="largest skew in seconds")
    parser.add_argument("--bag", type=Path, help="a recording to take instead")
    parser.add_argument("--camera", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.camera:
        return send(arguments.camera, arguments.start, arguments.seconds)
    arrivals = read(arguments.bag) if arguments.bag else record(arguments.seconds)
    count = len({camera for camera, _ in arrivals})
    print(f"{len(arrivals)} frames of {count} cameras, skew of at most {arguments.slop * 1e3:g} ms")
    print(f"{'':<18}{'':<20}{'sets':>7}{'share':>8}{'skew p50':>10}{'p95 ms':>8}{'us/frame':>10}")
    for (title, way), result in compare(arrivals, arguments.slop).items():
        if isinstance(result, str):
            print(f"{title:<18}{way:<20} not run: {result}")
        else:
            print(
                f"{title:<18}{way:<20}{result[0]:7.0f}{result[1]:8.3f}{result[2]:10.2f}{result[3]:8.2f}{result[4]:10.1f}"
            )
    return 0


def compare(arrivals: Arrivals, slop_s: float) -> dict[tuple[str, str], tuple[float, ...] | str]:
    """Sets, their share, skew p50 and p95 (ms) and microseconds a frame, by case and way; or why it was not run."""
    slop = round(slop_s * 1e9)
    ways: dict[str, Callable[[Arrivals], tuple[Sets, float]]] = {
        "ours, anchor": lambda frames: ours(frames, "anchor", slop),
        "ours, approximate": lambda frames: ours(frames, "approximate", slop),
        "message_filters": lambda frames: theirs(frames, slop),
    }
    cases = {"as it came": arrivals, "one at half rate": halved(arrivals), "played twice": looped(arrivals)}
    out: dict[tuple[str, str], tuple[float, ...] | str] = {}
    for title, frames in cases.items():
        possible = min(Counter(camera for camera, _ in frames).values())
        for way, run in ways.items():
            try:
                sets, spent = run(frames)
            except ImportError as error:
                out[title, way] = str(error)
                continue
            skews = [(max(stamps) - min(stamps)) / 1e6 for stamps in sets] or [float("nan")]
            p50, p95 = np.percentile(skews, (50, 95))
            out[title, way] = (len(sets), len(sets) / possible, p50, p95, spent / len(frames) * 1e6)
    return out


if __name__ == "__main__":
    sys.exit(main())

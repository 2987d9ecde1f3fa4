# SPDX-License-Identifier: Apache-2.0
"""Kills ``da3 bag`` (SIGKILL) at random moments, lets it go on each time, and compares the final bag with that of a run
without interruption, message by message: ``python benchmark/bag_kill.py``.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rosbags.rosbag2 import Reader

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Print what each kill left and whether the end is equal; exit code 1 if it is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bag", type=Path, default=ROOT / "test" / "data" / "four_cameras")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", choices=("folder", "mcap"), default="mcap")
    parser.add_argument("--size", type=int, default=140)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        suffix = ".mcap" if arguments.output == "mcap" else ""
        options = ["--quiet", "--segment", "2", "--copy", "all", "--processes", str(arguments.processes)]
        options += ["-p", f"inference.size:={arguments.size}", "-p", "cloud.rate:=3"]
        whole, broken = Path(scratch, f"whole{suffix}"), Path(scratch, f"broken{suffix}")
        begin = time.monotonic()
        run(arguments.bag, whole, options).wait()
        duration = time.monotonic() - begin
        print(f"uninterrupted: {duration:.1f} s, {len(messages(whole))} messages")
        done = 0
        while done < arguments.kills:
            process = run(arguments.bag, broken, options)
            moment = rng.uniform(0.1, 1.0) * duration
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
                parts = Path(f"{broken}.da3", "parts")
                count = len(list(parts.glob(f"*{'.mcap'}"))) if parts.exists() else 0
                valid = len(messages(parts)) if (parts / "metadata.yaml").exists() else 0
                print(f"kill {done} after {moment:.2f} s: {count} segments, {valid} messages readable")
                continue
            print(f"finished by itself before {moment:.2f} s; begun anew")
            if not compare(whole, broken):
                return 1
            for path in (broken, Path(f"{broken}.da3")):
                remove(path)
        process = run(arguments.bag, broken, options)
        if process.wait() != 0:
            print("the last run failed")
            return 1
        equal = compare(whole, broken)
        print(f"{arguments.kills} kills: {'equal' if equal else 'NOT EQUAL'}, {len(messages(broken))} messages")
        return 0 if equal else 1


def run(bag: Path, output: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """`da3 bag` as a process."""
    command = [sys.executable, "-m", "da3_ros.cli.main", "bag", str(bag), str(output), *options]
    return subprocess.Popen(command, cwd=ROOT)


def messages(path: Path) -> list[tuple[str, int, bytes]]:
    """Topic, log time and bytes of every message."""
    with Reader(path) as reader:
        return [(connection.topic, log_ns, bytes(raw)) for connection, log_ns, raw in reader.messages()]


def compare(a: Path, b: Path) -> bool:
    """Whether two bags hold the same messages in the same order; says where they differ first."""
    first, second = messages(a), messages(b)
    for number, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            print(f"message {number} differs: {one[:2]} {len(one[2])} bytes, {other[:2]} {len(other[2])} bytes")
            return False
    if len(first) != len(second):
        print(f"{len(first)} and {len(second)} messages")
    return len(first) == len(second)


def remove(path: Path) -> None:
    """Remove a file or folder."""
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())

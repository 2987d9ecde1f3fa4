# SPDX-License-Identifier: Apache-2.0
"""Twelve bags on a Ray cluster of two nodes, one of which is killed in the middle, and one bag is corrupt: eleven
results, one failure with its name, and the exit code says so. ``python benchmark/fleet_kill.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bag_kill import messages

from da3_ros.cli.main import main as da3

if TYPE_CHECKING:
    from ray._private.node import Node
    from ray.cluster_utils import Cluster

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Killed:
    """What was going on when the node was killed."""

    finished: int | None = None
    """Bags; None while it lives."""
    half_done: list[str] = field(default_factory=list)
    """Names of the bags in work."""


def main() -> int:
    """Print the table of the fleet and whether it is as it must be; exit code 1 if it is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bag", type=Path, default=ROOT / "test" / "data" / "four_cameras")
    parser.add_argument("--bags", type=int, default=12)
    parser.add_argument("--size", type=int, default=140)
    parser.add_argument("--after", type=int, default=3, help="bags that are finished when the node is killed")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as scratch:
        folder, output = Path(scratch, "bags"), Path(scratch, "out")
        corrupt = _make_bags(arguments.bag, folder, arguments.bags)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        ray.init(cluster.address, log_to_driver=False)
        killed = Killed()
        killer = threading.Thread(target=_kill, args=(cluster, nodes[0], output, arguments.after, killed), daemon=True)
        killer.start()
        command = ["fleet", str(folder), str(output), "--address", cluster.address, "--segment", "2"]
        command += ["-p", f"inference.size:={arguments.size}", "--outputs", "*", "!odometry", "!/da3/*/points"]
        begin, errors = time.monotonic(), io.StringIO()
        with contextlib.redirect_stderr(errors):
            code = da3(command)
        seconds = time.monotonic() - begin
        ray.shutdown()
        cluster.shutdown()
        said = errors.getvalue().strip().splitlines()[-1]
        return _judge(output, arguments.bags, corrupt, code, said, killed, seconds)


def _make_bags(bag: Path, folder: Path, count: int) -> str:
    """Copies of a bag; the last but one is corrupt. Returns its name."""
    folder.mkdir()
    for number in range(count):
        shutil.copytree(bag, folder / f"bag_{number:02d}")
    corrupt = folder / f"bag_{count - 2:02d}"
    for file in corrupt.glob("*.mcap"):
        file.write_bytes(bytes(file.stat().st_size))
    return corrupt.name


def _kill(cluster: Cluster, node: Node, output: Path, after: int, killed: Killed) -> None:
    """Once `after` bags are finished, and both nodes are in the middle of one."""
    while True:
        finished = len(list(output.glob("*.da3/run.json")))
        parts = Counter(path.parents[1].stem for path in output.glob("*.da3/parts/*.mcap"))
        if finished >= after and sum(3 <= count <= 7 for count in parts.values()) == 2:
            break
        time.sleep(0.05)
    killed.finished, killed.half_done = finished, sorted(parts)
    cluster.remove_node(node, allow_graceful=False)


def _judge(output: Path, count: int, corrupt: str, code: int, said: str, killed: Killed, seconds: float) -> int:
    results = json.loads((output / "fleet.json").read_text())["bags"]
    done = [result for result in results if result["state"] == "done"]
    again = [result["name"] for result in results if result["attempts"] > 1]
    resumed = [result["name"] for result in results if result["resumed"]]
    contents = {tuple(messages(output / result["name"])) for result in done}
    if killed.finished is None:
        print("no node was killed: never were both in the middle of a bag")
    else:
        print(f"node killed when {killed.finished} bags were finished; half done: {', '.join(killed.half_done)}")
    print(f"{len(results)} bags in {seconds:.1f} s: {len(done)} done, once more: {again}, went on: {resumed}")
    print(f"exit code {code}: {said}")
    checks = {
        f"{count - 1} results": len(done) == count - 1,
        f"one failure, {corrupt}": [r["name"] for r in results if r["state"] == "failed"] == [corrupt],
        "exit code 1, which names it": code == 1 and said.endswith(f"failed: {corrupt}"),
        "the bag that was lost with the node went on elsewhere": bool(again) and again == resumed,
        "all outputs hold the same messages": len(contents) == 1,
    }
    for text, fine in checks.items():
        print(f"{'ok ' if fine else 'NOT'} {text}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

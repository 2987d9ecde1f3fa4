# SPDX-License-Identifier: Apache-2.0
"""The real node under faults for a long time: ``python benchmark/soak.py --minutes 30``.

Four cameras (two send JPEG), depth, confidence and clouds of all of them subscribed to. First the highest rate is
looked for at which at most one set in twenty is superseded; then, at that rate, one of these at random every few
seconds: a camera stops, sends at half rate, sends cut JPEG, wrong sizes, calibrations of NaN or none, of a lens that is
not known, of too few numbers, in shares of the image, or another camera's; a picture that claims to have gigabytes, an
encoding without colours, bytes behind a JPEG; stamps of zero; a CameraInfo after its image; a LiDAR sends clouds
without points, with two fields of one name, or of no layout; transforms that are none; all stop; stamps jump back; a
subscriber with other demands comes and goes; parameters are set to nonsense. In between everything is well.

Exit code 1 unless: the diagnostics named every fault that costs anything while it lasted; no frame was dropped for one
that costs nothing, nor by the engine; the process is the one that was started, its memory grew by less than a hundredth
after the first quarter of the faults, threads and open files did not grow, and every frame that it received is used,
dropped by a cause, or waiting.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "test" / "helpers"))

from ros_peer import TYPES, Peer, next_domain
from soak_cameras import HARMLESS, IMAGE, JPEG, NAMES, ONE, SAID, Cameras

from da3_ros.node.compat import qos_profile


def resources(pid: int) -> tuple[int, int, int]:
    """Resident bytes, threads, open files of a process."""
    folder = Path(f"/proc/{pid}")
    pages = int((folder / "statm").read_text().split()[1])
    return (
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(list((folder / "task").iterdir())),
        len(list((folder / "fd").iterdir())),
    )


class Soak:
    """The node, its cameras, and everything that is done to them."""

    def __init__(self, peer: Peer, node: subprocess.Popen[bytes], seed: int) -> None:
        self.peer, self.node, self.random = peer, node, random.Random(seed)
        self.cameras = Cameras(peer)
        self.latencies: list[float] = []
        self.history: list[tuple[int, int, int]] = []
        self.subscription: Any = None
        self.done: dict[str, int] = {}
        self.missed: list[str] = []
        """Faults of which nothing was said, and frames that were dropped for what costs none."""

    def run(self, seconds: float, hertz: float) -> None:
        """Feed for some time, and forget what came."""
        end, due = time.monotonic() + seconds, time.monotonic()
        while due < end:
            self.cameras.send()
            due = max(due + 1 / hertz, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
            if self.node.poll() is not None:
                raise RuntimeError(f"the node ended with {self.node.returncode}")
        for topic, messages in self.peer.received.items():
            if topic == "/da3/latency":
                values = [{p.key: float(p.value) for p in message.status[0].values} for message in messages]
                if not self.cameras.offset_ns:  # elsewhere stamps are not of this clock
                    self.latencies += [value["total_ms"] for value in values]
            if topic != "/diagnostics":
                messages.clear()
        del self.peer.received["/diagnostics"][:-5]

    def counts(self) -> dict[str, dict[str, int]]:
        """Counts of every camera from the newest diagnostics."""
        statuses = self.peer.diagnostics()
        return {
            name: {
                key: int(value)
                for key, value in statuses[name][2].items()
                if key in ("received", "used", "dropped", "waiting") or key.startswith("dropped_")
            }
            for name in NAMES
        }

    def dropped(self) -> dict[str, int]:
        """Frames of each camera that were dropped for what is wrong with them."""
        causes = ("dropped_image", "dropped_calibration", "dropped_engine")
        return {name: sum(count.get(cause, 0) for cause in causes) for name, count in self.counts().items()}

    def highest_rate(self) -> float:
        """Sets a second of which at most one in twenty is superseded."""
        rate = 16.0
        while rate > 0.5:
            before = self.counts()["front"]
            self.run(12, rate)
            after = self.counts()["front"]
            received = after["received"] - before["received"]
            lost = after.get("dropped_superseded", 0) - before.get("dropped_superseded", 0)
            print(f"  {rate:5.2f} Hz: {lost} of {received} sets superseded", flush=True)
            if lost <= 0.05 * received:
                return rate
            rate *= 0.8
        raise RuntimeError("no rate is low enough")

    def fault(self, hertz: float) -> None:
        """One fault, and its end."""
        cameras = self.cameras
        one = self.random.choice(NAMES)
        kinds: dict[str, Callable[[], None]] = {
            kind: lambda kind=kind: cameras.faults.update({one: kind})  # type: ignore[misc]
            for kind in ONE
        }
        jpeg = self.random.choice(JPEG)
        raw = self.random.choice([name for name in NAMES if name not in JPEG])
        kinds["bytes behind"] = lambda: cameras.faults.update({jpeg: "bytes behind"})
        kinds["no colours"] = lambda: cameras.faults.update({raw: "no colours"})
        for cloud in ("cloud without points", "cloud with twins", "cloud without a layout"):
            kinds[cloud] = lambda cloud=cloud: cameras.faults.update(lidar=cloud)  # type: ignore[misc]
        kinds["transforms that are none"] = lambda: cameras.faults.update(tf="yes")
        kinds["all silent"] = lambda: cameras.faults.update(dict.fromkeys(NAMES, "silent"))
        kinds["back in time"] = self._jump
        kinds["other QoS"] = self._subscribe
        kinds["nonsense"] = self._nonsense
        kind = self.random.choice(list(kinds))
        before = self.dropped()
        kinds[kind]()
        self.done[kind] = self.done.get(kind, 0) + 1
        self.run(self.random.uniform(3, 6), hertz)  # at least until the watchdog looked, and two reports after it
        if kind in SAID and not any(re.search(SAID[kind], status[1]) for status in self.peer.diagnostics().values()):
            self.missed.append(f"{kind}: not said: {[s[:2] for s in self.peer.diagnostics().values()]}")
        if kind in HARMLESS and self.dropped() != before:
            self.missed.append(f"{kind}: frames dropped, {before} -> {self.dropped()}")
        cameras.faults.clear()
        if self.subscription is not None:
            self.peer.node.destroy_subscription(self.subscription)
            self.subscription = None
        self.run(self.random.uniform(2, 6), hertz)
        self.history.append(resources(self.node.pid))

    def _jump(self) -> None:
        self.cameras.offset_ns = 0 if self.cameras.offset_ns else -3600 * 10**9

    def _subscribe(self) -> None:
        qos = qos_profile(5, latched=True)
        topic = "/da3/front/depth/image_rect"
        self.subscription = self.peer.node.create_subscription(TYPES[IMAGE], topic, lambda message: None, qos)

    def _nonsense(self) -> None:
        from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
        from rcl_interfaces.srv import SetParameters

        client = self.peer.node.create_client(SetParameters, "/da3/multi_cam/set_parameters")
        if client.wait_for_service(5):
            value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="nonsense")
            request = SetParameters.Request(parameters=[Parameter(name="sync.policy", value=value)])
            future = client.call_async(request)
            self.peer.wait(future.done, what="the answer about a parameter")
            assert not future.result().results[0].successful
        self.peer.node.destroy_client(client)


def report(soak: Soak, minutes: float, hertz: float) -> int:
    """Print the result; 0 if all is well."""
    history = soak.history[len(soak.history) // 4 :]  # caches fill with the first faults of each kind
    edge = max(1, len(history) // 10)
    first, last = (statistics.median(h[0] for h in part) for part in (history[:edge], history[-edge:]))
    growth = last / first - 1
    threads, files = ([h[i] for h in history] for i in (1, 2))
    print(f"{minutes:.1f} minutes at {hertz:.2f} Hz, four cameras; faults: {soak.done}")
    print(f"resident memory {first / 2**20:.1f} -> {last / 2**20:.1f} MiB ({100 * growth:+.2f} %)")
    print(f"threads {threads[0]} -> {threads[-1]}, open files {files[0]} -> {files[-1]}")
    for text in soak.missed:
        print(text)
    accounted = not soak.missed
    for name, count in soak.counts().items():
        sum_up = count["used"] + count["dropped"] + count["waiting"]
        accounted &= sum_up == count["received"]
        accounted &= not count.get("dropped_engine", 0)
        causes = {key.removeprefix("dropped_"): n for key, n in count.items() if key.startswith("dropped_")}
        print(f"{name}: received {count['received']} = used {count['used']} + {causes} + waiting {count['waiting']}")
    p50, p95, p99 = np.percentile(soak.latencies, (50, 95, 99))
    print(f"stamp to publish: p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms of {len(soak.latencies)} sets")
    good = accounted and growth < 0.01 and threads[-1] <= threads[0] and files[-1] <= files[0]
    print("well" if good else "NOT WELL")
    return 0 if good else 1


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--size", type=int, default=140)
    parser.add_argument(
        "--hertz", type=float, default=0.0, help="rate of the cameras; 0: the highest that is sustained"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    domain = next_domain()
    options = {
        "cameras": f"[{', '.join(NAMES)}]",
        "model": arguments.model,
        "inference.size": arguments.size,
        "diagnostics.period": 0.5,
        "watchdog.timeout": 1.0,
        **{f"{name}.transport": "compressed" for name in JPEG},
    }
    command = [sys.executable, "-m", "da3_ros.node", "--ros-args"]
    for name, value in options.items():
        command += ["-p", f"{name}:={value}"]
    log = Path(tempfile.gettempdir()) / "da3_soak.log"
    with Peer(domain) as peer, log.open("w") as file:
        peer.collect("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        peer.collect("/da3/latency", "diagnostic_msgs/msg/DiagnosticArray")
        peer.collect("/da3/points", "sensor_msgs/msg/PointCloud2")
        for name in NAMES:
            peer.collect(f"/da3/{name}/depth/image_rect", IMAGE)
            peer.collect(f"/da3/{name}/confidence/image", IMAGE)
            peer.collect(f"/da3/{name}/points", "sensor_msgs/msg/PointCloud2")
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        node = subprocess.Popen(command, env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        try:
            soak = Soak(peer, node, arguments.seed)
            peer.wait(lambda: all(name in peer.diagnostics() for name in NAMES), 60, "the node's diagnostics")
            soak.run(10, 1.0)
            hertz = arguments.hertz or soak.highest_rate()
            begin = time.monotonic()
            while time.monotonic() - begin < 60 * arguments.minutes:
                soak.fault(hertz)
                if len(soak.history) % 20 == 0:
                    minutes = (time.monotonic() - begin) / 60
                    print(f"  {minutes:5.1f} min: {soak.history[-1][0] / 2**20:.1f} MiB", flush=True)
            minutes = (time.monotonic() - begin) / 60
            time.sleep(2)  # the last set, and a report of it
            code = report(soak, minutes, hertz)
        finally:
            node.terminate()
            ended = node.wait(20)
        print(f"the node ended with {ended}; its log: {log}")
        return code or int(ended != 0)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""The node under a restless lifecycle manager: ``python benchmark/soak_lifecycle.py --minutes 15``.

Four cameras at a steady rate; the network is the real one, but one set in ten takes up to eight seconds more. At
random moments, by the node's services: deactivate and activate, at once or after a while; deactivate, clean up,
configure, activate; the same with an activation that fails for a topic without a valid name. In between /clock and
all stamps jump back and on, and cameras have faults (those of `soak_cameras.py`).

Exit code 1 unless: two estimates never ran at once; each time the node was inactive and its engine done, every frame
that it had received was used in a set that was published, or dropped by a cause, and none waited; threads ended as
they began, and memory, once Python had collected its garbage, grew by less than a fiftieth after the first quarter.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "test" / "helpers"))

from ros_peer import TYPES, Peer, next_domain
from soak import resources
from soak_cameras import JPEG, NAMES, ONE, Cameras

from da3_ros.estimation import Estimator
from da3_ros.node.memory import give_freed_memory_back, keep_freed_memory
from da3_ros.node.multi_cam import MultiCam

LONGEST_S, SELDOM = 8.0, 0.1
"""So long may a set take, in this share of all."""
PATIENCE_S = 60.0
CLOCK = "rosgraph_msgs/msg/Clock"


class Slow:
    """An estimator that takes its time, and sees whether any other is at work."""

    lock = threading.Lock()
    at_once = most_at_once = begun = 0

    def __init__(self, estimator: Estimator, seed: int) -> None:
        self._estimator, self._random = estimator, random.Random(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def begin(self, *arguments: Any, **options: Any) -> Any:
        with Slow.lock:
            Slow.begun += 1
            Slow.at_once += 1
            Slow.most_at_once = max(Slow.most_at_once, Slow.at_once)
        try:
            if self._random.random() < SELDOM:
                time.sleep(self._random.uniform(0, LONGEST_S))
            return self._estimator.begin(*arguments, **options)
        finally:
            with Slow.lock:
                Slow.at_once -= 1


class Soak:
    """The node, its cameras, its manager, and what was found wrong."""

    def __init__(self, model: str, size: int, hertz: float, seed: int) -> None:
        self.random, self.hertz = random.Random(seed), hertz
        domain = next_domain()
        self.peer = Peer(domain)
        self.peer.collect("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        self.peer.collect("/da3/latency", "diagnostic_msgs/msg/DiagnosticArray")
        self.peer.collect("/da3/front/depth/image_rect", "sensor_msgs/msg/Image")
        self.peer.collect("/da3/points", "sensor_msgs/msg/PointCloud2")
        self.clock = self.peer.publisher("/clock", CLOCK)
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        values: dict[str, Any] = {
            "use_sim_time": True,
            "autostart": False,
            "cameras": list(NAMES),
            "model": model,
            "inference.size": size,
            "sync.window": 1,
            "diagnostics.period": 0.5,
            "watchdog.timeout": 1.0,
            **{f"{name}.transport": "compressed" for name in JPEG},
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]

        def load(*arguments: Any) -> Any:
            return Slow(Estimator.from_model(*arguments), self.random.randrange(1 << 30))

        self.node = MultiCam(load, context=self.context, parameter_overrides=overrides)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        threading.Thread(target=self._spin, name="executor", daemon=True).start()
        self.manager = self.peer.node.create_client(ChangeState, "/da3/multi_cam/change_state")
        self.cameras = Cameras(self.peer)
        self.wrong: list[str] = []
        self.done: dict[str, int] = {}
        self.history: list[tuple[int, int, int]] = []
        self.accounts = self.sets = self.frames = 0

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except Exception:  # the context may end at any point of the wait
            if self.context.ok():
                raise

    def change(self, transition: int) -> bool:
        """Ask the node's service for a transition; whether it was one."""
        if not self.manager.wait_for_service(PATIENCE_S):  # a request that nobody hears yet is lost
            raise RuntimeError("the node has no service for its lifecycle")
        future = self.manager.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.peer.wait(future.done, PATIENCE_S, f"an answer about transition {transition}")
        return bool(future.result().success)

    def up(self) -> None:
        """Configure and activate, and wait until the peer hears what is published: what it does not hear it cannot
        count.
        """
        if not self.change(Transition.TRANSITION_CONFIGURE) or not self.change(Transition.TRANSITION_ACTIVATE):
            self.wrong.append("the node did not come up")
        self.peer.received["/da3/latency"].clear()
        self._heard()

    def _heard(self) -> None:
        peer = self.peer.node
        self.peer.wait(
            lambda: self.node.count_subscribers("/da3/latency") and peer.count_publishers("/da3/latency"),
            PATIENCE_S,
            "the topics",
        )
        time.sleep(0.5)

    def run(self, seconds: float) -> None:
        """Feed for some time."""
        end, due = time.monotonic() + seconds, time.monotonic()
        while due < end:
            self._tick()
            self.cameras.send()
            due = max(due + 1 / self.hertz, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
        for topic in ("/da3/front/depth/image_rect", "/da3/points"):
            self.peer.received[topic].clear()
        del self.peer.received["/diagnostics"][:-5]

    def _tick(self) -> None:
        message = TYPES[CLOCK]()
        now = self.peer.now_ns() + self.cameras.offset_ns
        message.clock.sec, message.clock.nanosec = divmod(now, 10**9)
        self.clock.publish(message)

    def down(self) -> None:
        """Deactivate; wait for the engine; every frame must be accounted for."""
        if not self.change(Transition.TRANSITION_DEACTIVATE):
            self.wrong.append("the node could not be deactivated")
        self.peer.wait(lambda: not Slow.at_once, PATIENCE_S, "the engine")
        time.sleep(1.0)  # what was under way to the peer, and what the publishing thread had left
        session = self.node._session
        assert session is not None
        counts = session._buffer.counters.snapshot()
        published = len(self.peer.received["/da3/latency"])
        used = max(count.used for count in counts.values())
        self.accounts += 1
        self.sets, self.frames = self.sets + published, self.frames + sum(c.received for c in counts.values())
        if used > published or any(count.waiting for count in counts.values()):
            self.wrong.append(f"{published} sets were published, and the counts are {counts}")

    def event(self) -> None:
        """One of the things that happen."""
        kinds: dict[str, Callable[[], None]] = {
            "deactivate, activate": lambda: self._pause(0.0),
            "deactivate, activate later": lambda: self._pause(self.random.uniform(0, 3)),
            "configure anew": self._anew,
            "configure anew, accounted": self._accounted,
            "activation fails": self._fail,
            "back in time": self._jump,
            "a camera's fault": self._fault,
        }
        kind = self.random.choices(list(kinds), [4 if "accounted" in name else 1 for name in kinds])[0]
        kinds[kind]()
        self.done[kind] = self.done.get(kind, 0) + 1
        self.run(self.random.uniform(0.2, 8))
        self.cameras.faults.clear()
        if Slow.most_at_once > 1:
            self.wrong.append(f"{Slow.most_at_once} estimates at once after {kind}")
            Slow.most_at_once = 1

    def _pause(self, seconds: float) -> None:
        self.change(Transition.TRANSITION_DEACTIVATE)
        self.run(seconds)  # nobody listens
        if not self.change(Transition.TRANSITION_ACTIVATE):
            self.wrong.append("the node could not be activated again")

    def _anew(self) -> None:
        self.change(Transition.TRANSITION_DEACTIVATE)
        self.change(Transition.TRANSITION_CLEANUP)
        self.up()

    def _accounted(self) -> None:
        self.down()
        self.change(Transition.TRANSITION_CLEANUP)
        # What is left once Python has looked for cycles: it would do so by itself, every twenty configurations or so.
        gc.collect()
        give_freed_memory_back()
        self.history.append(resources(os.getpid()))
        self.up()

    def _fail(self) -> None:
        self.change(Transition.TRANSITION_DEACTIVATE)
        self.change(Transition.TRANSITION_CLEANUP)
        for name, works in (("no valid topic", False), ("/left/image_raw", True)):
            if not self.node.set_parameters([Parameter("left.image_topic", value=name)])[0].successful:
                self.wrong.append("a parameter was refused after cleaning up")
            if not self.change(Transition.TRANSITION_CONFIGURE):
                self.wrong.append("the node could not be configured")
            if self.change(Transition.TRANSITION_ACTIVATE) is not works:
                self.wrong.append(f"the activation with {name!r} {'failed' if works else 'succeeded'}")
            if not works:
                self.change(Transition.TRANSITION_CLEANUP)
        self.peer.received["/da3/latency"].clear()
        self._heard()

    def _jump(self) -> None:
        self.cameras.offset_ns = 0 if self.cameras.offset_ns else -3600 * 10**9

    def _fault(self) -> None:
        self.cameras.faults[self.random.choice(NAMES)] = self.random.choice(ONE)

    def close(self) -> None:
        """End everything."""
        rclpy.shutdown(context=self.context)
        self.executor.shutdown()
        self.node.close(LONGEST_S)
        self.node.destroy_node()
        self.peer.__exit__()


def report(soak: Soak, minutes: float) -> int:
    """Print the result; 0 if all is well."""
    history = soak.history[len(soak.history) // 4 :]
    edge = max(1, len(history) // 2)
    first, last = (statistics.median(h[0] for h in part) for part in (history[:edge], history[-edge:]))
    growth, threads = last / first - 1, [h[1] for h in soak.history]
    print(f"{minutes:.1f} minutes at {soak.hertz:.1f} Hz, four cameras; events: {soak.done}")
    print(f"{Slow.begun} estimates, at most {Slow.most_at_once} at once")
    print(f"{soak.accounts} accounts: {soak.frames} frames came, {soak.sets} sets were published, the rest dropped")
    print("MiB while cleaned up: " + " ".join(f"{h[0] / 2**20:.0f}" for h in soak.history))
    print(f"resident memory while cleaned up {first / 2**20:.1f} -> {last / 2**20:.1f} MiB ({100 * growth:+.2f} %)")
    print(f"threads while cleaned up {threads[0]} -> {threads[-1]}")
    for text in soak.wrong:
        print(text)
    good = not soak.wrong and soak.accounts > 0 and growth < 0.02 and threads[-1] <= threads[0]
    print("well" if good else "NOT WELL")
    return 0 if good else 1


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--size", type=int, default=140)
    parser.add_argument("--hertz", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keep_freed_memory()
    soak = Soak(arguments.model, arguments.size, arguments.hertz, arguments.seed)
    try:
        soak.up()
        soak.run(5)
        soak._accounted()
        begin = time.monotonic()
        while (minutes := (time.monotonic() - begin) / 60) < arguments.minutes:
            soak.event()
            if sum(soak.done.values()) % 20 == 0:
                print(f"  {minutes:5.1f} min: {sum(soak.done.values())} events, {len(soak.wrong)} wrong", flush=True)
        soak._accounted()
        code = report(soak, (time.monotonic() - begin) / 60)
    finally:
        faulthandler.dump_traceback_later(60, exit=True)
        soak.close()
        faulthandler.cancel_dump_traceback_later()
    return code


if __name__ == "__main__":
    sys.exit(main())

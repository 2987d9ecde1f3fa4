# SPDX-License-Identifier: Apache-2.0
"""Threads in the place of the processes of `da3 bag --processes`, for tests of what they do: they start at once.

That real processes do the same is tested in test/bag/run/test_resume.py and test_long_windows.py.
"""

import queue
import threading
from types import SimpleNamespace


class InThread:
    """Stands for a process."""

    def __init__(self, target, args, name, daemon):
        self.name, self.daemon, self.terminated, self.exitcode = name, daemon, False, None
        self._thread = threading.Thread(target=self._run, args=(target, args), daemon=True)

    def _run(self, target, args):
        try:
            target(*args)
            self.exitcode = 0
        except BaseException:
            self.exitcode = 1

    def start(self):
        self._thread.start()

    def is_alive(self):
        return self._thread.is_alive()

    def join(self):
        self._thread.join(20)

    def terminate(self):
        self.terminated = True


def put_in_threads(monkeypatch):
    """From here on processes are threads; returns the list of those that are started."""
    from da3_ros.bag.run import processes

    made = []

    def start(**what):
        made.append(InThread(**what))
        return made[-1]

    context = SimpleNamespace(Queue=queue.Queue, Process=start)
    monkeypatch.setattr(processes, "_POLL_S", 0.01)
    monkeypatch.setattr(processes.multiprocessing, "get_context", {"spawn": context}.__getitem__)
    return made

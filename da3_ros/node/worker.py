# SPDX-License-Identifier: Apache-2.0
"""The two threads that work while the node is configured: one takes sets through the engine, one publishes them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.parameters import NodeParameters
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.work import Work
from da3_ros.sync import Closed, FrameCounters, FrameSet, Mailbox

LONG_S = 30.0
"""An engine that is so long at one set is told of: it may never come back."""


class Worker:
    """Works on the newest set that was put, as long as its epoch lasts.

    The threads live from the first `begin` to `close`, however often the node is deactivated in between: the engine
    can't be interrupted, and two threads at one engine would spoil each other's sets.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        counters: FrameCounters,
        health: Health,
        epoch: Callable[[], int],
        is_running: Callable[[], bool],
        after: Sequence[threading.Thread] = (),
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        """epoch: number of the present one; what belongs to another is dropped. is_running: false once the middleware
        is taken down, when whatever fails is of no interest. after: threads of an earlier worker whose engine is still
        busy; the first set waits until they have ended. at_end: called once, when the pipeline is not used any more.
        """
        self._pipeline, self._counters, self._health = pipeline, counters, health
        self._epoch, self._is_running, self._after, self._at_end = epoch, is_running, tuple(after), at_end
        self._known_epoch = epoch()
        self._pending: NodeParameters | None = None
        self._mailbox: Mailbox[FrameSet[Any]] = Mailbox()
        self._finished: queue.Queue[Work | None] = queue.Queue(maxsize=1)
        self._busy_since: float | None = None
        self._sending = threading.Lock()
        """Held while a set is sent: who drops what is under way waits that long, and nothing is sent afterwards."""
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name="da3 worker", daemon=True),
            threading.Thread(target=self._publish, name="da3 publisher", daemon=True),
        ]

    def begin(self) -> None:
        """Start the threads, if they do not run yet."""
        for thread in self._threads:
            if thread.ident is None:
                thread.start()

    def put(self, frames: FrameSet[Any]) -> None:
        """Work on this set next; one that still waits is superseded."""
        self._drop(self._mailbox.put(frames), "superseded")

    def clear(self) -> None:
        """Drop the set that waits. Of an epoch that was over before, nothing is sent once this has returned."""
        self._drop(self._mailbox.clear(), "reset")
        with self._sending:
            pass

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Use other parameters from the next set on."""
        self._pending = parameters

    def close(self, timeout: float) -> bool:
        """End both threads; False if one is still busy after `timeout` seconds. It ends when its engine does, and what
        it was at is dropped.
        """
        was_closed, self._is_closed = self._is_closed, True
        self._drop(self._mailbox.close(), "reset")
        if self._threads[1].ident is None and not was_closed:
            self._end()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not self.left()

    def left(self) -> list[threading.Thread]:
        """Threads that still run, those of the workers before included."""
        return [thread for thread in (*self._after, *self._threads) if thread.is_alive()]

    def say(self) -> None:
        """Tell the diagnostics of an engine that keeps everything waiting."""
        if any(thread.is_alive() for thread in self._after):
            text = "waits for an engine that is still at a set from before the node was cleaned up"
            self._health.report("", "engine before", text, WARN)
        since = self._busy_since
        if since is not None and time.monotonic() - since > LONG_S:
            text = f"the engine has been at one set for {time.monotonic() - since:.0f} s"
            self._health.report("", "engine busy", text, WARN)

    def _drop(self, frames: FrameSet[Any] | None, cause: str) -> None:
        for frame in frames.frames if frames else ():
            self._counters.revoke(frame.camera, cause)

    def _is_over(self, frames: FrameSet[Any]) -> bool:
        return self._is_closed or frames.epoch != self._epoch()

    def _work(self) -> None:
        for thread in self._after:
            thread.join()
        while True:
            try:
                frames = self._mailbox.get()
            except Closed:
                self._finished.put(None)
                return
            if frames is not None:
                self._busy_since = time.monotonic()
                work = self._estimate(frames)
                self._busy_since = None
                if work is not None:
                    self._finished.put(work)  # waits: a publisher that can't follow slows the engine, not the memory

    def _estimate(self, frames: FrameSet[Any]) -> Work | None:
        if self._is_over(frames):
            self._drop(frames, "reset")
            return None
        try:
            if frames.epoch != self._known_epoch:
                self._known_epoch = frames.epoch
                self._pipeline.reset()
            pending, self._pending = self._pending, None
            if pending is not None:
                self._pipeline.reconfigure(pending)
            return self._pipeline.estimate(frames)
        except Exception as error:  # one bad set must not end the node
            self._fail("worker", error)
            self._drop(frames, "engine")
            return None

    def _publish(self) -> None:
        while (work := self._finished.get()) is not None:
            try:
                self._send(work)
            except Exception as error:
                self._fail("publisher", error)
                self._drop_rest(work, "publish")
        self._end()

    def _send(self, work: Work) -> None:
        if self._is_over(work.frames):
            self._drop_rest(work, "reset")
        elif self._pipeline.finish(work):  # else it was said and counted there
            with self._sending:
                if self._is_over(work.frames):
                    self._drop_rest(work, "reset")
                else:
                    self._pipeline.publish(work)

    def _end(self) -> None:
        try:
            self._at_end()
        except Exception as error:  # of a driver that is gone itself
            self._health.report("", "engine end", f"{type(error).__name__}: {error}")

    def _drop_rest(self, work: Work, cause: str) -> None:
        """Drop what is left of a set; frames that could not be used were counted before."""
        for view in work.views:
            self._counters.revoke(view.name, cause)

    def _fail(self, kind: str, error: Exception) -> None:
        if self._is_running() and not self._is_closed:
            self._health.report("", kind, f"{type(error).__name__}: {error}")

# SPDX-License-Identifier: Apache-2.0
"""An end that was asked for: SIGTERM lets the step finish and a checkpoint be written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_CODE = 128 + signal.SIGTERM
"""Of a command that was asked to end, as shells and service managers know it."""


class StoppedError(Exception):
    """The run was asked to end, and did, with a checkpoint: the same command goes on from there."""


@contextmanager
def watched() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGTERM came within the block; outside of the main thread it never does."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)

# SPDX-License-Identifier: Apache-2.0
"""Progress for people, and for logs."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping


class Steps:
    """Numbered progress lines with seconds; a terminal also sees what the running step is at."""

    def __init__(self, total: int) -> None:
        self._total, self._index = total, 0

    def run(self, title: str, action: Callable[[Callable[[str], None]], None]) -> None:
        """Run `action(report)`; `report(text)` shows what it is doing."""
        self._index += 1
        head = f"[{self._index}/{self._total}] {title}"
        begin = time.monotonic()
        state = {"text": ""}
        finished = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(head, begin, state, finished), daemon=True)
        if sys.stdout.isatty():
            ticker.start()
        else:
            print(f"{head} ...", flush=True)
        try:
            action(lambda text: state.update(text=text))
        finally:
            finished.set()
            if ticker.is_alive():
                ticker.join()
        line = f"{head}: {time.monotonic() - begin:.1f} s"
        print(f"\r\033[K{line}" if sys.stdout.isatty() else line, flush=True)

    @staticmethod
    def _tick(head: str, begin: float, state: Mapping[str, str], finished: threading.Event) -> None:
        while not finished.wait(0.5):
            width = shutil.get_terminal_size().columns - 1
            line = f"{head} {time.monotonic() - begin:4.0f} s  {state['text']}"
            print(f"\r\033[K{line[:width]}", end="", flush=True)

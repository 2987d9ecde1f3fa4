# SPDX-License-Identifier: Apache-2.0
"""The time of a run: from the start of the process to its last file, over all resumptions."""

from __future__ import annotations

import os
import time
from pathlib import Path

OLDEST = 120.0
"""Seconds that a process may have lived before its run begins; more is a clock that counts from elsewhere."""
FIRST_GUESS = 2.0
"""Seconds that writing a checkpoint is taken to last until one has been written."""


def process_start() -> float:
    """When this process began, on the clock of `time.monotonic`; now, where the system does not tell.

    Imports alone take seconds, and belong to the time that was paid for.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        age = float(Path("/proc/uptime").read_text().split()[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.monotonic()
    return time.monotonic() - (age if 0 <= age <= OLDEST else 0.0)


class Clock:
    """How long a run has gone on, and how far it is."""

    def __init__(self, hours: float, spent: float, began: float) -> None:
        """hours: 0 for a run that ends by its steps; spent: seconds before this process; began: as `process_start`."""
        self._hours, self._before, self._began = hours, spent, began
        self._writing = FIRST_GUESS

    @property
    def spent(self) -> float:
        """Seconds of the run, those of earlier processes included."""
        return self._before + time.monotonic() - self._began

    def wrote(self, seconds: float) -> None:
        """A checkpoint took so long; what comes after the last step will take about twice that, with the export."""
        self._writing = max(self._writing, seconds)

    @property
    def progress(self) -> float:
        """Share of the time that training may take, 1 at the end of it: so that the last file is written in time."""
        whole = 3600 * self._hours
        return self.spent / max(whole - 2 * self._writing, whole / 2)

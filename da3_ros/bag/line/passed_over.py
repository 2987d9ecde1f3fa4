# SPDX-License-Identifier: Apache-2.0
"""What sets that are passed over leave: transforms, calibrations and references that a later set may need."""

from __future__ import annotations

from collections.abc import Collection

from da3_ros.bag.io.reader import Message
from da3_ros.bag.line.intake import Job

MEMORY_NS = 20_000_000_000
"""Transforms older than this are not needed when sets are passed over: twice what the tree remembers."""

KEPT_INFOS = 20
"""Calibrations of a camera that are kept of sets that are passed over: images may wait for partners."""


class PassedOver:
    """Takes jobs that are passed over, and gives what they left to the next one that is not."""

    def __init__(self, lasting: Collection[str]) -> None:
        """lasting: topics whose last message holds however old it is: static transforms, of which all are kept, and
        calibrations of references.
        """
        self._lasting = frozenset(lasting)
        self._kept = Job()

    def push(self, job: Job) -> None:
        """A job that is passed over; it holds nothing afterwards."""
        kept, oldest = self._kept, job.log_ns - MEMORY_NS
        transforms = [m for m in kept.transforms if m.log_ns >= oldest or m.topic in self._lasting]
        kept.transforms = transforms + job.transforms
        by_camera: dict[str, list[Message]] = {}
        for camera, message in kept.infos + job.infos:
            by_camera.setdefault(camera, []).append(message)
        kept.infos = [(name, message) for name, found in by_camera.items() for message in found[-KEPT_INFOS:]]
        references = kept.references + job.references
        last = {m.topic: m for m in references if m.topic in self._lasting}
        others = [m for m in references if m.topic not in self._lasting and m.log_ns >= oldest]
        kept.references = [*last.values(), *others]
        job.transforms, job.infos, job.references = [], [], []

    def give(self, job: Job) -> None:
        """A job that is not: what was kept comes before what it brings."""
        kept, self._kept = self._kept, Job()
        job.transforms = kept.transforms + job.transforms
        job.infos = kept.infos + job.infos
        job.references = kept.references + job.references

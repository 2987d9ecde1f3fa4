# SPDX-License-Identifier: Apache-2.0
"""Calibrations before the images that they belong to: drivers send a CameraInfo just after its image, too."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

from da3_ros.bag.io.reader import Message

SPAN_NS = 50_000_000
"""So long after its image a calibration may have been recorded."""
MOST_BYTES = 32 << 20
"""Of messages that are read ahead."""


def calibrations_first(messages: Iterator[Message], infos: Collection[str]) -> Iterator[tuple[Message, list[Message]]]:
    """The messages in their order, and with each the calibrations that are known by then and were not before: those of
    the topics `infos` up to SPAN_NS after it, itself among them.
    """
    if not infos:
        yield from ((message, []) for message in messages)
        return
    waiting: deque[Message] = deque()
    held, early = 0, list[Message]()
    while True:
        while not waiting or (held < MOST_BYTES and waiting[-1].log_ns <= waiting[0].log_ns + SPAN_NS):
            message = next(messages, None)
            if message is None:
                break
            waiting.append(message)
            held += len(message.raw)
            if message.topic in infos:
                early.append(message)
        if not waiting:
            return
        message = waiting.popleft()
        held -= len(message.raw)
        yield message, early
        early = []

# SPDX-License-Identifier: Apache-2.0
"""What belongs to images before them: drivers send calibrations, and depth of the same moment, just after its image."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from da3_ros.bag.io.reader import Message

SPAN_NS = 50_000_000
"""So long after its image a calibration may have been recorded."""
MOST_BYTES = 128 << 20
"""Of messages that are read ahead."""


def companions_first(messages: Iterator[Message], spans: Mapping[str, int]) -> Iterator[tuple[Message, list[Message]]]:
    """The messages in their order, and with each the companions that are known by then and were not before: those of
    the topics of `spans` that were recorded up to so many nanoseconds after it, itself among them.
    """
    longest = max(spans.values(), default=-1)
    waiting: deque[Message] = deque()
    ahead: deque[Message] = deque()
    held = 0
    while True:
        while not waiting or (held < MOST_BYTES and waiting[-1].log_ns <= waiting[0].log_ns + longest):
            message = next(messages, None)
            if message is None:
                break
            waiting.append(message)
            held += len(message.raw)
            if message.topic in spans:
                ahead.append(message)
        if not waiting:
            return
        message = waiting.popleft()
        held -= len(message.raw)
        due = [m for m in ahead if m is message or m.log_ns <= message.log_ns + spans[m.topic]]
        ahead = deque(m for m in ahead if not any(m is other for other in due))
        yield message, due

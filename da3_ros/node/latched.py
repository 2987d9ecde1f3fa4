# SPDX-License-Identifier: Apache-2.0
"""Calibrations that are sent once, by publishers that keep them for those who come later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from da3_ros.node.compat import incompatible_qos_callback, keeps_messages, qos_profile, steady_timer

PERIOD_S = 0.5


class LatchedSubscriptions:
    """Asks publishers that keep their last message for it, as soon as one is there. A publisher gives it to those alone
    who ask, and warns of those who ask one that keeps nothing: so it is looked at first.
    """

    def __init__(self, node: Any, kind: type, callbacks: Mapping[str, Callable[[Any], None]]) -> None:
        """kind: message class of all topics; callbacks: topic -> what takes its messages."""
        self._node, self._kind = node, kind
        self._waiting = dict(callbacks)
        self._subscriptions: list[Any] = []
        self._timer = steady_timer(node, PERIOD_S, self._look)
        self._look()

    def close(self) -> None:
        """Subscribe no longer."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions, self._waiting = [], {}

    def _look(self) -> None:
        for topic in [topic for topic in self._waiting if keeps_messages(self._node, topic)]:
            callback = self._waiting.pop(topic)
            # Another publisher of the topic may keep nothing, which is no fault: the usual subscription hears it.
            events = incompatible_qos_callback(lambda event: None)
            profile = qos_profile(1, latched=True)
            self._subscriptions.append(
                self._node.create_subscription(self._kind, topic, callback, profile, event_callbacks=events)
            )

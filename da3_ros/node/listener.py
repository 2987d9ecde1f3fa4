# SPDX-License-Identifier: Apache-2.0
"""/tf and /tf_static of a node -> a tree of transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from da3_ros.messages.kinds import TRANSFORMS
from da3_ros.node.compat import incompatible_qos_callback, qos_profile
from da3_ros.stream.transforms import TransformTree, add_transforms


class TransformListener:
    """Feeds a tree from /tf and /tf_static of a node; `close` ends it."""

    def __init__(
        self,
        node: Any,
        kind: type,
        tree: TransformTree,
        say: Callable[[str], None],
        heard: Callable[[str, str, Any], None] = lambda topic, kind, message: None,
    ) -> None:
        """kind: class of tf2_msgs/msg/TFMessage; say: told of a publisher of /tf_static that keeps nothing;
        heard: given all that comes, as (topic, type, message).
        """
        self._node, self._kind, self._tree, self._say, self._heard = node, kind, tree, say, heard
        self._refused: set[str] = set()
        self._hears_volatile = False
        latched, events = qos_profile(100, latched=True), incompatible_qos_callback(self._on_volatile)
        # Depth 100 as tf2's listener: many publishers share these topics.
        self._subscriptions = [
            node.create_subscription(kind, "/tf", self._on_moving, qos_profile(100)),
            node.create_subscription(kind, "/tf_static", self._on_static, latched, event_callbacks=events),
        ]

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_volatile(self, event: Any) -> None:
        """A publisher keeps nothing for those who come later: what it sends from now on is heard all the same."""
        del event
        if not self._hears_volatile:
            self._hears_volatile = True
            self._subscriptions.append(
                self._node.create_subscription(self._kind, "/tf_static", self._on_static, qos_profile(100))
            )
        self._say(
            "a publisher of /tf_static keeps nothing for those who come later (durability volatile): what it sent "
            "before is lost; make it transient local, as static_transform_publisher and tf2's broadcasters are"
        )

    def _on_moving(self, message: Any) -> None:
        self._add(message, static=False)
        self._heard("/tf", TRANSFORMS, message)

    def _on_static(self, message: Any) -> None:
        self._add(message, static=True)
        self._heard("/tf_static", TRANSFORMS, message)

    def _add(self, message: Any, *, static: bool) -> None:
        for parent, child, error in add_transforms(self._tree, message, static=static):
            if child not in self._refused:
                self._refused.add(child)
                self._node.get_logger().error(f"transform {parent} -> {child} is ignored: {error}")

# SPDX-License-Identifier: Apache-2.0
"""/tf and /tf_static of a node -> a tree of transforms."""

from __future__ import annotations

from typing import Any

from da3_ros.node.compat import qos_profile
from da3_ros.stream.transforms import TransformTree, add_transforms


class TransformListener:
    """Feeds a tree from /tf and /tf_static of a node; `close` ends it."""

    def __init__(self, node: Any, kind: type, tree: TransformTree) -> None:
        """kind: class of tf2_msgs/msg/TFMessage."""
        self._node, self._tree = node, tree
        self._refused: set[str] = set()
        # Depth 100 as tf2's listener: many publishers share these topics.
        self._subscriptions = [
            node.create_subscription(kind, "/tf", self._on_moving, qos_profile(100)),
            node.create_subscription(kind, "/tf_static", self._on_static, qos_profile(100, latched=True)),
        ]

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_moving(self, message: Any) -> None:
        self._add(message, static=False)

    def _on_static(self, message: Any) -> None:
        self._add(message, static=True)

    def _add(self, message: Any, *, static: bool) -> None:
        for parent, child, error in add_transforms(self._tree, message, static=static):
            if child not in self._refused:
                self._refused.add(child)
                self._node.get_logger().error(f"transform {parent} -> {child} is ignored: {error}")

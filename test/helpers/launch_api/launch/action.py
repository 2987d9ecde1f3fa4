# SPDX-License-Identifier: Apache-2.0
"""The base of all actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launch.condition import Condition
from launch.launch_description_entity import LaunchDescriptionEntity

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class Action(LaunchDescriptionEntity):
    """Something to do, perhaps under a condition."""

    def __init__(self, *, condition: Condition | None = None) -> None:
        if condition is not None and not isinstance(condition, Condition):
            raise TypeError(f"condition={condition!r} is no Condition, such as IfCondition(...)")
        self.condition = condition

    def visit(self, context: LaunchContext) -> list[Any] | None:
        """Do it, unless its condition is against it."""
        return self.execute(context) if self.condition is None or self.condition.evaluate(context) else None

    def execute(self, context: LaunchContext) -> list[Any] | None:
        """What it does; returns what is to be visited next."""
        return None

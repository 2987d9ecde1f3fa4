# SPDX-License-Identifier: Apache-2.0
"""What a launch description is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class LaunchDescriptionEntity:
    """Base of actions and descriptions."""

    def visit(self, context: LaunchContext) -> list[Any] | None:
        """What is to be visited next."""
        raise NotImplementedError(f"{type(self).__name__} has no visit")

    def describe_sub_entities(self) -> list[Any]:
        """What it surely yields, as far as can be told without a context."""
        return []


def check_entities(entities: Any, where: str) -> list[Any]:
    """Of the stand-in alone: a list of entities; a TypeError for anything else."""
    if isinstance(entities, (str, LaunchDescriptionEntity)):
        raise TypeError(f"{where} takes an iterable of entities, not {entities!r}")
    found = list(entities)
    for entity in found:
        if not isinstance(entity, LaunchDescriptionEntity):
            raise TypeError(f"{where}: {entity!r} is no action or launch description")
    return found

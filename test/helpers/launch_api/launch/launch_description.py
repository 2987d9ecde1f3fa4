# SPDX-License-Identifier: Apache-2.0
"""A list of entities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from launch.launch_description_entity import LaunchDescriptionEntity, check_entities

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class LaunchDescription(LaunchDescriptionEntity):
    """What a launch file returns."""

    def __init__(
        self,
        initial_entities: Iterable[LaunchDescriptionEntity] | None = None,
        *,
        deprecated_reason: str | None = None,
    ) -> None:
        self.entities = [] if initial_entities is None else check_entities(initial_entities, "LaunchDescription")
        self.deprecated_reason = deprecated_reason

    def visit(self, context: LaunchContext) -> list[Any]:
        """Its entities."""
        return self.entities

    def describe_sub_entities(self) -> list[Any]:
        """Its entities."""
        return self.entities

    def add_entity(self, entity: LaunchDescriptionEntity) -> None:
        """One more at the end."""
        self.entities += check_entities([entity], "LaunchDescription.add_entity")

    def add_action(self, action: LaunchDescriptionEntity) -> None:
        """One more at the end."""
        self.add_entity(action)

    def get_launch_arguments(self, conditional_inclusion: bool = False) -> list[Any]:
        """The arguments that can be seen without a context, each name once."""
        from launch.actions import DeclareLaunchArgument

        found: dict[str, Any] = {}

        def look(entities: list[Any]) -> None:
            for entity in entities:
                if isinstance(entity, DeclareLaunchArgument):
                    found.setdefault(entity.name, entity)
                look(entity.describe_sub_entities())

        look(self.entities)
        return list(found.values())

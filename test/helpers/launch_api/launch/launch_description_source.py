# SPDX-License-Identifier: Apache-2.0
"""Where a description comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launch.launch_description import LaunchDescription
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class LaunchDescriptionSource:
    """A description, or the place of one."""

    def __init__(
        self,
        launch_description: LaunchDescription | None = None,
        location: Any = "<string>",
        method: str = "unspecified mechanism from a script",
    ) -> None:
        if launch_description is not None and not isinstance(launch_description, LaunchDescription):
            raise TypeError(f"launch_description={launch_description!r} is no LaunchDescription")
        self._launch_description = launch_description
        self._location = normalize_to_list_of_substitutions(location)
        self.location = " + ".join(str(part) for part in self._location)
        self.method = method

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """The description; read at the first call."""
        self.location = perform_substitutions(context, self._location)
        if self._launch_description is None:
            self._launch_description = self._get_launch_description(self.location)
        return self._launch_description

    def _get_launch_description(self, location: str) -> LaunchDescription:
        raise RuntimeError(f"{type(self).__name__} was given no launch description")

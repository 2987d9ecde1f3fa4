# SPDX-License-Identifier: Apache-2.0
"""What becomes text once a launch runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launch.launch_context import LaunchContext


class Substitution:
    """Base of all substitutions."""

    def perform(self, context: LaunchContext) -> str:
        """The text."""
        raise NotImplementedError(f"{type(self).__name__} has no perform")

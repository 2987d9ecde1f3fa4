# SPDX-License-Identifier: Apache-2.0
"""Actions on the environment of what is started later."""

from __future__ import annotations

import os
from typing import Any

from launch.action import Action
from launch.launch_context import LaunchContext
from launch.utilities import normalize_to_list_of_substitutions, perform_bool, perform_substitutions


class SetEnvironmentVariable(Action):
    """Set one."""

    def __init__(self, name: Any, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name, self.value = normalize_to_list_of_substitutions(name), normalize_to_list_of_substitutions(value)

    def execute(self, context: LaunchContext) -> None:
        context.environment[perform_substitutions(context, self.name)] = perform_substitutions(context, self.value)


class AppendEnvironmentVariable(Action):
    """Add to one."""

    def __init__(
        self, name: Any, value: Any, prepend: Any = False, *, separator: Any = os.pathsep, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.name, self.value = normalize_to_list_of_substitutions(name), normalize_to_list_of_substitutions(value)
        self.prepend = prepend if isinstance(prepend, bool) else normalize_to_list_of_substitutions(prepend)
        self.separator = normalize_to_list_of_substitutions(separator)

    def execute(self, context: LaunchContext) -> None:
        name, value = perform_substitutions(context, self.name), perform_substitutions(context, self.value)
        parts = [context.environment[name], value] if name in context.environment else [value]
        if perform_bool(context, self.prepend):
            parts.reverse()
        context.environment[name] = perform_substitutions(context, self.separator).join(parts)


class UnsetEnvironmentVariable(Action):
    """Remove one."""

    def __init__(self, name: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = normalize_to_list_of_substitutions(name)

    def execute(self, context: LaunchContext) -> None:
        context.environment.pop(perform_substitutions(context, self.name), None)


class PushEnvironment(Action):
    """Keep it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def execute(self, context: LaunchContext) -> None:
        context._push_environment()


class PopEnvironment(Action):
    """As it was kept."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def execute(self, context: LaunchContext) -> None:
        context._pop_environment()


class ResetEnvironment(Action):
    """As it was when the launch began."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def execute(self, context: LaunchContext) -> None:
        context._reset_environment()

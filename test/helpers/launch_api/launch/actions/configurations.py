# SPDX-License-Identifier: Apache-2.0
"""Actions on launch configurations, to which arguments belong."""

from __future__ import annotations

from typing import Any

from launch.action import Action
from launch.launch_context import LaunchContext
from launch.substitution import Substitution
from launch.utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions


class DeclareLaunchArgument(Action):
    """An argument: of the command line, or of an including file."""

    def __init__(
        self,
        name: str,
        *,
        default_value: Any = None,
        description: str | None = None,
        choices: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        ensure_argument_type(name, str, "name", "DeclareLaunchArgument")
        ensure_argument_type(description, (str, type(None)), "description", "DeclareLaunchArgument")
        self.name = name
        self.default_value = None if default_value is None else normalize_to_list_of_substitutions(default_value)
        self.description = "no description given" if description is None else description
        self.choices = choices
        if choices is None:
            return
        if isinstance(choices, str) or not all(isinstance(choice, str) for choice in choices):
            raise TypeError(f"{name}: choices are a list of texts, not {choices!r}")
        if not choices:
            raise RuntimeError("Provided choices arg is empty. Use None to ignore the choice list.")
        if isinstance(default_value, str) and default_value not in choices:
            raise RuntimeError(f'Provided default_value "{default_value}" is not in provided choices "{choices}".')

    def execute(self, context: LaunchContext) -> None:
        known = context.launch_configurations
        if self.name not in known:
            if self.default_value is None:
                raise RuntimeError(f'Required launch argument "{self.name}" was not provided.')
            known[self.name] = perform_substitutions(context, self.default_value)
        if self.choices is not None and known[self.name] not in self.choices:
            raise RuntimeError(
                f'Argument "{self.name}" provided value "{known[self.name]}" is not valid. '
                f"Valid options are: {self.choices}"
            )


class SetLaunchConfiguration(Action):
    """Set one."""

    def __init__(self, name: Any, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name, self.value = normalize_to_list_of_substitutions(name), normalize_to_list_of_substitutions(value)

    def execute(self, context: LaunchContext) -> None:
        value = perform_substitutions(context, self.value)
        context.launch_configurations[perform_substitutions(context, self.name)] = value


class UnsetLaunchConfiguration(Action):
    """Forget one."""

    def __init__(self, name: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = normalize_to_list_of_substitutions(name)

    def execute(self, context: LaunchContext) -> None:
        context.launch_configurations.pop(perform_substitutions(context, self.name), None)


class PushLaunchConfigurations(Action):
    """Keep them all."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def execute(self, context: LaunchContext) -> None:
        context._push_launch_configurations()


class PopLaunchConfigurations(Action):
    """As they were kept."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def execute(self, context: LaunchContext) -> None:
        context._pop_launch_configurations()


class ResetLaunchConfigurations(Action):
    """Forget all but those that are given."""

    def __init__(self, launch_configurations: dict[Any, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kept = launch_configurations or {}

    def execute(self, context: LaunchContext) -> None:
        def text(value: str | Substitution) -> str:
            return perform_substitutions(context, normalize_to_list_of_substitutions(value))

        kept = {text(name): text(value) for name, value in self._kept.items()}
        context.launch_configurations.clear()
        context.launch_configurations.update(kept)

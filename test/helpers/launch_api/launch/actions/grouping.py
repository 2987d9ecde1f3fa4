# SPDX-License-Identifier: Apache-2.0
"""Actions that lead to others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from launch.action import Action
from launch.actions.configurations import (
    PopLaunchConfigurations,
    PushLaunchConfigurations,
    ResetLaunchConfigurations,
    SetLaunchConfiguration,
)
from launch.actions.environment import PopEnvironment, PushEnvironment, ResetEnvironment
from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity, check_entities
from launch.launch_description_source import LaunchDescriptionSource
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch.substitution import Substitution
from launch.utilities import (
    ensure_argument_type,
    normalize_to_list_of_substitutions,
    perform_substitutions,
)

_log = logging.getLogger("launch.user")


class GroupAction(Action):
    """Several actions, which leave nothing behind where the group is scoped."""

    def __init__(
        self,
        actions: Iterable[Action],
        *,
        scoped: bool = True,
        forwarding: bool = True,
        launch_configurations: dict[Any, Any] | None = None,
        **left_over_kwargs: Any,
    ) -> None:
        super().__init__(**left_over_kwargs)
        for name, value in (("scoped", scoped), ("forwarding", forwarding)):
            ensure_argument_type(value, bool, name, "GroupAction")
        inner = check_entities(actions, "GroupAction")
        given = launch_configurations or {}
        sets = [SetLaunchConfiguration(name, value) for name, value in given.items()]
        if not scoped:
            self._actions = [*sets, *inner]
            return
        first = sets if forwarding else [ResetEnvironment(), ResetLaunchConfigurations(given)]
        before, after = [PushLaunchConfigurations(), PushEnvironment()], [PopEnvironment(), PopLaunchConfigurations()]
        self._actions = [*before, *first, *inner, *after]

    def describe_sub_entities(self) -> list[Any]:
        return self._actions if self.condition is None else []

    def execute(self, context: LaunchContext) -> list[Any]:
        return self._actions


class OpaqueFunction(Action):
    """A function of the context, which returns what is to be visited next."""

    def __init__(
        self,
        *,
        function: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        **left_over_kwargs: Any,
    ) -> None:
        super().__init__(**left_over_kwargs)
        if not callable(function):
            raise TypeError(f"OpaqueFunction: function={function!r} cannot be called")
        ensure_argument_type(args, (Iterable, type(None)), "args", "OpaqueFunction")
        ensure_argument_type(kwargs, (dict, type(None)), "kwargs", "OpaqueFunction")
        self._function, self._args, self._kwargs = function, args or (), kwargs or {}

    def execute(self, context: LaunchContext) -> list[Any] | None:
        found = self._function(context, *self._args, **self._kwargs)
        return None if found is None else check_entities(found, f"what {self._function!r} returns")


class IncludeLaunchDescription(Action):
    """Another launch file. What it sets stays set, and `ThisLaunchFileDir` goes on to mean its folder."""

    def __init__(
        self,
        launch_description_source: Any,
        *,
        launch_arguments: Iterable[tuple[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(launch_description_source, LaunchDescriptionSource):
            launch_description_source = AnyLaunchDescriptionSource(launch_description_source)
        self.launch_description_source = launch_description_source
        if isinstance(launch_arguments, (str, dict)):
            raise TypeError("launch_arguments are pairs of name and value, such as {...}.items()")
        self.launch_arguments = tuple(launch_arguments or ())
        for pair in self.launch_arguments:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError(f"launch_arguments are pairs of name and value, not {pair!r}")
            for part in pair:
                normalize_to_list_of_substitutions(part)

    def execute(self, context: LaunchContext) -> list[Any]:
        description = self.launch_description_source.get_launch_description(context)
        path = os.path.abspath(self.launch_description_source.location)
        context.extend_locals(
            {"current_launch_file_path": path, "current_launch_file_directory": os.path.dirname(path)}
        )
        names = [
            perform_substitutions(context, normalize_to_list_of_substitutions(name))
            for name, _ in self.launch_arguments
        ]
        for argument in description.get_launch_arguments():
            if argument.condition is None and argument.default_value is None and argument.name not in names:
                raise RuntimeError(f"Included launch description missing required argument '{argument.name}'")
        return [*(SetLaunchConfiguration(name, value) for name, value in self.launch_arguments), description]


class TimerAction(Action):
    """Actions for later."""

    def __init__(
        self,
        *,
        period: Any,
        actions: Iterable[LaunchDescriptionEntity],
        cancel_on_shutdown: Any = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        ensure_argument_type(period, (float, Substitution, list, tuple), "period", "TimerAction")
        self.period = period if isinstance(period, float) else normalize_to_list_of_substitutions(period)
        self.actions = check_entities(actions, "TimerAction")
        self.cancel_on_shutdown = cancel_on_shutdown

    def execute(self, context: LaunchContext) -> None:
        period = self.period if isinstance(self.period, float) else float(perform_substitutions(context, self.period))
        context.timers.append((period, self.actions, context.get_locals_as_dict()))


class LogInfo(Action):
    """A line in the log."""

    def __init__(self, *, msg: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.msg = normalize_to_list_of_substitutions(msg)

    def execute(self, context: LaunchContext) -> None:
        _log.info(perform_substitutions(context, self.msg))


class Shutdown(Action):
    """The end: timers do not fire any more."""

    def __init__(self, *, reason: str = "reason not given", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    def execute(self, context: LaunchContext) -> None:
        context.is_shutdown = True

# SPDX-License-Identifier: Apache-2.0
"""What a launch knows while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.substitution import Substitution


class LaunchContext:
    """Launch configurations, environment and locals; and what is to be started."""

    def __init__(self, *, argv: Iterable[str] | None = None, noninteractive: bool = False) -> None:
        self.argv = list(argv or [])
        self.noninteractive = noninteractive
        self.launch_configurations: dict[str, Any] = {}
        self.processes: list[Any] = []
        """Of the stand-in alone: what runs once all is visited."""
        self.timers: list[tuple[float, list[Any], dict[str, Any]]] = []
        """Of the stand-in alone: period, actions, and the locals that they had."""
        self.is_shutdown = False
        self._locals: dict[str, Any] = {}
        self._configurations_stack: list[dict[str, Any]] = []
        self._environment_stack: list[dict[str, str]] = []
        self._first_environment = dict(os.environ)

    @property
    def environment(self) -> Any:
        """The environment of this process, as in the real one."""
        return os.environ

    @property
    def locals(self) -> SimpleNamespace:
        """What included files left, by attribute."""
        return SimpleNamespace(**self._locals)

    def get_locals_as_dict(self) -> dict[str, Any]:
        """The same, by name."""
        return dict(self._locals)

    def extend_locals(self, extensions: dict[str, Any]) -> None:
        """Add to them; nothing takes it back."""
        self._locals.update(extensions)

    def perform_substitution(self, sub: Substitution) -> str:
        """The text of a substitution."""
        return sub.perform(self)

    def _push_launch_configurations(self) -> None:
        self._configurations_stack.append(dict(self.launch_configurations))

    def _pop_launch_configurations(self) -> None:
        self.launch_configurations.clear()
        self.launch_configurations.update(self._configurations_stack.pop())

    def _push_environment(self) -> None:
        self._environment_stack.append(dict(os.environ))

    def _pop_environment(self) -> None:
        self._set_environment(self._environment_stack.pop())

    def _reset_environment(self) -> None:
        self._set_environment(self._first_environment)

    @staticmethod
    def _set_environment(values: dict[str, str]) -> None:
        os.environ.clear()
        os.environ.update(values)

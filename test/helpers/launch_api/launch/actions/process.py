# SPDX-License-Identifier: Apache-2.0
"""Actions that start a process: performed as far as its command line."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from launch.action import Action
from launch.launch_context import LaunchContext
from launch.substitution import Substitution
from launch.substitutions import LaunchConfiguration
from launch.utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions

SIGTERM = LaunchConfiguration("sigterm_timeout", default=5)
SIGKILL = LaunchConfiguration("sigkill_timeout", default=5)
OUTPUTS = ("screen", "log", "both", "own_log", "full")


class ExecuteLocal(Action):
    """What all actions have that start a process."""

    def __init__(
        self,
        *,
        shell: bool = False,
        sigterm_timeout: Any = SIGTERM,
        sigkill_timeout: Any = SIGKILL,
        emulate_tty: bool = False,
        output: Any = "log",
        output_format: str = "[{this.process_description.final_name}] {line}",
        cached_output: bool = False,
        log_cmd: bool = False,
        on_exit: Any = None,
        respawn: Any = False,
        respawn_delay: float | None = None,
        respawn_max_retries: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        switches = {"shell": shell, "emulate_tty": emulate_tty, "cached_output": cached_output, "log_cmd": log_cmd}
        for name, value in switches.items():
            ensure_argument_type(value, bool, name, type(self).__name__)
        ensure_argument_type(output_format, str, "output_format", type(self).__name__)
        ensure_argument_type(respawn_delay, (float, int, type(None)), "respawn_delay", type(self).__name__)
        ensure_argument_type(respawn_max_retries, int, "respawn_max_retries", type(self).__name__)
        for timeout in (sigterm_timeout, sigkill_timeout):
            normalize_to_list_of_substitutions(timeout)
        if not isinstance(respawn, bool):
            normalize_to_list_of_substitutions(respawn)
        if not isinstance(output, dict):
            output = normalize_to_list_of_substitutions(output)
        if on_exit is not None and not isinstance(on_exit, (Callable, Action, list, tuple)):  # type: ignore[arg-type]
            raise TypeError(f"on_exit={on_exit!r} is no function, action, or list of actions")
        self.shell, self.output, self.on_exit, self.respawn = shell, output, on_exit, respawn
        self.process_details: dict[str, Any] = {}
        self.return_code: int | None = None

    def start(self, context: LaunchContext, details: dict[str, Any]) -> None:
        """Of the stand-in alone: note what is to run."""
        if not isinstance(self.output, dict):
            text = perform_substitutions(context, self.output)
            if text not in OUTPUTS:
                raise ValueError(f'{text} is not a valid standard output config i.e. "screen", "log" or "both"')
        self.process_details = details
        context.processes.append(self)


class ExecuteProcess(ExecuteLocal):
    """A command."""

    def __init__(
        self,
        *,
        cmd: Iterable[Any],
        prefix: Any = None,
        name: Any = None,
        cwd: Any = None,
        env: dict[Any, Any] | None = None,
        additional_env: dict[Any, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(cmd, (str, Substitution)):
            raise TypeError(f"cmd is a list of words, not {cmd!r}")
        self.cmd = [normalize_to_list_of_substitutions(word) for word in cmd]
        self._prefix = None if prefix is None else normalize_to_list_of_substitutions(prefix)
        self._name = None if name is None else normalize_to_list_of_substitutions(name)
        self._cwd = None if cwd is None else normalize_to_list_of_substitutions(cwd)
        self._env = None if env is None else _pairs(env, "env")
        self._additional_env = _pairs(additional_env or {}, "additional_env")

    def execute(self, context: LaunchContext) -> None:
        def text(value: list[Substitution]) -> str:
            return perform_substitutions(context, value)

        command = [text(word) for word in self.cmd]
        chosen = context.launch_configurations.get("launch-prefix-filter", "") if self._prefix is None else ""
        if re.match(chosen, os.path.basename(command[0])):
            prefix = context.launch_configurations.get("launch-prefix", "")
            command = shlex.split(prefix if self._prefix is None else text(self._prefix)) + command
        env = dict(context.environment) if self._env is None else {text(k): text(v) for k, v in self._env}
        env.update({text(name): text(value) for name, value in self._additional_env})
        name = os.path.basename(command[0]) if self._name is None else text(self._name)
        if self.shell:
            command = ["/bin/sh", "-c", " ".join(command)]
        cwd = None if self._cwd is None else text(self._cwd)
        self.start(context, {"name": name, "cmd": command, "cwd": cwd, "env": env})


def _pairs(values: dict[Any, Any], name: str) -> list[tuple[list[Substitution], list[Substitution]]]:
    ensure_argument_type(values, dict, name, "ExecuteProcess")
    return [
        (normalize_to_list_of_substitutions(key), normalize_to_list_of_substitutions(value))
        for key, value in values.items()
    ]

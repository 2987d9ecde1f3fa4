# SPDX-License-Identifier: Apache-2.0
"""Runs a description."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterable
from typing import Any

from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.utilities import visit_all_entities_and_collect_futures

_log = logging.getLogger("launch")


class LaunchService:
    """Visits descriptions, then runs what they want started."""

    def __init__(self, *, argv: Iterable[str] | None = None, noninteractive: bool = False, debug: bool = False) -> None:
        self.context = LaunchContext(argv=argv, noninteractive=noninteractive)
        self._descriptions: list[LaunchDescriptionEntity] = []

    def include_launch_description(self, launch_description: Any) -> None:
        """One more to run."""
        if not isinstance(launch_description, LaunchDescriptionEntity):
            raise TypeError(f"{launch_description!r} is no launch description")
        self._descriptions.append(launch_description)

    def run(self, *, shutdown_when_idle: bool = True) -> int:
        """0, or 1 where something was raised, which is logged. The environment is as before afterwards."""
        before = dict(os.environ)
        try:
            for description in self._descriptions:
                visit_all_entities_and_collect_futures(description, self.context)
            self._run_processes()
            while self.context.timers and not self.context.is_shutdown:
                self.context.timers.sort(key=lambda timer: timer[0])
                _, actions, locals_then = self.context.timers.pop(0)
                self.context.extend_locals(locals_then)
                for action in actions:
                    visit_all_entities_and_collect_futures(action, self.context)
                self._run_processes()
        except Exception as error:
            _log.error("Caught exception in launch (see debug for traceback): %s", error)
            return 1
        finally:
            LaunchContext._set_environment(before)
        return 0

    def _run_processes(self) -> None:
        for process in self.context.processes:
            detail = process.process_details
            process.return_code = subprocess.run(
                detail["cmd"], cwd=detail["cwd"], env=detail["env"], check=False
            ).returncode
        self.context.processes.clear()

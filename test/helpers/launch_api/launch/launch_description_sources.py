# SPDX-License-Identifier: Apache-2.0
"""Launch files in Python."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

from launch.launch_description import LaunchDescription
from launch.launch_description_source import LaunchDescriptionSource


class PythonLaunchDescriptionSource(LaunchDescriptionSource):
    """A file with `generate_launch_description`."""

    def __init__(self, launch_file_path: Any) -> None:
        super().__init__(None, launch_file_path, "interpreted python launch file")

    def _get_launch_description(self, location: str) -> LaunchDescription:
        loader = SourceFileLoader("python_launch_file", location)
        spec = spec_from_loader(loader.name, loader)
        assert spec is not None
        module = module_from_spec(spec)
        loader.exec_module(module)
        found = module.generate_launch_description()
        if not isinstance(found, LaunchDescription):
            raise TypeError(f"generate_launch_description of {location} returns {found!r}, no LaunchDescription")
        return found


class AnyLaunchDescriptionSource(PythonLaunchDescriptionSource):
    """The stand-in reads files in Python alone."""

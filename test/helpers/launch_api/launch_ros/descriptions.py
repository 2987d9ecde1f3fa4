# SPDX-License-Identifier: Apache-2.0
"""Nodes within a container, and parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launch.condition import Condition
from launch.utilities import ensure_argument_type, normalize_to_list_of_substitutions

from launch_ros.parameter_descriptions import Parameter, ParameterFile, ParameterValue
from launch_ros.utilities import normalize_parameters, normalize_remap_rules

__all__ = ["ComposableNode", "Parameter", "ParameterFile", "ParameterValue"]


class ComposableNode:
    """A node that a container loads."""

    def __init__(
        self,
        *,
        package: Any,
        plugin: Any,
        name: Any = None,
        namespace: Any = None,
        parameters: Any = None,
        remappings: Iterable[Any] | None = None,
        extra_arguments: Any = None,
        condition: Condition | None = None,
    ) -> None:
        self.package = normalize_to_list_of_substitutions(package)
        self.node_plugin = normalize_to_list_of_substitutions(plugin)
        self.node_name = None if name is None else normalize_to_list_of_substitutions(name)
        self.node_namespace = None if namespace is None else normalize_to_list_of_substitutions(namespace)
        self.parameters = None if parameters is None else normalize_parameters(parameters)
        self.remappings = normalize_remap_rules(remappings or ())
        self.extra_arguments = None if extra_arguments is None else normalize_parameters(extra_arguments)
        ensure_argument_type(condition, (Condition, type(None)), "condition", "ComposableNode")
        self.condition = condition

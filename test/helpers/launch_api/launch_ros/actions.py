# SPDX-License-Identifier: Apache-2.0
"""Actions that start nodes, and those that set what all nodes get."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from launch.action import Action
from launch.actions import ExecuteProcess
from launch.launch_context import LaunchContext
from launch.substitution import Substitution
from launch.utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions

from launch_ros.descriptions import ComposableNode
from launch_ros.parameter_descriptions import Parameter, ParameterFile
from launch_ros.substitutions import ExecutableInPackage
from launch_ros.utilities import (
    absolute_namespace,
    evaluate_parameter_dict,
    normalize_parameter_dict,
    normalize_parameters,
    normalize_remap_rules,
)

_log = logging.getLogger("launch.launch_ros")


class Node(ExecuteProcess):
    """A process with one node."""

    def __init__(
        self,
        *,
        executable: Any,
        package: Any = None,
        name: Any = None,
        namespace: Any = None,
        exec_name: Any = None,
        parameters: Any = None,
        remappings: Iterable[Any] | None = None,
        ros_arguments: Iterable[Any] | None = None,
        arguments: Iterable[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "cmd" in kwargs:
            raise TypeError("a Node takes executable and arguments instead of cmd")
        program = executable if package is None else ExecutableInPackage(package=package, executable=executable)
        for words, what in ((arguments, "arguments"), (ros_arguments, "ros_arguments")):
            ensure_argument_type(words, (list, tuple, type(None)), what, "Node")
        command = [program, *(arguments or ()), *(["--ros-args", *ros_arguments] if ros_arguments else ())]
        super().__init__(cmd=[*command, "--ros-args"], name=exec_name, **kwargs)
        if parameters is not None:
            ensure_argument_type(parameters, list, "parameters", "Node")
        self._node_name = None if name is None else normalize_to_list_of_substitutions(name)
        self._namespace = None if namespace is None else normalize_to_list_of_substitutions(namespace)
        self._parameters = normalize_parameters(parameters or [])
        self._remappings = normalize_remap_rules(remappings or ())

    def execute(self, context: LaunchContext) -> None:
        words: list[str] = []
        name = None if self._node_name is None else perform_substitutions(context, self._node_name)
        if name is not None:
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ValueError(f"Invalid node name: {name!r}")
            words += ["-r", f"__node:={name}"]
        own = None if self._namespace is None else perform_substitutions(context, self._namespace)
        namespace = absolute_namespace(context.launch_configurations.get("ros_namespace"), own)
        if namespace is not None:
            if not re.fullmatch(r"/|(/[A-Za-z_]\w*)+", namespace):
                raise ValueError(f"Invalid namespace: {namespace!r}")
            words += ["-r", f"__ns:={namespace}"]
        for part in context.launch_configurations.get("global_params", []):
            words += ["-p", f"{part[0]}:={part[1]}"] if isinstance(part, tuple) else ["--params-file", str(part)]
        # Rules for a node that is known by its full name stand under it: they win over those for every node.
        key = f"{namespace.rstrip('/')}/{name}" if name is not None and namespace is not None else "/**"
        for part in self._parameters:
            words += self._parameter_words(context, part, key)
        for source, target in self._all_remappings(context):
            words += ["-r", f"{source}:={target}"]
        self.cmd += [normalize_to_list_of_substitutions(word) for word in words]
        super().execute(context)

    def _parameter_words(self, context: LaunchContext, part: Any, key: str) -> list[str]:
        if isinstance(part, Parameter):
            name, value = part.evaluate(context)
            return ["-p", f"{name}:={yaml.dump(value)}"]
        if not isinstance(part, ParameterFile):
            values = {key: {"ros__parameters": evaluate_parameter_dict(context, part)}}
            with tempfile.NamedTemporaryFile("w", prefix="launch_params_", delete=False) as file:
                yaml.dump(values, file, default_flow_style=False)
            return ["--params-file", file.name]
        path = part.evaluate(context)
        if not path.is_file():  # in the real one, too, this is all
            _log.warning("Parameter file path is not a file: %s", path)
            return []
        return ["--params-file", str(path)]

    def _all_remappings(self, context: LaunchContext) -> list[tuple[str, str]]:
        ours = [
            (perform_substitutions(context, source), perform_substitutions(context, target))
            for source, target in self._remappings
        ]
        return [*context.launch_configurations.get("ros_remaps", []), *ours]


class LifecycleNode(Node):
    """A node with a lifecycle; the stand-in starts it, and no more."""

    def __init__(self, *, name: Any, namespace: Any, **kwargs: Any) -> None:
        super().__init__(name=name, namespace=namespace, **kwargs)


class ComposableNodeContainer(Node):
    """A container; the stand-in starts it, and loads nothing into it."""

    def __init__(
        self,
        *,
        name: Any,
        namespace: Any,
        composable_node_descriptions: list[ComposableNode] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, namespace=namespace, **kwargs)
        for description in composable_node_descriptions or []:
            ensure_argument_type(description, ComposableNode, "composable_node_descriptions", "ComposableNodeContainer")


class PushRosNamespace(Action):
    """A namespace above those of the nodes that follow."""

    def __init__(self, namespace: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.namespace = normalize_to_list_of_substitutions(namespace)

    def execute(self, context: LaunchContext) -> None:
        known = context.launch_configurations
        found = absolute_namespace(known.get("ros_namespace"), perform_substitutions(context, self.namespace))
        known["ros_namespace"] = found


PushROSNamespace = PushRosNamespace


class SetParameter(Action):
    """A parameter of every node that follows."""

    def __init__(self, name: Any, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._values = normalize_parameter_dict({tuple(normalize_to_list_of_substitutions(name)): value})

    def execute(self, context: LaunchContext) -> None:
        found = list(evaluate_parameter_dict(context, self._values).items())
        known = context.launch_configurations
        known["global_params"] = [*known.get("global_params", []), *found]


class SetParametersFromFile(Action):
    """A file of parameters for every node that follows."""

    def __init__(self, filename: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        is_path = isinstance(filename, os.PathLike)
        self._file: list[Substitution] = normalize_to_list_of_substitutions(str(filename) if is_path else filename)

    def execute(self, context: LaunchContext) -> None:
        known = context.launch_configurations
        path = Path(perform_substitutions(context, self._file)).absolute()
        known["global_params"] = [*known.get("global_params", []), str(path)]


class SetRemap(Action):
    """A remapping of every node that follows."""

    def __init__(self, src: Any, dst: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rule = normalize_to_list_of_substitutions(src), normalize_to_list_of_substitutions(dst)

    def execute(self, context: LaunchContext) -> None:
        source, target = (perform_substitutions(context, part) for part in self._rule)
        known = context.launch_configurations
        known["ros_remaps"] = [*known.get("ros_remaps", []), (source, target)]

# SPDX-License-Identifier: Apache-2.0
"""Substitutions: what becomes text once a launch runs."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from launch.launch_context import LaunchContext
from launch.substitution import Substitution
from launch.utilities import (
    ensure_argument_type,
    normalize_to_list_of_substitutions,
    perform_bool,
    perform_substitutions,
)


class SubstitutionFailure(Exception):
    """A substitution has no text."""


class TextSubstitution(Substitution):
    """Text as it is."""

    def __init__(self, *, text: str) -> None:
        ensure_argument_type(text, str, "text", "TextSubstitution")
        self.text = text

    def perform(self, context: LaunchContext) -> str:
        return self.text


class LaunchConfiguration(Substitution):
    """The value of a launch configuration: of an argument, say."""

    def __init__(self, variable_name: Any, *, default: Any = None) -> None:
        self._name = normalize_to_list_of_substitutions(variable_name)
        self._default = None
        if default is not None:
            parts = default if isinstance(default, Iterable) and not isinstance(default, str) else (default,)
            texts = [part if isinstance(part, (str, Substitution)) else str(part) for part in parts]
            self._default = normalize_to_list_of_substitutions(texts)

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self._name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self._default is None:
            raise SubstitutionFailure(f"launch configuration '{name}' does not exist")
        return perform_substitutions(context, self._default)


class PathJoinSubstitution(Substitution):
    """Parts of a path, joined."""

    def __init__(self, substitutions: Iterable[Any]) -> None:
        self.substitutions = normalize_to_list_of_substitutions(substitutions)

    def perform(self, context: LaunchContext) -> str:
        return os.path.join(*[part.perform(context) for part in self.substitutions])


class PythonExpression(Substitution):
    """What Python makes of a text, as text."""

    def __init__(self, expression: Any, python_modules: Any = ("math",)) -> None:
        self.expression = normalize_to_list_of_substitutions(expression)
        self.python_modules = normalize_to_list_of_substitutions(python_modules)

    def perform(self, context: LaunchContext) -> str:
        known: dict[str, Any] = {}
        for name in [module.perform(context) for module in self.python_modules]:
            module = import_module(name)
            known.update(vars(module) if name == "math" else {}, **{name: module})
        return str(eval(perform_substitutions(context, self.expression), {}, known))


class EqualsSubstitution(Substitution):
    """``true`` where both sides say the same, as truth values, numbers or text."""

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = _side(left), _side(right)

    def perform(self, context: LaunchContext) -> str:
        left, right = (perform_substitutions(context, side) for side in (self.left, self.right))
        truths = {"true": True, "1": True, "false": False, "0": False}
        if left.lower() in truths and right.lower() in truths:
            return _text(truths[left.lower()] == truths[right.lower()])
        try:
            return _text(math.isclose(float(left), float(right)))
        except ValueError:
            return _text(left == right)


class NotEqualsSubstitution(EqualsSubstitution):
    """``true`` where they do not."""

    def perform(self, context: LaunchContext) -> str:
        return _text(super().perform(context) == "false")


class NotSubstitution(Substitution):
    """The contrary."""

    def __init__(self, value: Any) -> None:
        self.value = normalize_to_list_of_substitutions(value)

    def perform(self, context: LaunchContext) -> str:
        return _text(not _truth(context, self.value))


class AndSubstitution(Substitution):
    """``true`` where both are."""

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = normalize_to_list_of_substitutions(left), normalize_to_list_of_substitutions(right)

    def perform(self, context: LaunchContext) -> str:
        return _text(all([_truth(context, self.left), _truth(context, self.right)]))


class OrSubstitution(Substitution):
    """``true`` where one is."""

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = normalize_to_list_of_substitutions(left), normalize_to_list_of_substitutions(right)

    def perform(self, context: LaunchContext) -> str:
        return _text(any([_truth(context, self.left), _truth(context, self.right)]))


class EnvironmentVariable(Substitution):
    """A variable of the environment."""

    def __init__(self, name: Any, *, default_value: Any = None) -> None:
        self.name = normalize_to_list_of_substitutions(name)
        self.default_value = None if default_value is None else normalize_to_list_of_substitutions(default_value)

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.name)
        if name in context.environment:
            return str(context.environment[name])
        if self.default_value is None:
            raise SubstitutionFailure(f"environment variable '{name}' does not exist")
        return perform_substitutions(context, self.default_value)


class FindExecutable(Substitution):
    """The path of a program."""

    def __init__(self, *, name: Any) -> None:
        self.name = normalize_to_list_of_substitutions(name)

    def perform(self, context: LaunchContext) -> str:
        name = perform_substitutions(context, self.name)
        found = shutil.which(name)
        if found is None:
            raise SubstitutionFailure(f"executable '{name}' not found on the PATH")
        return found


class Command(Substitution):
    """What a program prints."""

    def __init__(self, command: Any, *, on_stderr: Any = "fail") -> None:
        self.command = normalize_to_list_of_substitutions(command)
        self.on_stderr = normalize_to_list_of_substitutions(on_stderr)

    def perform(self, context: LaunchContext) -> str:
        words = shlex.split(perform_substitutions(context, self.command))
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode or (done.stderr and perform_substitutions(context, self.on_stderr) == "fail"):
            raise SubstitutionFailure(f"executed command failed. Command: {words}\n{done.stderr}")
        return done.stdout


class ThisLaunchFileDir(Substitution):
    """The folder of the launch file that was included last."""

    def __init__(self) -> None:
        pass

    def perform(self, context: LaunchContext) -> str:
        return _local(context, "current_launch_file_directory", "ThisLaunchFileDir")


class ThisLaunchFile(Substitution):
    """The launch file that was included last."""

    def __init__(self) -> None:
        pass

    def perform(self, context: LaunchContext) -> str:
        return _local(context, "current_launch_file_path", "ThisLaunchFile")


def _local(context: LaunchContext, name: str, who: str) -> str:
    known = context.get_locals_as_dict()
    if name not in known:
        raise SubstitutionFailure(f"{who} used outside of a launch file (in a script)")
    return str(known[name])


def _side(value: Any) -> list[Substitution]:
    if isinstance(value, bool):
        value = _text(value)
    elif value is None:
        value = ""
    elif not isinstance(value, (str, Substitution, list, tuple)):
        value = str(value)
    return normalize_to_list_of_substitutions(value)


def _text(truth: bool) -> str:
    return str(truth).lower()


def _truth(context: LaunchContext, value: list[Substitution]) -> bool:
    try:
        return perform_bool(context, value)
    except ValueError as error:
        raise SubstitutionFailure(error) from error

# SPDX-License-Identifier: Apache-2.0
"""Parameters whose type, or whose file, is told more exactly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import yaml
from launch.launch_context import LaunchContext
from launch.substitution import Substitution
from launch.utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions

SCALARS = (bool, int, float, str)


class ParameterValue:
    """A value of a type, or a substitution that is read as one."""

    def __init__(self, value: Any, *, value_type: Any = None) -> None:
        kinds = (None, *SCALARS, *(list[kind] for kind in SCALARS))  # type: ignore[valid-type]
        inner = get_args(value_type)
        if value_type not in kinds and not (len(inner) == 1 and inner[0] in SCALARS):
            raise ValueError(f"value_type={value_type!r} is none of bool, int, float, str and lists of them")
        self.value_type = value_type
        parts = value if isinstance(value, (list, tuple)) else [value]
        self._is_text = any(isinstance(part, Substitution) for part in parts)
        self.value = normalize_to_list_of_substitutions(value) if self._is_text else value
        if not self._is_text and value_type in SCALARS:
            ensure_argument_type(value, value_type, "value", "ParameterValue")

    def evaluate(self, context: LaunchContext) -> Any:
        """The value; raises ValueError where text is not of the type."""
        if not self._is_text:
            return self.value
        text = perform_substitutions(context, self.value)
        if self.value_type is str:
            return text
        if self.value_type in (int, float):
            return self.value_type(text)
        found = yaml.safe_load(text) if text else text
        inner = get_args(self.value_type)
        wanted = list if inner else self.value_type or (*SCALARS, list)
        if not isinstance(found, wanted) or (inner and not all(isinstance(part, inner[0]) for part in found)):
            raise ValueError(f"{text!r} is not of {self.value_type}")
        return found


class Parameter:
    """A name and a value, which become ``-p name:=value``."""

    def __init__(self, name: Any, value: Any, *, value_type: Any = None) -> None:
        self.name = normalize_to_list_of_substitutions(name)
        self._value = ParameterValue(value, value_type=value_type)

    def evaluate(self, context: LaunchContext) -> tuple[str, Any]:
        """Both."""
        return perform_substitutions(context, self.name), self._value.evaluate(context)


class ParameterFile:
    """A file of parameters."""

    def __init__(self, param_file: Any, *, allow_substs: bool = False) -> None:
        ensure_argument_type(allow_substs, bool, "allow_substs", "ParameterFile()")
        if allow_substs:
            raise NotImplementedError("the stand-in does not read $(...) in parameter files")
        ensure_argument_type(param_file, (str, os.PathLike, Substitution, list, tuple), "param_file", "ParameterFile()")
        is_path = isinstance(param_file, os.PathLike)
        self._path = str(param_file) if is_path else param_file
        self._parts = normalize_to_list_of_substitutions(self._path)

    def evaluate(self, context: LaunchContext) -> Path:
        """Its path."""
        return Path(perform_substitutions(context, self._parts))

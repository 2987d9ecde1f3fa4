# SPDX-License-Identifier: Apache-2.0
"""Parameters, remappings and namespaces, from what a launch file gives to what a process is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from launch.launch_context import LaunchContext
from launch.substitution import Substitution
from launch.substitutions import TextSubstitution
from launch.utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions

from launch_ros.parameter_descriptions import SCALARS, Parameter, ParameterFile, ParameterValue

Texts = tuple[Substitution, ...]


def normalize_parameters(parameters: Any) -> tuple[Any, ...]:
    """A list of files and mappings with substitutions for texts; TypeError for what a parameter cannot be."""
    if isinstance(parameters, str) or not isinstance(parameters, Sequence):
        raise TypeError(f"Expecting list of parameters, got {parameters!r}")
    found: list[Any] = []
    for part in parameters:
        if isinstance(part, Mapping):
            found.append(normalize_parameter_dict(part))
        else:
            found.append(part if isinstance(part, (Parameter, ParameterFile)) else ParameterFile(part))
    return tuple(found)


def normalize_parameter_dict(parameters: Mapping[Any, Any], prefix: Texts = ()) -> dict[Texts, Any]:
    """Names as texts, nested mappings flat, values of a type that parameters have."""
    found: dict[Texts, Any] = {}
    for name, value in parameters.items():
        before = (*prefix, TextSubstitution(text=".")) if prefix else ()
        full = (*before, *normalize_to_list_of_substitutions(name))
        if isinstance(value, Mapping):
            found.update(normalize_parameter_dict(value, full))
        elif isinstance(value, (ParameterValue, bool, int, float, bytes)):
            found[full] = value
        elif isinstance(value, str):
            found[full] = tuple(normalize_to_list_of_substitutions(yaml.dump(value)))
        elif isinstance(value, Substitution):
            found[full] = (value,)
        elif isinstance(value, Sequence):
            found[full] = _normalize_list(value)
        else:
            raise TypeError(f"Unexpected type for parameter value {value!r} of {name!r}")
    return found


def _normalize_list(value: Sequence[Any]) -> tuple[Any, ...]:
    kinds = {bool if isinstance(part, bool) else type(part) for part in value}
    for part in value:
        ensure_argument_type(part, (*SCALARS, Substitution, list, tuple), "subvalue")
    if kinds in ({int}, {bool}):
        return tuple(value)
    if kinds and kinds <= {int, float}:
        return tuple(float(part) for part in value)
    if any(issubclass(kind, Substitution) for kind in kinds) and not kinds & {list, tuple, bool, int, float}:
        return tuple(normalize_to_list_of_substitutions(value))  # one text
    dumped = [yaml.dump(part) if isinstance(part, SCALARS) else part for part in value]
    return tuple(tuple(normalize_to_list_of_substitutions(part)) for part in dumped)


def evaluate_parameter_dict(context: LaunchContext, parameters: Mapping[Texts, Any]) -> dict[str, Any]:
    """Values by name; texts are read as YAML, lists become tuples. Raises TypeError for what is no value."""
    found: dict[str, Any] = {}
    for texts, value in parameters.items():
        name = perform_substitutions(context, texts)
        if isinstance(value, ParameterValue):
            found[name] = value.evaluate(context)
        elif isinstance(value, tuple) and value and isinstance(value[0], Substitution):
            found[name] = _read(name, perform_substitutions(context, value) or "''")
        elif isinstance(value, tuple) and value and isinstance(value[0], tuple):
            items = [yaml.safe_load(perform_substitutions(context, part)) for part in value]
            found[name] = _uniform(name, items)
        elif isinstance(value, tuple) and value:
            found[name] = value
        else:
            ensure_argument_type(value, (*SCALARS, bytes), f"value of {name}")
            found[name] = value
    return found


def _read(name: str, text: str) -> Any:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TypeError(f"Unable to parse the value of parameter {name} as yaml.") from error
    if isinstance(found, (*SCALARS, bytes)):
        return found
    if isinstance(found, Sequence):
        return _uniform(name, list(found))
    raise TypeError(f"{type(found)} is no type of a value, for {name!r}")


def _uniform(name: str, items: list[Any]) -> tuple[Any, ...]:
    kinds = {type(item) for item in items}
    if len(kinds) != 1 or not kinds <= set(SCALARS):
        raise TypeError(f"Expected a non-empty sequence, with items of uniform type. Got {items!r} for {name!r}")
    return tuple(items)


def normalize_remap_rules(remap_rules: Iterable[Any]) -> list[tuple[Texts, Texts]]:
    """Pairs of texts; TypeError for what is no pair."""
    found = []
    for rule in remap_rules:
        ensure_argument_type(rule, tuple, "remap_rule")
        if len(rule) != 2:
            raise TypeError(f"remap_rule must be a tuple of length 2, got length {len(rule)}")
        source, target = (tuple(normalize_to_list_of_substitutions(part)) for part in rule)
        found.append((source, target))
    return found


def absolute_namespace(base: str | None, namespace: str | None) -> str | None:
    """Of the stand-in alone: a namespace below another one, with its slash; None where there is neither."""
    if namespace is None:
        joined = base
    elif not base or namespace.startswith("/"):
        joined = namespace
    else:
        joined = f"{base.rstrip('/')}/{namespace}"
    if joined is None:
        return None
    return "/" + joined.strip("/")

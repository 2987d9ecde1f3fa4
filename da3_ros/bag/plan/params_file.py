# SPDX-License-Identifier: Apache-2.0
"""Parameter files of ROS 2, read as the node reads them: one file drives both, live and offline."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from da3_ros.stream.parameters import (
    SPECS,
    NodeParameters,
    ParameterError,
    camera_names,
    camera_specs,
    read_parameters,
)

NODE = "/da3/multi_cam"
_KEY = "ros__parameters"


def load_parameters(path: Path, node: str = NODE) -> dict[str, Any]:
    """Parameters, by their dotted names, that a file gives to `node` (its full name).

    Node names may be nested by namespace and hold wildcards (``*`` one part, ``/**`` any); later ones win. Raises
    ParameterError for a file that is no parameter file.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no YAML ({error})") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path}: wanted node names with a {_KEY} block each, as in config/multi_cam.yaml")
    found: dict[str, Any] = {}
    blocks = list(_blocks(content, ""))
    if not blocks:
        raise ParameterError(f"{path} has no {_KEY} block: see config/multi_cam.yaml")
    for name, values in blocks:
        if re.fullmatch(_pattern(name), node):
            found.update(_flat(values, ""))
    if not found:
        names = ", ".join(name for name, _ in blocks)
        raise ParameterError(f"{path} has parameters for {names}, none of which is {node}; name it so, or /**")
    return found


def _blocks(content: Mapping[str, Any], above: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for key, value in content.items():
        if key == _KEY and isinstance(value, Mapping):
            yield above, value
        elif isinstance(value, Mapping):
            yield from _blocks(value, f"{above}/{str(key).strip('/')}")


def _pattern(name: str) -> str:
    parts = [part for part in name.split("/") if part]
    # A name without a namespace means that node in every namespace, as on a command line.
    pattern = "(/[^/]+)*" if len(parts) == 1 and parts[0] != "**" and "*" not in parts[0] else ""
    for part in parts:
        pattern += "(/[^/]+)*" if part == "**" else "/" + re.escape(part).replace(r"\*", "[^/]*")
    return pattern


def _flat(values: Mapping[str, Any], above: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{name}."))
        else:
            found[name] = value
    return found


def parse_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """``name:=value`` -> values, read as YAML. Raises ParameterError."""
    found = {}
    for text in texts:
        name, sign, value = text.partition(":=")
        if not sign or not name:
            raise ParameterError(f"{text!r}: wanted NAME:=VALUE, for example cloud.rate:=0")
        found[name] = yaml.safe_load(value)
    return found


def node_parameters(values: Mapping[str, Any]) -> tuple[NodeParameters, list[str]]:
    """The node's parameters from given values and its defaults, and remarks on values that have no effect.

    Raises ParameterError.
    """

    def get(name: str) -> Any:
        if name in values:
            return values[name]
        specs = (*SPECS, *camera_specs(name.split(".", 1)[0]))
        return next(spec.default for spec in specs if spec.name == name)

    cameras = camera_names(get)
    known = [spec.name for spec in (*SPECS, *(s for camera in cameras for s in camera_specs(camera)))]
    keys = {spec.name.split(".", 1)[1] for spec in camera_specs("x")}
    remarks = []
    strangers: dict[str, list[str]] = {}
    for name in sorted(set(values) - set(known) - {"use_sim_time"}):
        camera, _, key = name.partition(".")
        if key in keys:
            strangers.setdefault(camera, []).append(key)
        if name.startswith("qos_overrides.") or key in keys:
            continue
        similar = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        remarks.append(f"parameter {name} is unknown and has no effect{hint}")
    for camera, its in strangers.items():
        remarks.append(
            f"{camera}.{its[0]}{' and others' if its[1:] else ''} has no effect: there is no camera {camera}, but "
            f"{', '.join(cameras)}"
        )
    return read_parameters(get), remarks

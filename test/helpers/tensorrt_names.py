# SPDX-License-Identifier: Apache-2.0
"""Which names of TensorRT our code uses, found in its source.

Objects are known by the names of variables: ``builder`` is a Builder wherever it stands, ``self._context`` an
IExecutionContext. That is a rule for the files in FILES; `misnamed` finds what breaks it.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    ROOT / "da3_ros" / name
    for name in (
        "engines/tensorrt.py",
        "engines/tensorrt_sweep.py",
        "engines/program.py",
        "export/build.py",
        "export/ladder.py",
    )
]
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "error": "ParserError",
    "profile": "IOptimizationProfile",
    "timing_cache": "ITimingCache",
    "tensor": "ITensor",
    "runtime": "Runtime",
    "_runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
}
OURS = {
    "engine": {"run", "close", "info"},  # our own engine, in ladder.py
}
RTX_ONLY = {
    "IBuilderConfig": {"num_compute_capabilities", "set_compute_capability"},
    "ComputeCapability": None,
}
"""Used only behind a check that they exist; None: the whole class."""


MAKERS = {
    "Builder": "Builder",
    "Runtime": "Runtime",
    "OnnxParser": "OnnxParser",
    "create_network": "INetworkDefinition",
    "create_builder_config": "IBuilderConfig",
    "create_optimization_profile": "IOptimizationProfile",
    "create_timing_cache": "ITimingCache",
    "create_execution_context": "IExecutionContext",
    "deserialize_cuda_engine": "ICudaEngine",
}


def misnamed() -> list[str]:
    """Variables that hold an object of TensorRT and have no name in CLASSES for its class."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
                continue
            made = MAKERS.get((chain(node.value.func) or [""])[-1])
            names = [chain(target)[-1] for target in node.targets if chain(target)]
            found += [f"{path.name}: {name} is a {made}" for name in names if made and CLASSES.get(name) != made]
    return found


def used_names() -> dict[str, dict[str, set[int] | None]]:
    """Class -> member -> numbers of positional arguments of its calls; None where it is not called."""
    used: dict[str, dict[str, set[int] | None]] = {}

    def note(owner: str, member: str | None, arguments: int | None) -> None:
        members = used.setdefault(owner, {})
        if member is None:
            return
        known = members.setdefault(member, None)
        if arguments is not None:
            members[member] = (known or set()) | {arguments}

    for path in FILES:
        tree = ast.parse(path.read_text())
        counts = {id(n.func): len(n.args) for n in ast.walk(tree) if isinstance(n, ast.Call) and not n.keywords}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    if chain(base)[:1] == ["trt"]:
                        note_overrides(note, chain(base)[1], node)
            if not isinstance(node, ast.Attribute):
                continue
            names = chain(node)
            if names[:1] == ["trt"] and len(names) == 2:
                note(names[1], "__init__" if id(node) in counts else None, counts.get(id(node)))
            elif names[:1] == ["trt"] and len(names) == 3 and names[2] != "__init__":
                note(names[1], names[2], counts.get(id(node)))
            elif len(names) in (2, 3) and (len(names) == 2 or names[0] == "self"):
                owner, member = names[-2:]
                if owner in CLASSES and member not in OURS.get(owner, ()):
                    note(CLASSES[owner], member, counts.get(id(node)))
    return used


def note_overrides(note, base: str, node: ast.ClassDef) -> None:
    """Methods that TensorRT calls, by the number of their parameters without self."""
    ours = {"last_errors"}
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name not in ours | {"__init__"}:
            note(base, method.name, len(method.args.args) - 1)


def chain(node: ast.expr) -> list[str]:
    """``a.b.c`` as names; empty for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        head = chain(node.value)
        return [*head, node.attr] if head else []
    return []

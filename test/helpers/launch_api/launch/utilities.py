# SPDX-License-Identifier: Apache-2.0
"""Texts, types and visits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from launch.substitution import Substitution


def normalize_to_list_of_substitutions(subs: Any) -> list[Substitution]:
    """Text, a substitution or an iterable of both as a list; anything else is a TypeError."""
    from launch.substitutions import TextSubstitution

    if isinstance(subs, str):
        return [TextSubstitution(text=subs)]
    if isinstance(subs, Substitution):
        return [subs]
    if not isinstance(subs, Iterable):
        raise TypeError(f"{subs!r} ({type(subs).__name__}) is no text, substitution, or iterable of these")
    found = []
    for part in subs:
        if not isinstance(part, (str, Substitution)):
            raise TypeError(f"{part!r} in {subs!r} is neither text nor a substitution")
        found.append(TextSubstitution(text=part) if isinstance(part, str) else part)
    return found


def perform_substitutions(context: Any, subs: Iterable[Substitution]) -> str:
    """The texts of a list, joined."""
    return "".join(context.perform_substitution(sub) for sub in subs)


def ensure_argument_type(argument: Any, types: Any, argument_name: str, caller: str | None = None) -> None:
    """TypeError where an argument is of none of the types."""
    kinds = tuple(types) if isinstance(types, (list, tuple)) else (types,)
    if not isinstance(argument, kinds):
        allowed = ", ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{caller or 'a function'}: {argument_name} is {argument!r}, not of {allowed}")


def perform_bool(context: Any, value: bool | list[Substitution]) -> bool:
    """Of the stand-in alone: a truth value, or text that is one in YAML 1.1 or a number of launch."""
    if isinstance(value, bool):
        return value
    text = perform_substitutions(context, value)
    truth = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}.get(text.strip().lower())
    if truth is None:
        raise ValueError(f"{text!r} is neither true nor false")
    return truth


def visit_all_entities_and_collect_futures(entity: Any, context: Any) -> list[Any]:
    """Visit an entity and what it yields, depth first; the stand-in has no futures."""
    for child in entity.visit(context) or ():
        visit_all_entities_and_collect_futures(child, context)
    return []

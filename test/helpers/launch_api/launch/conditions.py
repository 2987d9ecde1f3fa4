# SPDX-License-Identifier: Apache-2.0
"""Conditions of text."""

from __future__ import annotations

from typing import Any

from launch.condition import Condition
from launch.launch_context import LaunchContext
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions


class InvalidConditionExpressionError(Exception):
    """Text that is neither true nor false."""


def evaluate_condition_expression(context: LaunchContext, expression: Any) -> bool:
    """Whether a list of substitutions says true; raises InvalidConditionExpressionError for another word."""
    text = perform_substitutions(context, expression).strip().lower()
    truth = {"true": True, "1": True, "false": False, "0": False}.get(text)
    if truth is None:
        raise InvalidConditionExpressionError(f"{text!r} is none of true, 1, false, 0")
    return truth


class IfCondition(Condition):
    """True where its text is."""

    def __init__(self, predicate_expression: Any) -> None:
        expression = normalize_to_list_of_substitutions(predicate_expression)
        super().__init__(predicate=lambda context: evaluate_condition_expression(context, expression))


class UnlessCondition(Condition):
    """True where its text is false."""

    def __init__(self, predicate_expression: Any) -> None:
        expression = normalize_to_list_of_substitutions(predicate_expression)
        super().__init__(predicate=lambda context: not evaluate_condition_expression(context, expression))

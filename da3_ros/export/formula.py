# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs written as formulas: arithmetic on values becomes nodes, constants become initialisers.

Names follow from the order of the calls, so that the same code makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper


@dataclass(frozen=True)
class Value:
    """A tensor of a graph under construction. Comparisons give booleans, ``&`` and ``~`` combine those."""

    formula: Formula
    name: str

    def __add__(self, other: Value | float) -> Value:
        return self.formula.op("Add", self, other)

    def __sub__(self, other: Value | float) -> Value:
        return self.formula.op("Sub", self, other)

    def __mul__(self, other: Value | float) -> Value:
        return self.formula.op("Mul", self, other)

    def __truediv__(self, other: Value | float) -> Value:
        return self.formula.op("Div", self, other)

    def __gt__(self, other: Value | float) -> Value:
        return self.formula.op("Greater", self, other)

    def __ge__(self, other: Value | float) -> Value:
        return self.formula.op("GreaterOrEqual", self, other)

    def __lt__(self, other: Value | float) -> Value:
        return self.formula.op("Less", self, other)

    def __le__(self, other: Value | float) -> Value:
        return self.formula.op("LessOrEqual", self, other)

    def __and__(self, other: Value) -> Value:
        return self.formula.op("And", self, other)

    def __invert__(self) -> Value:
        return self.formula.op("Not", self)

    def under(self, number: float) -> Value:
        """The number over it."""
        return self.formula.op("Div", number, self)

    def at_least(self, least: Value | float) -> Value:
        """The larger one, element by element."""
        return self.formula.op("Max", self, least)

    def at_most(self, most: Value | float) -> Value:
        """The smaller one, element by element."""
        return self.formula.op("Min", self, most)

    def within(self, least: Value | float, most: Value | float) -> Value:
        """Whether it lies between two bounds, which belong to it."""
        return (self >= least) & (self <= most)

    def where(self, yes: Value | float, no: Value | float) -> Value:
        """Of a boolean: one or the other."""
        return self.formula.op("Where", self, yes, no)

    def number(self) -> Value:
        """As float32."""
        return self.formula.op("Cast", self, to=TensorProto.FLOAT)

    def unsqueezed(self, *axes: int) -> Value:
        """With axes of size 1, counted in the result."""
        return self.formula.op("Unsqueeze", self, self.formula.ints(*axes))

    def squeezed(self, axis: int) -> Value:
        """Without an axis of size 1."""
        return self.formula.op("Squeeze", self, self.formula.ints(axis))

    def reduced(self, how: str, axis: int, *, keep: bool = False) -> Value:
        """``Sum`` or ``Max`` along an axis."""
        return self.formula.op(f"Reduce{how}", self, self.formula.ints(axis), keepdims=int(keep))

    def sliced(self, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> Value:
        """Part of it along some axes."""
        ints = self.formula.ints
        return self.formula.op("Slice", self, ints(*starts), ints(*ends), ints(*axes))

    def element(self, axis: int, at: int) -> Value:
        """One place along an axis, which goes."""
        return self.sliced([axis], [at], [at + 1]).squeezed(axis)

    def shaped(self, *sides: Value | int) -> Value:
        """In another shape; sides are numbers, or values (1,) of integers."""
        parts = [side if isinstance(side, Value) else self.formula.ints(side) for side in sides]
        return self.formula.op("Reshape", self, self.formula.op("Concat", *parts, axis=0))

    def side(self, axis: int) -> Value:
        """Size (1,) along an axis, an integer."""
        return self.formula.op("Gather", self.formula.op("Shape", self), self.formula.ints(axis), axis=0)


class Formula:
    """A graph under construction."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[tuple[str, tuple[float, ...]], Value] = {}
        self._arrays: list[Any] = []

    def input(self, name: str, shape: Sequence[str | int]) -> Value:
        """An input of float32."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Value(self, name)

    def output(self, name: str, value: Value, shape: Sequence[str | int]) -> None:
        """Give a value of float32 out under a name."""
        self._nodes.append(helper.make_node("Identity", [value.name], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def op(self, kind: str, *inputs: Value | float, **attributes: Any) -> Value:
        """One node with one output; plain numbers are taken for float32."""
        name = f"{kind.lower()}_{len(self._nodes)}"
        names = [each.name if isinstance(each, Value) else self._number(each).name for each in inputs]
        self._nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return Value(self, name)

    def ints(self, *numbers: int) -> Value:
        """A constant vector of integers."""
        return self._constant("int64", numbers, np.array(numbers, np.int64))

    def _number(self, number: float) -> Value:
        return self._constant("float32", (number,), np.array(number, np.float32))

    def _constant(self, kind: str, key: tuple[float, ...], array: np.ndarray[Any, Any]) -> Value:
        if (kind, key) not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[kind, key] = Value(self, name)
            self._arrays.append(numpy_helper.from_array(array, name))
        return self._constants[kind, key]

    def model(self, name: str, opset: int, metadata: dict[str, str]) -> ModelProto:
        """The finished graph, checked."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._arrays)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        model.producer_name = "da3_ros"
        helper.set_model_props(model, metadata)
        checker.check_model(model, full_check=True)
        return model

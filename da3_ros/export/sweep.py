# SPDX-License-Identifier: Apache-2.0
"""The plane sweep as an ONNX graph, for all views of a set in one call.

The arithmetic is that of `da3_ros.estimation.refinement.sweep`; what goes in and out, and the letters of shapes, are
those of `da3_ros.engines.sweep`. `python tools/sweep_graph.py` writes the file that is shipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto

from da3_ros.engines.sweep import INPUTS, MARGIN, METADATA, OUTPUTS, WINDOW
from da3_ros.estimation.refinement.patches import NOISE
from da3_ros.estimation.refinement.sweep import WORST
from da3_ros.export.formula import Formula, Value

OPSET = 18
"""TensorRT 10.1 knows the modes of a GridSample by their names up to opset 19."""
ABSENT = -2.0
"""Score of a depth that a frame does not try: below that of one that nobody sees."""


def sweep_graph() -> ModelProto:
    """The graph; the same code makes the same bytes."""
    formula = Formula()
    given = {name: formula.input(name, shape) for name, shape in INPUTS.items()}
    projection = _Projection.of(given)
    scores, variance = _scores(given, projection)
    motion = _motion(given["log_depth"], projection)
    for name, value in _best(given, scores, variance, motion).items():
        formula.output(name, value, OUTPUTS[name])
    return formula.model("sweep", OPSET, METADATA)


@dataclass(frozen=True)
class _Projection:
    """Pixels of the frames in the other views."""

    planes: tuple[Value, ...]
    """Rays (B, J, 1, H, W), turned into the other view's pixels."""
    shift: tuple[Value, ...]
    """(B, J, 1, 1, 1)."""
    last: tuple[Value, Value]
    """(B, J, 1, 1, 1), the other view's last column and row."""

    @classmethod
    def of(cls, given: dict[str, Value]) -> _Projection:
        x, y = given["x"].unsqueezed(1, 2, 3), given["y"].unsqueezed(1, 2, 4)
        rows = [given["projections"].element(2, k) for k in range(3)]
        m = [[row.element(2, k).unsqueezed(2, 3, 4) for k in range(4)] for row in rows]
        right, bottom = (given["last"].element(2, k).unsqueezed(2, 3, 4) for k in (0, 1))
        planes = tuple(a * x + (b * y + c) for a, b, c, _ in m)
        return cls(planes, tuple(row[3] for row in m), (right, bottom))

    def inner(self) -> _Projection:
        """Without the margin."""
        return _Projection(tuple(_inner(plane) for plane in self.planes), self.shift, self.last)

    def __call__(self, depth: Value) -> tuple[Value, Value, Value]:
        """Column and row, and whether there is one, of every pixel; depth: (B, 1, ?, H, W), also of an inner part."""
        u, v, z = (depth * plane + shift for plane, shift in zip(self.planes, self.shift, strict=True))
        ahead = z > 0.0
        z = z.at_least(1e-9)
        u, v = (ahead.where(side / z, -1.0) for side in (u, v))
        seen = ahead & u.within(0.0, self.last[0]) & v.within(0.0, self.last[1])
        return u, v, seen

    def motion(self, depth: Value) -> Value:
        """Pixels that a place moves by for 1 of log depth; 0 where it is not seen. depth: (B, 1, ?, H, W)."""
        plane, shift = self.planes, self.shift
        x, y = (plane[k] * shift[2] - shift[k] * plane[2] for k in (0, 1))
        z = (depth * plane[2] + shift[2]).at_least(1e-9)
        moved = depth.formula.op("Sqrt", x * x + y * y) * depth / (z * z)
        return self(depth)[2].where(moved, 0.0)


def _scores(given: dict[str, Value], projection: _Projection) -> tuple[Value, Value]:
    """Mean score (B, K, h, w) of each depth in the views that see it, and the variance (B, 1, h, w) of the patches."""
    first, size, count = (given["steps"].element(1, k).unsqueezed(1, 2, 3) for k in range(3))
    place = given["places"].unsqueezed(0, 2, 3)
    log_depth = given["log_depth"].unsqueezed(1) + (first + place * size) * given["unit"].unsqueezed(1)
    u, v, seen = projection(projection.planes[0].formula.op("Exp", log_depth).unsqueezed(1))
    b, j, k, h, w = (u.side(axis) for axis in range(5))
    pairs = b * j
    image = _looked_up(given["others"], (u, v), projection.last).shaped(pairs, k, h, w) - 128.0
    own = given["grey"].unsqueezed(1) - 128.0
    mean = _box(own)
    variance = (_box(own * own) - mean * mean).at_least(0.0)
    mean, deviation = mean.unsqueezed(1), (variance + float(NOISE)).unsqueezed(1)
    both = (image.shaped(b, j, k, h, w) * own.unsqueezed(1)).shaped(pairs, k, h, w)
    margin = given["grey"].formula.ints(2 * MARGIN)
    inner = b, j, k, h - margin, w - margin
    mean_there, square_there, both = (_box(each).shaped(*inner) for each in (image, image * image, both))
    there = (square_there - mean_there * mean_there).at_least(0.0) + float(NOISE)
    score = (both - mean * mean_there) / image.formula.op("Sqrt", deviation * there)
    weight = _inner(seen.number())
    seers = weight.reduced("Sum", 1)
    score = (seers > 0.0).where((score * weight).reduced("Sum", 1) / seers.at_least(1.0), float(WORST))
    return (place < count).where(score, ABSENT), variance


def _looked_up(others: Value, places: tuple[Value, Value], last: tuple[Value, Value]) -> Value:
    """Grey levels of the other views at places (B, J, K, H, W), as (B J, 1, K H, W): all depths are one tall image.

    Beyond a view's last pixel lies that pixel: views of one call may be smaller than the array that holds them.
    """
    formula = others.formula
    grid = []
    for at, end, axis in zip(places, last, (3, 2), strict=True):
        half = (others.side(axis).number() - 1.0) / 2.0
        grid.append((at.at_least(0.0).at_most(end.at_least(0.0)) / half - 1.0).unsqueezed(5))
    b, j, k, h, w = (places[0].side(axis) for axis in range(5))
    tall = formula.op("Concat", *grid, axis=5).shaped(b * j, k * h, w, 2)
    image = others.shaped(-1, 1, others.side(2), others.side(3))
    return formula.op("GridSample", image, tall, mode="bilinear", padding_mode="border", align_corners=1)


def _motion(log_depth: Value, projection: _Projection) -> Value:
    """Pixels (B, 1, h, w) that a place moves by, for 1 of log depth, in the view where it moves most."""
    depth = log_depth.formula.op("Exp", _inner(log_depth)).unsqueezed(1, 2)
    return projection.inner().motion(depth).reduced("Max", 1)


def _best(given: dict[str, Value], scores: Value, variance: Value, motion: Value) -> dict[str, Value]:
    """Outputs by name (B, h, w): the best depth, to a part of a step, and whether to believe it."""
    formula = scores.formula
    first, size, count = (given["steps"].element(1, k).unsqueezed(1, 2, 3) for k in range(3))
    least, margin, texture = (given["rules"].element(0, k) for k in range(3))
    place, unit = given["places"].unsqueezed(0, 2, 3), _inner(given["unit"]).unsqueezed(1)
    best = formula.op("ArgMax", scores, axis=1, keepdims=1)
    one = formula.ints(1)
    beside = [(best - one).at_least(formula.ints(0)), best, (best + one).at_most(scores.side(1) - one)]
    three = formula.op("GatherElements", scores, formula.op("Concat", *beside, axis=1), axis=1)
    before, top, after = (three.sliced([1], [k], [k + 1]) for k in range(3))
    at = best.number()
    apart = formula.op("Ceil", (motion * unit * size).at_least(0.25).under(2.0)).at_least(2.0)
    near = formula.op("Abs", place - at) <= apart
    second = near.where(float(WORST), scores).reduced("Max", 1, keep=True)
    # The best of all may lie outside of what was tried.
    found = (at > 0.0) & (at < count - 1.0) & (top > least)
    alone = found & (top - second > margin)
    bend = before - top * 2.0 + after
    peak = ((before - after) / (bend.at_most(-1e-6) * 2.0)).at_least(-1.0).at_most(1.0)
    change = (first + (at + (bend < -1e-6).where(peak, 0.0)) * size) * unit
    return {
        "found": _inner(given["log_depth"]) + change.squeezed(1),
        "accepted": (alone & (variance > texture) & (motion > 0.0)).number().squeezed(1),
        "pixels_per_log": motion.squeezed(1),
        "ambiguous": (found & ~alone).number().squeezed(1),
    }


def _inner(value: Value) -> Value:
    """Planes without their margin."""
    return value.sliced([-2, -1], [MARGIN, MARGIN], [-MARGIN, -MARGIN])


def _box(image: Value) -> Value:
    """Mean of the window around each pixel (n, c, H, W) that is not of the margin, rows first, then columns."""
    for shape in ((WINDOW, 1), (1, WINDOW)):
        image = image.formula.op("AveragePool", image, kernel_shape=shape)
    return image

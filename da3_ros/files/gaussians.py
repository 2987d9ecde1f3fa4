# SPDX-License-Identifier: Apache-2.0
"""Gaussians as a PLY file in the property layout of 3D Gaussian Splatting, which viewers read, and back."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from array_api_compat import is_torch_array
from numpy.typing import NDArray

from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.poses import Array

logger = logging.getLogger(__name__)

OPACITY_EPS = 1e-6
"""Opacities are written as logits, which are infinite at 0 and 1."""


def write_gaussian_ply(path: str | Path, gaussians: Gaussians, *, only_mean_colour: bool = False) -> int:
    """Write `gaussians`, of any leading axes, to a binary PLY file; folders are made. Returns how many were written.

    Properties: x y z, nx ny nz (0), f_dc_0..2, f_rest_* (the other coefficients, red then green then blue), opacity
    (logit), scale_0..2 (natural logarithm), rot_0..3 (w x y z). `only_mean_colour` leaves out the f_rest_*. Gaussians
    with a value that is not finite, or a scale that is not positive, are left out: viewers fail on them.
    """
    n = math.prod(gaussians.opacities.shape)
    harmonics = _rows(gaussians.harmonics, n, 3, -1)
    opacity = np.clip(_rows(gaussians.opacities, n, 1), OPACITY_EPS, 1 - OPACITY_EPS)
    means = _rows(gaussians.means, n, 3)
    columns: dict[tuple[str, ...], NDArray[np.float32]] = {
        ("x", "y", "z"): means,
        ("nx", "ny", "nz"): np.zeros_like(means),
        ("f_dc_0", "f_dc_1", "f_dc_2"): harmonics[..., 0],
    }
    rest = harmonics[..., 1:].reshape(n, -1)
    if not only_mean_colour:
        columns[tuple(f"f_rest_{i}" for i in range(rest.shape[1]))] = rest
    columns[("opacity",)] = np.log(opacity) - np.log1p(-opacity)
    with np.errstate(divide="ignore", invalid="ignore"):  # such rows are left out
        columns[("scale_0", "scale_1", "scale_2")] = np.log(_rows(gaussians.scales, n, 3))
    columns[("rot_0", "rot_1", "rot_2", "rot_3")] = _rows(gaussians.rotations, n, 4)
    table = np.concatenate(list(columns.values()), axis=1)
    rows = table[np.isfinite(table).all(axis=1)].astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property float {name}" for names in columns for name in names]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join([*header, "end_header", ""]).encode() + rows.tobytes())
    return len(rows)


def _rows(x: Array, n: int, *shape: int) -> NDArray[np.float32]:
    """An array of NumPy or torch with `n` rows of `shape`."""
    values = x.detach().cpu().numpy() if is_torch_array(x) else x
    return np.asarray(values, dtype=np.float32).reshape(n, *shape)


_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_NEEDED = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
_REST = {3 * (degree + 1) ** 2 - 3: degree for degree in range(4)}
"""Degree of the harmonics by the number of f_rest_* properties."""
_LONGEST_HEADER = 2**16


def read_gaussian_ply(path: str | Path) -> Gaussians:
    """Gaussians (N, ...) of a binary PLY file in the layout that `write_gaussian_ply` writes, of whatever program.

    Properties are found by their names, in any order and of any type; others are passed over. Harmonics of degree 0 to
    3, by the number of f_rest_*. Rotations are made unit quaternions. Gaussians that have a value that is not finite,
    or no rotation, are left out, and a warning says how many. Raises ValueError for a file that is no such PLY, with
    what it lacks; OSError.
    """
    path = Path(path)
    with path.open("rb") as stream:
        rows = _vertices(path, stream)
    names = rows.dtype.names or ()
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ValueError(
            f"{path} has no Gaussians: its points lack {', '.join(missing)} (they have {', '.join(names) or 'none'}); "
            "wanted is the layout of 3D Gaussian Splatting, as of `da3 images --format gaussians`"
        )
    rest = sorted((name for name in names if name.startswith("f_rest_")), key=lambda name: (len(name), name))
    if len(rest) not in _REST or rest != [f"f_rest_{i}" for i in range(len(rest))]:
        counts = ", ".join(map(str, _REST))
        raise ValueError(
            f"{path} has {len(rest)} properties f_rest_*; allowed are f_rest_0, 1, 2 ... of harmonics of degree 0 to "
            f"3: {counts}"
        )

    def columns(*wanted: str) -> NDArray[np.float32]:
        return np.stack([rows[name].astype(np.float32) for name in wanted], axis=1)

    means, rotations = columns("x", "y", "z"), columns(*(f"rot_{i}" for i in range(4)))
    mean_colour = columns("f_dc_0", "f_dc_1", "f_dc_2")[..., None]
    others = columns(*rest) if rest else np.zeros((len(rows), 0), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        scales = np.exp(columns("scale_0", "scale_1", "scale_2"))
        opacities = (0.5 + 0.5 * np.tanh(0.5 * rows["opacity"].astype(np.float64))).astype(np.float32)
    harmonics = np.concatenate([mean_colour, others.reshape(len(rows), 3, len(rest) // 3)], axis=2)
    norms = np.linalg.norm(rotations.astype(np.float64), axis=1)
    good = np.isfinite(norms) & (norms > 0) & np.isfinite(opacities) & np.isfinite(harmonics).all(axis=(1, 2))
    good &= np.isfinite(means).all(axis=1) & np.isfinite(scales).all(axis=1)
    if not good.all():
        logger.warning(
            "%s: %d of %d Gaussians are left out: values that are not finite, or no rotation",
            path,
            len(rows) - good.sum(),
            len(rows),
        )
    unit = (rotations[good] / norms[good, None]).astype(np.float32)
    return Gaussians(means[good], scales[good], unit, harmonics[good], opacities[good])


def _vertices(path: Path, stream: BinaryIO) -> NDArray[np.void]:
    """The rows of the element ``vertex`` of a binary PLY file."""
    order, elements = _header(path, stream)
    for name, count, properties in elements:
        lists = [words for words in properties if words[0] == "list" or words[0] not in _TYPES]
        if lists:
            raise ValueError(f"{path}: its element {name} has a property `{' '.join(lists[0])}`, which is no number")
        try:
            row = np.dtype([(words[-1], order + _TYPES[words[0]]) for words in properties])
        except ValueError as error:  # a name twice
            raise ValueError(f"{path}: its element {name}: {error}") from error
        size, there = count * row.itemsize, path.stat().st_size - stream.tell()
        if there < size:
            raise ValueError(
                f"{path} is cut off: {count} of its element {name} take {size} bytes, {there} are there; copy it again"
            )
        data = stream.read(size)
        if name == "vertex":
            return np.frombuffer(data, row, count) if row.itemsize else np.zeros(0, row)
    found = ", ".join(name for name, _, _ in elements) or "none"
    raise ValueError(f"{path} has no points: wanted is an element vertex, found {found}")


def _header(path: Path, stream: BinaryIO) -> tuple[str, list[tuple[str, int, list[list[str]]]]]:
    """NumPy's sign for the order of bytes; elements in their order: name, count, and properties as words."""
    wanted = "wanted is a binary PLY file of 3D Gaussians, as of `da3 images --format gaussians`"
    if stream.readline(16).strip() != b"ply":
        raise ValueError(f"{path} is no PLY file; {wanted}")
    order, size = "", 0
    elements: list[tuple[str, int, list[list[str]]]] = []
    while True:
        line = stream.readline(_LONGEST_HEADER)
        size += len(line)
        if not line or size > _LONGEST_HEADER:
            raise ValueError(f"{path} is cut off within its header; copy it again")
        words = line.decode("ascii", "replace").split()
        if words == ["end_header"]:
            break
        try:
            if words[:1] == ["format"]:
                if words[1] not in _ORDERS:
                    raise ValueError(f"{path} is a PLY file of the format {words[1]}; {wanted}: convert it")
                order = _ORDERS[words[1]]
            elif words[:1] == ["element"]:
                elements.append((words[1], int(words[2]), []))
                if elements[-1][1] < 0:
                    raise ValueError("a count below 0")
            elif words[:1] == ["property"]:
                elements[-1][2].append(words[1:])
        except (IndexError, ValueError) as error:
            if str(error).startswith(str(path)):
                raise
            raise ValueError(f"{path}: {' '.join(words)!r} in its header is no PLY") from error
    if not order:
        raise ValueError(f"{path}: its header names no format; {wanted}")
    return order, elements

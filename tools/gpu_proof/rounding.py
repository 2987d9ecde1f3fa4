# SPDX-License-Identifier: Apache-2.0
"""What the tolerances of `numerics` are built on, measured on a CPU: what rounding alone costs each arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_proof.bench import TINY, load_network
from gpu_proof.network import PRESETS
from gpu_proof.numerics import TOLERANCES, draw_images, errors, need_torch, worst
from gpu_proof.options import Options

SIZE, TINY_SIZE = (140, 252), (28, 42)
LOST_BITS = 13
"""Of float32's mantissa in TF32."""


def measure(options: Options) -> Iterator[tuple[str, int, dict[str, tuple[float, float]]]]:
    """Preset, number of views, and by arithmetic the largest and the largest mean error of all outputs, with seeded
    weights: float32 beside float64, TF32 and bfloat16 beside float32.
    """
    torch = need_torch()
    height, width = TINY_SIZE if options.quick else SIZE
    for preset in (TINY,) if options.quick else PRESETS:
        _, model = load_network(preset, Path("no weights: seeded ones round worse"))
        for views in (1, 2):
            images = draw_images(views, height, width)
            with torch.inference_mode():
                single = model(images, reference="first")
                with coarse_products(torch):
                    tf32 = model(images, reference="first")
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    half = model(images, reference="first")
                double = model.double()(images.double(), reference="first")
                model.float()
            pairs = {"float32": (single, double), "tf32": (tf32, single), "bfloat16": (half, single)}
            found = {name: worst(errors(*pair)) for name, pair in pairs.items()}
            yield preset, views, {name: (largest, mean) for name, (_, largest, _, mean) in found.items()}


def table(options: Options) -> Iterator[str]:
    """`measure` as lines of a Markdown table, and under it the tolerances."""
    yield f"| network | views | {' | '.join(f'{name}, largest | mean' for name in TOLERANCES)} |"
    yield "|" + "---|" * (2 + 2 * len(TOLERANCES))
    for preset, views, found in measure(options):
        cells = [f"{value:.1e}" for name in TOLERANCES for value in found[name]]
        yield f"| {preset} | {views} | {' | '.join(cells)} |"
    cells = [f"{value:g}" for tolerance in TOLERANCES.values() for value in (tolerance.largest, tolerance.mean)]
    yield f"| allowed | | {' | '.join(cells)} |"


def coarse_products(torch: Any) -> Any:
    """A context in which everything that goes into a product is rounded to TF32's ten bits first, as a GPU does it.

    Sums stay in float32 there, too.
    """
    functional = torch.nn.functional
    products = {
        functional.linear: 2, torch.conv2d: 2, functional.conv2d: 2, torch.conv_transpose2d: 2,
        functional.conv_transpose2d: 2, functional.scaled_dot_product_attention: 3, torch.matmul: 2,
        torch.Tensor.matmul: 2, torch.Tensor.__matmul__: 2,
    }  # fmt: skip

    class Coarse(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            count = products.get(function, 0)
            rounded = (*(to_tf32(torch, x) for x in args[:count]), *args[count:])
            return function(*rounded, **(kwargs or {}))

    return Coarse()


def to_tf32(torch: Any, x: Any) -> Any:
    """Numbers of a float32 tensor rounded to the nearest of TF32."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + (1 << (LOST_BITS - 1))) & -(1 << LOST_BITS)).view(torch.float32)

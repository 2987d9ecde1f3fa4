# SPDX-License-Identifier: Apache-2.0
import copy
from contextlib import contextmanager

import pytest
from pretended_gpu import driver, folder, images, leftovers, machine  # noqa: F401

SIZE = (42, 56)
"""Height and width of graphs of one size: half the work to trace."""


@contextmanager
def seeded(preset, where, dtype):
    """A network with seeded weights as a checkpoint in a folder; its preset is known for as long."""
    import torch

    from da3_ros.network import PRESETS, create_model, save_checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, preset.name, preset)
        torch.manual_seed(0)
        save_checkpoint(create_model(preset.name), where, dtype)
        yield


@contextmanager
def export_seeded(preset, where, dtype, **options):
    """The same, exported."""
    from da3_ros.export import export_checkpoint
    from da3_ros.network import load_checkpoint

    with seeded(preset, where, dtype):
        differences = export_checkpoint(where, where, **options)
        yield load_checkpoint(where), where, differences


@pytest.fixture(scope="package")
def exported(tmp_path_factory):
    """A micro network stored in half precision, its folder, and what the export of its float32 graphs measured."""
    torch = pytest.importorskip("torch")
    from micro import MICRO

    with export_seeded(MICRO, tmp_path_factory.mktemp("micro"), torch.float16) as made:
        yield made


@pytest.fixture(scope="package")
def in_16_bits(exported):
    """Graphs in 16 bits beside the float32 ones, of one size; what their export measured."""
    from micro import LARGE

    from da3_ros.export import export_checkpoint

    _, where, _ = exported
    return export_checkpoint(where, where, precisions=("fp16", "bf16"), kinds=("unposed",), size=LARGE)


@pytest.fixture(scope="package")
def exported_nested(tmp_path_factory):
    """A small nested network, its folder, and what the export of its graph measured."""
    torch = pytest.importorskip("torch")
    from micro import MICRO_NESTED

    with export_seeded(MICRO_NESTED, tmp_path_factory.mktemp("nested"), torch.float32, kinds=("unposed",)) as made:
        yield made


@pytest.fixture(scope="package")
def exported_single(tmp_path_factory):
    """A small network that looks at each image alone, its folder, and what the export of its graph measured. Of one
    size: the nested network has such a one inside, and its graph takes any size.
    """
    torch = pytest.importorskip("torch")
    from micro import MICRO_SINGLE

    with export_seeded(MICRO_SINGLE, tmp_path_factory.mktemp("single"), torch.float32, size=SIZE) as made:
        yield made


@pytest.fixture(scope="package")
def exported_giant(tmp_path_factory):
    """A small network with everything that can be asked for, rays and Gaussians, its folder, what the export of its
    graph measured, and what an export before it, whose tolerance was 0, said and left. Of one size, which is traced
    faster, and once for both.
    """
    torch = pytest.importorskip("torch")
    from micro import MICRO_GIANT

    from da3_ros.export import export_checkpoint, graph
    from da3_ros.network import load_checkpoint

    where, made = tmp_path_factory.mktemp("giant"), []

    def trace_once(*arguments):
        made.append(made[0] if made else trace(*arguments))
        return copy.deepcopy(made[0])

    options = {"size": SIZE, "kinds": ("unposed",), "rays": True, "gaussians": True}
    trace = graph.trace
    with seeded(MICRO_GIANT, where, torch.float32):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graph, "trace", trace_once)
            with pytest.raises(ValueError, match="differs from torch") as refused:
                export_checkpoint(where, where, tolerance=0.0, **options)
            left = [path.name for path in where.iterdir()]
            differences = export_checkpoint(where, where, **options)
        assert len(made) == 2
        yield load_checkpoint(where), where, differences, (str(refused.value), left)


def pytest_collection_modifyitems(items):
    """The first test that needs graphs waits for their export: seconds each, many more on a busy machine."""
    dear = {"exported", "exported_nested", "exported_giant", "exported_single", "in_16_bits", "several"}
    for item in items:
        if dear & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(400))

# SPDX-License-Identifier: Apache-2.0
from contextlib import contextmanager

import pytest
from pretended_gpu import driver, folder, images, leftovers, machine  # noqa: F401


@contextmanager
def export_seeded(preset, where, dtype, **options):
    """A network with seeded weights as a checkpoint in a folder, exported; its preset is known for as long."""
    import torch

    from da3_ros.export import export_checkpoint
    from da3_ros.network import PRESETS, create_model, load_checkpoint, save_checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, preset.name, preset)
        torch.manual_seed(0)
        save_checkpoint(create_model(preset.name), where, dtype)
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
    """Float16 and bfloat16 graphs beside the float32 ones; what their export measured."""
    from da3_ros.export import export_checkpoint

    _, where, _ = exported
    return export_checkpoint(where, where, precisions=("fp16", "bf16"), kinds=("unposed",))


@pytest.fixture(scope="package")
def exported_nested(tmp_path_factory):
    """A small nested network, its folder, and what the export of its graph measured."""
    torch = pytest.importorskip("torch")
    from micro import MICRO_NESTED

    with export_seeded(MICRO_NESTED, tmp_path_factory.mktemp("nested"), torch.float32, kinds=("unposed",)) as made:
        yield made


def pytest_collection_modifyitems(items):
    """The first test that needs graphs waits for their export: seconds each, many more on a busy machine."""
    for item in items:
        if {"exported", "exported_nested", "in_16_bits", "several"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(400))

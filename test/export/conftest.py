# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from pretended_gpu import driver, folder, images, leftovers, machine  # noqa: F401

from da3_ros.export import export_checkpoint
from da3_ros.network import PRESETS, create_model, load_checkpoint, save_checkpoint

from ..micro import MICRO, MICRO_NESTED, micro  # noqa: F401


@pytest.fixture(scope="package")
def exported(tmp_path_factory):
    """A micro network stored in half precision, its folder, and what the export of its float32 graphs measured."""
    where = tmp_path_factory.mktemp("micro")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, MICRO.name, MICRO)
        torch.manual_seed(0)
        save_checkpoint(create_model(MICRO.name), where, torch.float16)
        differences = export_checkpoint(where, where)
        yield load_checkpoint(where), where, differences


@pytest.fixture(scope="package")
def in_16_bits(exported):
    """Float16 and bfloat16 graphs beside the float32 ones; what their export measured."""
    _, where, _ = exported
    return export_checkpoint(where, where, precisions=("fp16", "bf16"), kinds=("unposed",))


@pytest.fixture(scope="package")
def exported_nested(tmp_path_factory):
    """A small nested network, its folder, and what the export of its graph measured."""
    where = tmp_path_factory.mktemp("nested")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, MICRO_NESTED.name, MICRO_NESTED)
        torch.manual_seed(0)
        save_checkpoint(create_model(MICRO_NESTED.name), where)
        differences = export_checkpoint(where, where, kinds=("unposed",))
        yield load_checkpoint(where), where, differences


def pytest_collection_modifyitems(items):
    """The first test that needs graphs waits for their export: seconds each, many more on a busy machine."""
    for item in items:
        if {"exported", "exported_nested", "in_16_bits", "several"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(400))

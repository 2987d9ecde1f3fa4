# SPDX-License-Identifier: Apache-2.0
"""Every name of TensorRT that our code uses exists from 10.3 (JetPack 6.2) to 11.4, and takes the arguments we give.

test/data/tensorrt_api.json holds the names, kinds and parameters of those two releases' public Python interface, no
more than we use. What exists in both is taken to exist between them.
"""

import importlib
import inspect
import json

import pytest
from fake_tensorrt import make_module
from tensorrt_names import ROOT, RTX_ONLY, misnamed, used_names

API = json.loads((ROOT / "test" / "data" / "tensorrt_api.json").read_text())
VERSIONS = [key for key in API if key != "origin"]
USED = {name: members for name, members in used_names().items() if not name.startswith("__")}
PLAIN = {
    name: {m: n for m, n in members.items() if m not in (RTX_ONLY.get(name) or ())}
    for name, members in USED.items()
    if RTX_ONLY.get(name, ()) is not None
}


def test_the_collector_sees_the_code():
    assert len(PLAIN) > 15
    assert USED["IExecutionContext"]["execute_async_v3"] == {1}
    assert USED["IProgressMonitor"]["phase_start"] == {3}
    assert USED["Builder"]["build_serialized_network"] == {2}
    assert misnamed() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_exists(version):
    missing = [
        f"{name}.{member}" for name, members in PLAIN.items() for member in members
        if member not in API[version].get(name, {})
    ]  # fmt: skip
    assert missing == [], f"not in TensorRT {version}; if they are, add them to test/data/tensorrt_api.json"
    assert set(PLAIN) <= set(API[version])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_call_has_the_right_number_of_arguments(version):
    for name, members in PLAIN.items():
        for member, counts in members.items():
            parameters = API[version][name][member]
            for count in counts or ():
                assert isinstance(parameters, list), f"{name}.{member} is no method"
                required = sum(not parameter.endswith("=") for parameter in parameters)
                assert required <= count <= len(parameters), f"{name}.{member} takes {parameters}, gets {count}"


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_listed_that_we_do_not_use(version):
    listed = {(name, member) for name, members in API[version].items() for member in members}
    assert listed == {(name, member) for name, members in PLAIN.items() for member in members}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pretended_tensorrt_has_the_same_signatures(driver, version):
    fake = make_module(driver, version)
    for name, members in API[version].items():
        owner = getattr(fake, name, None)
        for member, parameters in members.items():
            function = getattr(owner, member, None)
            if owner is not None and isinstance(parameters, list) and inspect.isfunction(function):
                given = [p for p in inspect.signature(function).parameters if p != "self"]
                assert given == [p.rstrip("=") for p in parameters], f"{name}.{member}"


@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx"])
def test_the_installed_module_has_every_name(module):
    try:
        trt = importlib.import_module(module)
    except ImportError as error:
        pytest.skip(f"{module} is not installed ({error})")
    wanted = USED if module == "tensorrt_rtx" else PLAIN
    missing = [f"{c}.{m}" for c, members in wanted.items() for m in members if not hasattr(getattr(trt, c, None), m)]
    assert missing == []

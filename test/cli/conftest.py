# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from pretended_gpu import driver, folder, machine  # noqa: F401

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture(scope="package")
def sessions():
    """Sessions of ONNX Runtime by graph, threads and providers: loading one takes longer than a small image."""
    return {}


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch, sessions):
    """Each graph of this package is loaded once for all commands; a session keeps nothing between calls."""
    try:
        import onnxruntime
    except ImportError:
        return
    load = onnxruntime.InferenceSession

    def session(path, options=None, providers=None):
        if options is None or not Path(path).resolve().is_relative_to(MODELS):  # another may come to lie there
            return load(path, options, providers=providers)
        key = path, options.intra_op_num_threads, repr(providers)
        if key not in sessions:
            sessions[key] = load(path, options, providers=providers)
        return sessions[key]

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)

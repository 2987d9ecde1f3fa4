# SPDX-License-Identifier: Apache-2.0
import os
import stat

import pytest

from da3_ros.atomic import replacing, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_parts_become_one_file(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomically(path, b"one ", b"two")
    assert path.read_bytes() == b"one two"
    assert names(path.parent) == ["file"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            assert path.read_text() == "old"
            raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_others_may_read_it_whatever_writes_it(tmp_path):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    path = tmp_path / "weights.safetensors"
    before = os.umask(0o027)
    try:
        with replacing(path) as temporary:
            save_file({"x": torch.zeros(2)}, temporary)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.files.tum import read_tum


def test_poses_in_their_order(tmp_path):
    half = np.sqrt(0.5)
    (tmp_path / "a.tum").write_text(f"# seconds x y z qx qy qz qw\n1.5 1 2 3 0 0 {half} {half}\n\n0.5 0 0 0 0 0 0 2\n")
    (first, a), (second, b) = read_tum(tmp_path / "a.tum")
    assert (first, second) == (1.5, 0.5)
    np.testing.assert_allclose(a, [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(b, np.eye(4), atol=1e-12)


def test_what_the_bag_tool_writes_is_read(tmp_path):
    pytest.importorskip("scipy")
    from da3_ros.bag.motion.trajectory import write_tum

    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = [[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]], [1, -2, 0.25]
    ((seconds, found),) = read_tum(write_tum(tmp_path / "a.tum", [1_500_000_000], [pose]))
    assert seconds == 1.5
    np.testing.assert_allclose(found, pose, atol=1e-7)


@pytest.mark.parametrize("line", ["0 1 2 3 0 0 0", "0 1 2 3 0 0 0 0", "0 a 2 3 0 0 0 1", "0 nan 2 3 0 0 0 1"])
def test_a_line_that_is_no_pose(tmp_path, line):
    (tmp_path / "a.tum").write_text(f"0 0 0 0 0 0 0 1\n{line}\n")
    with pytest.raises(ValueError, match=rf"line 2: '{line}' is no pose; wanted eight numbers: seconds, x"):
        read_tum(tmp_path / "a.tum")

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.estimation import View, ViewSet
from da3_ros.geometry import CameraModel

IMAGE = np.zeros((20, 30, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"image": IMAGE[..., 0]}, "RGB"),
        ({"image": IMAGE.astype(float)}, "uint8"),
        ({"image": IMAGE, "camera": CameraModel.pinhole(31, 20, 10, 10, 5, 5)}, "calibrated for 31x20"),
        ({"image": IMAGE, "pose": np.eye(3)}, "pose"),
        ({"image": IMAGE, "pose": np.full((4, 4), np.nan)}, "finite"),
        ({"image": IMAGE, "pose": np.diag([2.0, 2, 2, 1])}, "orthonormal"),
        ({"image": IMAGE, "pose": np.diag([-1.0, 1, 1, 1])}, "orthonormal"),
    ],
)
def test_bad_views_are_refused_with_their_name(arguments, word):
    with pytest.raises(ValueError, match=word) as caught:
        View(**arguments, name="front")
    assert "front" in str(caught.value)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        ViewSet([])

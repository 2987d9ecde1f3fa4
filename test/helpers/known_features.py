# SPDX-License-Identifier: Apache-2.0
"""Features of a picture are sought once, however many tests show it: that takes longer than most of them do for all
else. What `detect` itself does is tested in test/estimation/pose/test_features.py.
"""

from collections import OrderedDict
from contextlib import contextmanager

import pytest

from da3_ros.estimation.pose.features import detect

MOST = 200
_KNOWN = OrderedDict()


def _detect(image, camera, config):
    key = image.shape, image.tobytes(), camera, config
    found = _KNOWN.get(key)
    if found is None:
        found = detect(image, camera, config)
        for array in (found.pixels, found.descriptors):
            array.flags.writeable = False
        _KNOWN[key] = found
        if len(_KNOWN) > MOST:
            _KNOWN.popitem(last=False)
    return found


@contextmanager
def remembered(*modules):
    """`detect` of some modules finds the features of equal pictures once."""
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "detect", _detect)
        yield

# SPDX-License-Identifier: Apache-2.0
import pytest


@pytest.fixture(scope="module", autouse=True)
def features():
    """Many tests look at the same pictures."""
    from known_features import remembered

    from da3_ros.estimation.pose import matches

    with remembered(matches):
        yield

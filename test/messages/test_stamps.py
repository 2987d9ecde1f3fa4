# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

from da3_ros.messages import split_ns, stamp_to_ns


@given(st.integers(-(10**18), 2 * 10**18))
def test_stamps_round_trip(stamp_ns):
    class Stamp:
        sec, nanosec = split_ns(stamp_ns)

    assert 0 <= Stamp.nanosec < 10**9
    assert stamp_to_ns(Stamp) == stamp_ns

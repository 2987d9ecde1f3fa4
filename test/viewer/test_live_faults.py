# SPDX-License-Identifier: Apache-2.0
"""A viewer that is missing, fails, hangs or goes away: what it costs the node, and what is said."""

from needs import needs

needs("rosbags", "scipy")

import socket
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from bags import PERIOD, START
from shown_node import wait

from da3_ros.messages.kinds import TRANSFORMS
from da3_ros.viewer import live


def test_a_missing_sdk_is_said_once_and_costs_nothing(node, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    n = node()
    n.viewer.begin()
    n.viewer._thread.join(60)
    assert not n.viewer._thread.is_alive()
    ((kind, text),) = n.problems()
    assert kind == live.LASTING
    assert "pip install rerun-sdk" in text
    assert n.send(START) == 0  # nobody wants anything
    n.viewer.begin()


class Sdk:
    """A viewer that fails as told."""

    def __init__(self, monkeypatch, *, fails=None, gate=None):
        self.taken, self.closed, self.fails, self.gate, self.there = [], 0, fails, gate, True
        self.begun = threading.Event()
        self.stalled, self.released = False, threading.Event()
        stream = SimpleNamespace(disconnect=self._disconnect, flush=self._flush)
        monkeypatch.setattr(live, "open_stream", lambda *_: (None, stream))
        monkeypatch.setattr(live, "Viewer", lambda *_, **__: self)
        monkeypatch.setattr(live, "answers", lambda where: self.there)
        monkeypatch.setattr(live, "LOOK_S", 0.02)

    def _disconnect(self):
        self.closed += 1
        if self.stalled:
            assert self.released.wait(60)

    def _flush(self, timeout_sec):
        if self.stalled:
            raise RuntimeError("Flush timed out")

    def take(self, topic, kind, message):
        if self.gate is not None and topic != "/tf_static":
            self.begun.set()
            assert self.gate.wait(60)
        if self.fails is not None and topic != "/tf_static":
            raise self.fails
        self.taken.append(topic)

    def flush(self):
        pass


def test_an_error_of_the_sdk_is_reported_and_what_comes_next_is_shown(node, monkeypatch):
    sdk = Sdk(monkeypatch, fails=RuntimeError("no such archetype"))
    n = node(viewer__rate=100.0)
    n.viewer.begin()
    n.send(START)
    wait(n.problems, "the report")
    sdk.fails = None
    n.send(START + PERIOD)
    wait(lambda: "/da3/points" in sdk.taken, "a message")
    kinds = {kind for kind, _ in n.problems()}
    assert kinds == {live.FAULT}
    assert "is not shown: RuntimeError: no such archetype" in n.problems()[0][1]


class Panic(BaseException):
    """As the SDK's: no Exception."""


def test_a_panic_of_the_sdk_ends_the_viewer_alone(node, monkeypatch):
    sdk = Sdk(monkeypatch, fails=Panic("index out of bounds"))
    n = node()
    n.viewer.begin()
    n.send(START)
    n.viewer._thread.join(60)
    assert [kind for kind, _ in n.problems()] == [live.LASTING]
    assert "Panic: index out of bounds" in n.problems()[0][1]
    assert sdk.closed == 1
    seen = len(n.estimator.sets)  # of the one that it panicked at
    assert n.send(START + 100 * PERIOD) == seen


def test_a_viewer_that_goes_away_costs_one_message_and_may_come_back(node, monkeypatch):
    sdk = Sdk(monkeypatch)
    n = node(viewer__mode="connect", viewer__address="", viewer__rate=100.0)
    n.viewer.heard("/tf_static", TRANSFORMS, SimpleNamespace(transforms=[SimpleNamespace(child_frame_id="eye")]))
    n.viewer.begin()
    n.send(START)
    wait(lambda: "/da3/points" in sdk.taken, "a message")
    sdk.there = False
    wait(n.problems, "the report")
    wait(lambda: not n.viewer.wants(), "the end")
    assert n.send(START + PERIOD) == 1  # not for a viewer that is gone
    time.sleep(0.2)
    assert len(n.problems()) == 1
    sdk.taken.clear()
    sdk.there = True
    wait(n.viewer.wants, "the viewer")
    n.send(START + 2 * PERIOD)
    wait(lambda: "/da3/points" in sdk.taken, "a message")
    assert sdk.taken[0] == "/tf_static"
    assert len(n.problems()) == 1
    assert n.reports[-1] == (live.LASTING, "")


def test_a_slow_viewer_never_makes_the_node_wait(node, monkeypatch):
    gate = threading.Event()
    sdk = Sdk(monkeypatch, gate=gate)
    n = node(viewer__rate=100.0)
    n.viewer.begin()
    n.send(START)
    assert sdk.begun.wait(60)
    for index in range(1, 31):
        n.send(START + index * PERIOD)  # would not return
    assert n.send(START + 31 * PERIOD) == 32
    assert max(len(slot) for slot in n.viewer._slots._waiting.values()) == 2
    gate.set()
    wait(lambda: any(kind == live.SLOW for kind, _ in n.problems()), "the report")
    assert "messages were left out; lower viewer.rate or viewer.size" in n.problems()[0][1]
    assert sdk.taken.count("/da3/points") <= 5  # of 32


def test_the_end_does_not_wait_for_a_viewer_that_hangs(node, monkeypatch):
    gate = threading.Event()
    Sdk(monkeypatch, gate=gate)
    n = node()
    n.viewer.begin()
    n.send(START)
    begin = time.monotonic()
    n.viewer.close(0.1)
    assert time.monotonic() - begin < 30
    assert not n.viewer.wants()
    gate.set()


def test_a_viewer_that_takes_nothing_is_said_and_not_connected_to_again_until_it_does(node, monkeypatch):
    """Frozen, or behind a network that is down: it answers, for the kernel does, and the SDK would wait for ever."""
    sdk = Sdk(monkeypatch)
    n = node(viewer__mode="connect", viewer__address="", viewer__rate=100.0)
    n.viewer.begin()
    n.send(START)
    wait(lambda: "/da3/points" in sdk.taken, "a message")
    sdk.stalled = True
    wait(n.problems, "the report")
    wait(lambda: not n.viewer.wants(), "the end")
    ((kind, text),) = n.problems()
    assert kind == live.LASTING
    assert "the viewer takes nothing any more (Flush timed out): it hangs, or the network to it is down" in text
    time.sleep(0.2)
    assert sdk.closed == 1
    assert not n.viewer.wants()
    sdk.stalled = False
    sdk.released.set()
    wait(n.viewer.wants, "the viewer")
    assert n.reports[-1] == (live.LASTING, "")


def test_a_file_that_is_not_written_any_more_is_said(node, monkeypatch):
    sdk = Sdk(monkeypatch)
    n = node(viewer__rate=100.0)
    n.viewer.begin()
    sdk.stalled = True
    sdk.released.set()
    n.viewer._thread.join(60)
    ((kind, text),) = n.problems()
    assert kind == live.LASTING
    assert "live.rrd is not written any more (Flush timed out): is there space left?" in text
    assert not n.viewer.wants()


def test_nobody_to_connect_to_is_said_and_looked_for(node, monkeypatch):
    pytest.importorskip("rerun")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    n = node(viewer__mode="connect", viewer__address=f"rerun+http://127.0.0.1:{port}/proxy")
    n.viewer.begin()
    wait(n.problems, "the report")
    assert f"nothing is shown: no viewer answers at rerun+http://127.0.0.1:{port}/proxy" in n.problems()[0][1]
    assert n.send(START) == 0

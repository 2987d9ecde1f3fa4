# SPDX-License-Identifier: Apache-2.0
"""The program `multi_cam` from its start to its exit code, in this process; `test/system` has it as a process."""

from needs import needs

needs("rclpy")

import signal

import cv2
import pytest
import rclpy
from fake_estimator import FakeEstimator
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from ros_peer import next_domain

from da3_ros.node import multi_cam
from da3_ros.node.multi_cam import END_S, main


@pytest.fixture
def program(monkeypatch):
    """Runs `main`, whose executor does as it is told; returns its exit code. `called` has what it did besides."""
    called, spin = [], []

    class Told(SingleThreadedExecutor):
        def spin(self):
            called.append("spin")
            for step in spin:
                step(self)

    monkeypatch.setattr(multi_cam, "SingleThreadedExecutor", Told)
    monkeypatch.setattr(
        multi_cam.faulthandler, "dump_traceback_later", lambda *a, **k: called.append(("alarm", *a, *k.items()))
    )
    monkeypatch.setattr(multi_cam, "keep_freed_memory", lambda: called.append("keep"))
    monkeypatch.setattr(multi_cam.os, "_exit", lambda code: called.append(("exit", code)))
    monkeypatch.setenv("ROS_DOMAIN_ID", str(next_domain()))
    handler, threads = signal.getsignal(signal.SIGINT), cv2.getNumThreads()

    def run(*parameters, load=FakeEstimator, steps=()):
        spin[:] = steps
        arguments = [part for parameter in ("cameras:=[left]", *parameters) for part in ("-p", parameter)]
        return main(["--ros-args", *arguments], load)

    run.called = called
    yield run
    rclpy.try_shutdown()
    signal.signal(signal.SIGINT, handler)
    cv2.setNumThreads(threads)


def test_a_whole_life(program):
    cv2.setNumThreads(2)
    assert program() == 0
    # What hangs in the middleware ends all the same, before launch kills it.
    assert program.called == ["keep", "spin", ("alarm", END_S, ("exit", True))]
    assert 5 < END_S < 10
    assert cv2.getNumThreads() == 1
    assert not rclpy.ok()


def test_a_node_that_cannot_be_configured_ends_with_1(program, capfd):
    assert program("sync.policy:=nearest") == 1
    assert "spin" not in program.called
    assert "sync.policy = 'nearest' is refused" in capfd.readouterr().err


def test_a_node_that_cannot_be_activated_ends_with_1(program, capfd):
    assert program("left.image_topic:=no topic") == 1
    assert "spin" not in program.called
    assert "cannot activate" in capfd.readouterr().err


def test_who_interrupts_the_configuration_gets_0(program):
    def load(model, config):
        rclpy.try_shutdown()
        raise RuntimeError("interrupted")

    assert program(load=load) == 0


def test_an_interrupt_while_it_is_configured_ends_it_before_it_spins(program):
    def load(model, config):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler  # it would raise, anywhere
        signal.raise_signal(signal.SIGINT)
        return FakeEstimator(model, config)

    assert program("autostart:=true", load=load) == 0
    assert "spin" not in program.called


def test_a_shutdown_from_outside_is_no_error(program):
    def end(executor):
        raise ExternalShutdownException

    assert program(steps=[end]) == 0


def test_what_fails_while_the_context_ends_is_no_error(program):
    def end(executor):
        rclpy.try_shutdown()
        raise RuntimeError("wait set is invalid")

    assert program(steps=[end]) == 0


def test_what_fails_while_everything_is_up_is_one(program):
    def fail(executor):
        raise KeyError("of ours")

    with pytest.raises(KeyError, match="of ours"):
        program(steps=[fail])


@pytest.mark.parametrize("busy", [False, True])
def test_an_engine_that_does_not_come_back_is_left_behind(program, monkeypatch, busy):
    closed = []

    def close(self, timeout=5.0):
        closed.append(timeout)
        return not busy

    monkeypatch.setattr(multi_cam.MultiCam, "close", close)
    assert program("autostart:=false") == 0
    assert closed == [1.0]
    assert (("exit", 0) in program.called) is busy

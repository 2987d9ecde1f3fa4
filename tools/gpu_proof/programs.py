# SPDX-License-Identifier: Apache-2.0
"""`da3_ros.engines.program` on the driver itself: recorded calls, from several threads, thousands of times."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.cuda import Cuda, CudaError
from da3_ros.engines.engine import EngineError
from da3_ros.engines.program import Program
from gpu_proof.checks import Failure, Journal, demand
from gpu_proof.options import Options
from gpu_proof.probe import Kernel, Probe
from gpu_proof.stand_in import TRT, DataType, Engine

SHAPE, LARGE = (2, 28, 42, 3), (4, 280, 504, 3)
RUNS, WARM_UP, PROGRAMS = 10_000, 500, 200
DEVICE_GROWTH, HOST_GROWTH = 2 << 20, 4 << 20
"""Bytes from which on it is growth. The driver takes device memory in pieces of 2 MiB, so a leak of 210 bytes a run is
seen; the driver's own lists on the host may grow at first, so there it is 420.
"""


class Stage:
    """An engine in TensorRT's place with its workspace, and programs of it."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...] = SHAPE) -> None:
        self.cuda, self.probe = cuda, Probe(cuda)
        self.kernel: Kernel | None = None
        with suppress(CudaError):  # has a check of its own; copies alone prove the rest
            self.kernel = Kernel(cuda)
        self.engine = Engine(self.probe, self.kernel, shape)
        self._workspace = cuda.allocate(self.engine.workspace_bytes)

    def program(self, engine: Engine | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Program:
        """Of its engine, or of another one, which has to have the same size."""
        engine = engine or self.engine
        size = self.engine.workspace_bytes
        shapes = engine.input_shapes() if shapes is None else shapes
        return Program(TRT, self.cuda, engine, 0, shapes, (self._workspace, size), engine.log)

    def close(self) -> None:
        """Give everything back."""
        self.cuda.free(self._workspace)
        if self.kernel:
            self.kernel.free()


@contextmanager
def stage(cuda: Cuda, shape: tuple[int, ...] = SHAPE) -> Iterator[Stage]:
    """A stage that is closed at the end."""
    made = Stage(cuda, shape)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def closing(program: Program) -> Iterator[Program]:
    """A program that is closed at the end."""
    try:
        yield program
    finally:
        program.close()


def compare(engine: Engine, feed: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]], when: str) -> None:
    """Raise Failure unless every output is right to the last bit."""
    expected = engine.expected(feed)
    demand(set(outputs) == set(expected), f"outputs are {sorted(outputs)}, expected {sorted(expected)}")
    for name, wanted in expected.items():
        if not np.array_equal(outputs[name], wanted):
            wrong = int(np.count_nonzero(outputs[name] != wanted))
            raise Failure(f"{when}: {wrong} of {wanted.size} elements of {name} are wrong")


def prove(probe: Probe, options: Options, journal: Journal) -> None:
    """All checks; `options` names the driver for those that open another stream."""
    for name, check in CHECKS.items():
        with journal.check(name) as found, _warnings() as warnings:
            check(probe.cuda, options.driver, found)
            demand(not warnings, f"the program said: {'; '.join(warnings)}")


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What a program warns of: that it could not record, above all."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler, logger = Handler(logging.WARNING), logging.getLogger("da3_ros.engines.program")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def _first_calls(cuda: Cuda, driver: str, found: dict[str, Any]) -> None:
    """The first call one by one, later ones by one launch; at a size like an image set's."""
    generator = np.random.default_rng(10)
    with stage(cuda, LARGE) as place, closing(place.program()) as program:
        seconds = []
        for call in range(10):
            feed = place.engine.feed(generator)
            begin = time.perf_counter()
            outputs = program.run(feed)
            seconds.append(time.perf_counter() - begin)
            compare(place.engine, feed, outputs, f"call {call + 1}")
        demand(place.engine.calls == 2, f"10 calls asked the engine {place.engine.calls} times: nothing was recorded")
        found.update(first_ms=1e3 * seconds[0], later_ms=1e3 * float(np.median(seconds[2:])), kernel=bool(place.kernel))
        found["says"] = f"{found['first_ms']:.2f} ms, then {found['later_ms']:.2f} ms a call" + (
            "" if place.kernel else "; without a kernel, copies alone"
        )


def _refusals(cuda: Cuda, driver: str, found: dict[str, Any]) -> None:
    """Errors in words, and every byte back: at a size at which a single buffer would be missed."""
    with stage(cuda, LARGE) as place:
        engine, probe = place.engine, place.probe
        odd = Engine(probe, place.kernel, LARGE, {"copied": DataType.INT32})
        before = probe.taken()[0]
        _refused(lambda: place.program(shapes={"images": LARGE}), "expected ['images']")
        other = dict.fromkeys(engine.input_shapes(), (1, 28, 42, 3))
        _refused(lambda: place.program(shapes=other), "out of the profile")
        _refused(lambda: place.program(odd), "INT32")
        with closing(place.program()) as program:
            engine.fails = True
            _refused(lambda: program.run(engine.feed(np.random.default_rng(11))), "told to fail")
            engine.fails = False
            feed = engine.feed(np.random.default_rng(12))
            compare(engine, feed, program.run(feed), "after a call that failed")
        grown = probe.taken()[0] - before
        demand(grown < DEVICE_GROWTH, f"{grown} bytes of the device are not given back")


def _refused(call: Callable[[], Any], words: str) -> None:
    try:
        call()
    except EngineError as error:
        # The logger keeps what was said: the words must be among it.
        demand(words in str(error), f"expected {words!r} in: {error}")
    else:
        raise Failure(f"nothing was refused, expected {words!r}")


def _second_thread(cuda: Cuda, driver: str, found: dict[str, Any]) -> None:
    """Made and recorded here, run there, and here again."""
    with stage(cuda) as place, closing(place.program()) as program:
        _run(place.engine, program, 3, 20)

        def there() -> None:
            cuda.use()
            _run(place.engine, program, 100, 21)

        _in_threads([there])
        _run(place.engine, program, 3, 22)
        found["says"] = "100 calls"


def _two_streams(cuda: Cuda, driver: str, found: dict[str, Any]) -> None:
    """Two threads with a stream each, making, recording and running at once."""

    def there(seed: int) -> Callable[[], None]:
        def work() -> None:
            own = Cuda(driver)
            try:
                with stage(own) as place:
                    for repeat in range(5):
                        with closing(place.program()) as program:
                            _run(place.engine, program, 100, seed + repeat)
            finally:
                own.close()

        return work

    _in_threads([there(30), there(40)])
    found["says"] = "2 x 5 programs, 100 calls each"


def _run(engine: Engine, program: Program, calls: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for call in range(calls):
        feed = engine.feed(generator)
        compare(engine, feed, program.run(feed), f"call {call + 1}")


def _in_threads(works: list[Callable[[], None]]) -> None:
    said: list[str] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            said.append(f"in another thread: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    demand(not said, "; ".join(said))


def _endurance(cuda: Cuda, driver: str, found: dict[str, Any]) -> None:
    """One program, every result compared, and memory before and after."""
    generator = np.random.default_rng(50)
    with stage(cuda) as place, closing(place.program()) as program:
        feeds = [place.engine.feed(generator) for _ in range(16)]
        for call in range(WARM_UP):
            program.run(feeds[call % 16])
        before, seconds = place.probe.taken(), 0.0
        for call in range(RUNS):
            feed = feeds[call % 16]
            begin = time.perf_counter()
            outputs = program.run(feed)
            seconds += time.perf_counter() - begin
            compare(place.engine, feed, outputs, f"run {call + 1} of {RUNS}")
        _judge_growth(before, place.probe.taken(), found)
        found["us_per_run"] = 1e6 * seconds / RUNS
        found["says"] = f"{found['us_per_run']:.1f} us a run; {found['says']}"


def _many_programs(cuda: Cuda, driver: str, found: dict[str, Any]) -> None:
    """Made, recorded, run, closed; streams and contexts opened and closed in between."""
    with stage(cuda) as place:

        def one(seed: int) -> None:
            with closing(place.program()) as program:
                _run(place.engine, program, 3, seed)
            if not seed % 4:
                Cuda(driver).close()
                cuda.use()

        for seed in range(20):
            one(seed)
        before = place.probe.taken()
        for seed in range(PROGRAMS):
            one(seed)
        _judge_growth(before, place.probe.taken(), found)


def _judge_growth(before: tuple[int, int], after: tuple[int, int], found: dict[str, Any]) -> None:
    device, host = (late - early for early, late in zip(before, after, strict=True))
    found.update(device_growth=device, host_growth=host)
    demand(
        device < DEVICE_GROWTH,
        f"the device's memory has grown by {device} bytes, allowed are {DEVICE_GROWTH} (does another use the GPU?)",
    )
    demand(host < HOST_GROWTH, f"the host's memory has grown by {host} bytes, allowed are {HOST_GROWTH}")
    found["says"] = f"device {device:+d}, host {host:+d} bytes"


CHECKS: dict[str, Callable[[Cuda, str, dict[str, Any]], None]] = {
    "a program: first calls": _first_calls,
    "a program: what it refuses": _refusals,
    "a program from a second thread": _second_thread,
    "two threads, two streams": _two_streams,
    f"{RUNS} runs": _endurance,
    f"{PROGRAMS} programs, made and closed": _many_programs,
}

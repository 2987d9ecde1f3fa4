# SPDX-License-Identifier: Apache-2.0
"""Part 2: our layer over the CUDA driver, `da3_ros.engines.cuda`, on the driver itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from da3_ros.engines.cuda import Buffer, Cuda, CudaError, Graph
from da3_ros.engines.guard import find_gpu
from gpu_proof import programs
from gpu_proof.checks import Failure, Journal, Missing, demand
from gpu_proof.machine import torch_with_cuda
from gpu_proof.options import Options
from gpu_proof.probe import Event, Kernel, Probe

MEBI = 1 << 20
GRAIN = 2 * MEBI
"""The driver takes memory from the device in such pieces: less than one cannot be seen."""
COPIED = 64 * MEBI
"""Bytes of the copies whose speed is measured."""


def plan(options: Options) -> list[str]:
    """Names of the checks."""
    return [*CHECKS, *programs.CHECKS, LAST]


def prove(options: Options, journal: Journal) -> None:
    """Everything on one context, which PyTorch has opened before where this is no rehearsal."""
    report = find_gpu(options.driver)
    if report.gpu is None:
        journal.missing(plan(options), report.reason)
        return
    torch: Any = None
    reason = "a rehearsal has no context of PyTorch's"
    if not options.rehearsal:
        try:
            torch = torch_with_cuda()
            torch.ones(1 << 20, device="cuda").sum().item()
        except (Missing, Failure, RuntimeError) as error:
            reason = f"no context of PyTorch's: {error}"
    cuda = Cuda(options.driver)
    probe = Probe(cuda)
    for name, check in CHECKS.items():
        with journal.check(name) as found:
            if check is _beside_torch and torch is None:
                raise Missing(reason)
            check(probe, found, torch)
            _round_trip(cuda, np.random.default_rng(1), 4096)  # whatever it did, the stream is as good as before
    programs.prove(probe, options, journal)
    with journal.check(LAST) as found:
        cuda.close()
        cuda.close()  # a second time is nothing
        if torch is not None:
            total = float(torch.arange(1000, device="cuda", dtype=torch.float64).sum())
            demand(total == 499500, f"after ours was closed PyTorch adds 0 to 999 up to {total}")
            found["says"] = "PyTorch goes on"


def _beside_torch(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """One context for both: each reads what the other wrote."""
    cuda = probe.cuda
    ours = probe.current_context()
    tensor = torch.arange(1 << 20, device="cuda", dtype=torch.int32)
    torch.cuda.synchronize()
    demand(probe.current_context() == ours != 0, "PyTorch and the driver layer are on different contexts")
    buffer = Buffer(cuda, tuple(tensor.shape), np.int32)
    try:
        buffer.array[:] = 0
        probe.copy(buffer.device, tensor.data_ptr(), buffer.nbytes)
        buffer.download()
        cuda.synchronize()
        demand(np.array_equal(buffer.array, np.arange(1 << 20)), "the driver layer does not read what PyTorch wrote")
        buffer.array[:] = np.arange(1 << 20)[::-1]
        buffer.upload()
        probe.copy(tensor.data_ptr(), buffer.device, buffer.nbytes)
        cuda.synchronize()
        same = torch.equal(tensor.cpu(), torch.arange((1 << 20) - 1, -1, -1, dtype=torch.int32))
        demand(same, "PyTorch does not read what the driver layer wrote")
    finally:
        buffer.free()
    found["says"] = "one context, and each reads what the other wrote"


def _memory(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """What is taken is gone, and what is given back is there."""
    size = 64 * MEBI
    before, total = probe.memory()
    blocks = [probe.cuda.allocate(size) for _ in range(4)]
    during, _ = probe.memory()
    for block in blocks:
        probe.cuda.free(block)
    after, _ = probe.memory()
    found.update(free_before=before, free_during=during, free_after=after, total=total)
    demand(all(block % 256 == 0 for block in blocks), f"blocks are not aligned to 256 bytes: {blocks}")
    demand(before - during >= 4 * size, f"4 blocks of {size} bytes took {before - during} (does another use the GPU?)")
    demand(abs(after - before) < GRAIN, f"{before} bytes were free before and {after} after")
    found["says"] = f"{before / 2**30:.2f} GiB free of {total / 2**30:.2f}, and again after {4 * size / 2**20:.0f} MiB"


def _pinned(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """There and back, of several types and sizes, an odd number of bytes among them."""
    generator = np.random.default_rng(2)
    for count in (1, 255, 4097, 3 * 4 * 280 * 504):
        _round_trip(probe.cuda, generator, count)
    found["says"] = "1 to 1 693 440 bytes, each one compared"


class _Taken(Protocol):
    def free(self) -> None: ...


def _free(*taken: _Taken) -> None:
    for item in taken:
        item.free()


def _round_trip(cuda: Cuda, generator: np.random.Generator, count: int) -> None:
    buffer = Buffer(cuda, (count,), np.uint8)
    try:
        content = generator.integers(0, 256, count, dtype=np.uint8)
        buffer.array[:] = content
        buffer.upload()
        cuda.synchronize()
        buffer.array[:] = ~content  # what comes back must come from the device
        buffer.download()
        cuda.synchronize()
        wrong = int(np.count_nonzero(buffer.array != content))
        demand(not wrong, f"{wrong} of {count} bytes are not what was uploaded")
    finally:
        buffer.free()


def _events(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """Copies in their order on the stream, between events that say how long they took."""
    cuda = probe.cuda
    first, second = (Buffer(cuda, (COPIED,), np.uint8) for _ in range(2))
    marks = [Event(cuda) for _ in range(4)]
    try:
        content = np.random.default_rng(3).integers(0, 256, first.nbytes, dtype=np.uint8)
        for _ in range(2):  # the second time counts
            first.array[:], second.array[:] = content, 0
            begin = time.perf_counter()
            for mark, queue in zip(
                marks, (first.upload, lambda: probe.copy(second.device, first.device, first.nbytes), second.download,
                        lambda: None), strict=True,
            ):  # fmt: skip
                mark.record()
                queue()
            marks[-1].wait()
            wall = 1e3 * (time.perf_counter() - begin)
        demand(np.array_equal(second.array, content), "what was done before the last event is not there after it")
        times = [later.since(earlier) for earlier, later in pairwise(marks)]
        demand(all(t >= 0 for t in times) and sum(times) <= wall + 1, f"events say {times} ms, the clock {wall} ms")
        gigabytes = [first.nbytes / 1e6 / max(t, 1e-6) for t in times]
        found.update(zip(("upload_gb_s", "within_gb_s", "download_gb_s"), gigabytes, strict=True))
        found["says"] = "{} MiB up, within, down at {:.1f}, {:.0f}, {:.1f} GB/s".format(COPIED // MEBI, *gigabytes)
    finally:
        _free(*marks, first, second)


def _kernel(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """A kernel of our own, compiled by the driver."""
    cuda = probe.cuda
    kernel = Kernel(cuda)
    source, target = (Buffer(cuda, (100_003,), np.float32) for _ in range(2))
    try:
        source.array[:] = np.random.default_rng(4).standard_normal(source.array.shape)
        target.array[:] = np.nan
        source.upload()
        target.upload()
        kernel.launch(target.device, source.device, source.array.size)
        target.download()
        cuda.synchronize()
        expected = source.array * np.float32(0.5) + np.float32(1)
        demand(np.array_equal(target.array, expected), "a kernel's result is not that of the CPU to the last bit")
    finally:
        _free(kernel, source, target)


def _graph(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """Recorded work is not done while it is recorded, and done each time it is launched, on new content."""
    cuda, graphs = probe.cuda, list[Graph]()
    source, target = (Buffer(cuda, (4097,), np.uint8) for _ in range(2))
    generator = np.random.default_rng(5)
    try:
        source.array[:], target.array[:] = 1, 0
        with cuda.capture(graphs):
            source.upload()
            probe.copy(target.device, source.device, source.nbytes)
            target.download()
        cuda.synchronize()
        demand(not target.array.any(), "work was done while it was recorded")
        for launch in range(3):
            source.array[:] = generator.integers(0, 256, source.nbytes)
            target.array[:] = ~source.array
            graphs[0].launch()
            cuda.synchronize()
            demand(np.array_equal(target.array, source.array), f"launch {launch + 1} did not copy the new content")
    finally:
        _free(*graphs, source, target)


def _failing_calls(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """Each is a CudaError that says which call failed, and why in the driver's words."""
    cuda, total = probe.cuda, probe.memory()[1]
    words = [
        _error(lambda: cuda.allocate(2 * total), "cuMemAlloc_v2", "CUDA_ERROR_OUT_OF_MEMORY"),
        _error(lambda: cuda.free(0x10000), "cuMemFree_v2", "CUDA_ERROR_INVALID_VALUE"),
        _error(lambda: Cuda("libno-such-driver.so.1"), "the NVIDIA driver is missing", "libno-such-driver.so.1"),
    ]
    found["says"] = "; ".join(words[:2])


def _failing_recording(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """What cannot be recorded raises, and the stream is usable at once."""
    cuda, graphs = probe.cuda, list[Graph]()

    def record() -> None:
        with cuda.capture(graphs):
            cuda.synchronize()

    found["says"] = _error(record, "cuStreamSynchronize", "CUDA_ERROR_STREAM_CAPTURE")
    demand(not graphs, "a recording that failed was kept")


def _error(call: Callable[[], Any], *words: str) -> str:
    try:
        call()
    except CudaError as error:
        demand(all(word in str(error) for word in words), f"expected {' and '.join(words)} in: {error}")
        return str(error)
    raise Failure(f"{words[0]} was expected to fail, and did not")


def _other_thread(probe: Probe, found: dict[str, Any], torch: Any) -> None:
    """Another thread needs `use`, and may take memory while this one records."""
    cuda, graphs, said = probe.cuda, list[Graph](), list[str]()

    def work() -> None:
        try:
            said.append(_error(lambda: cuda.allocate(MEBI), "cuMemAlloc_v2", "CUDA_ERROR_INVALID_CONTEXT"))
            cuda.use()
            cuda.free(cuda.allocate(MEBI))
            said.append("done")
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")

    buffer = Buffer(cuda, (4096,), np.uint8)
    try:
        with cuda.capture(graphs):
            buffer.upload()
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        demand(said[-1] == "done", f"in the other thread: {said[-1]}")
        graphs[0].launch()
        cuda.synchronize()
    finally:
        _free(*graphs, buffer)
    found["says"] = f"before use(): {said[0]}"


CHECKS: dict[str, Callable[[Probe, dict[str, Any], Any], None]] = {
    "context beside PyTorch's": _beside_torch,
    "device memory, taken and given back": _memory,
    "pinned buffers, there and back": _pinned,
    "events around copies": _events,
    "a kernel of our own": _kernel,
    "a graph, recorded and replayed": _graph,
    "calls that fail": _failing_calls,
    "a recording that fails": _failing_recording,
    "another thread, while this one records": _other_thread,
}
LAST = "everything closed"

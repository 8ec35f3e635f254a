"""Work on a GPU without the host: captured once and replayed, on many streams; on the CPU it is just done."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")

WARM_UPS = 3
"""Calls before a capture, in which libraries choose their kernels: PyTorch's notes on CUDA graphs say 3."""


CAPTURED = -1
"""The number of the stream that is captured; those that it forks into count from 0."""

MOST_STREAMS = 31
"""Streams to fork into, at most: PyTorch has 32, then gives the first again, which may be captured."""


class Graph:
    """A function of tensors that stay where they are, to be repeated.

    The function takes nothing and gives nothing: it reads and changes tensors that live as long as the
    graph. On CUDA, whatever it decides in Python is decided once, and it must not wait for the device.
    """

    def __init__(self, replay: Callable[[], None]) -> None:
        self.replay = replay

    @classmethod
    def capture(
        cls,
        function: Callable[[], None],
        device: torch.device,
        *,
        changes: Sequence[Tensor],
        pool: Any = None,
    ) -> Graph:
        """Capture ``function``; ``changes`` are the tensors that it changes, which are as before afterwards.

        Graphs that are never replayed at the same time may share ``pool``, the memory of what they hold in
        between. On the CPU nothing is captured. Raises `torch.OutOfMemoryError`.
        """
        if device.type != "cuda":
            return cls(function)
        gc.collect()  # a graph of an earlier training that was freed during a capture would end it
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            # warmed up on the very stream that is captured: libraries keep their workspaces by stream
            stream = _stream(device, CAPTURED)
            stream.wait_stream(torch.cuda.current_stream(device))
            # left by this block, whatever happens: a capture that fails to end does not leave its stream
            with torch.cuda.stream(stream):
                warm_up(function, changes)
                torch.cuda.synchronize(device)
                try:
                    # thread_local: what other threads do meanwhile, such as a loader's, is not our business
                    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                        function()
                except RuntimeError as error:
                    if (cause := out_of_memory_behind(error)) is error:
                        raise
                    raise cause from None

        def replay() -> None:
            with torch.cuda.device(device):
                graph.replay()

        return cls(replay)


def warm_up(function: Callable[[], None], changes: Sequence[Tensor]) -> None:
    """Call ``function`` a few times and undo each call's changes."""
    before = [tensor.detach().clone() for tensor in changes]
    for _ in range(WARM_UPS):
        function()
        with torch.no_grad():
            for tensor, value in zip(changes, before, strict=True):
                tensor.detach().copy_(value)


def out_of_memory_behind(error: BaseException) -> BaseException:
    """Find the lack of memory that made a capture fail, which ends in an error of its own.

    Gives ``error`` itself if it was not for memory.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, torch.OutOfMemoryError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return error


class Streams:
    """Streams on which work runs side by side; on the CPU one thing is done after the other."""

    def __init__(self, device: torch.device, number: int) -> None:
        self._device = device
        number = min(number, MOST_STREAMS) if device.type == "cuda" else 0
        self._streams = [_stream(device, i) for i in range(number)]

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Give ``[work(item) for item in items]``, forked from the current stream and joined to it.

        What the items' work reads must live until this returns, and a result may be used right away: the
        current stream waits for it. Where an item's work fails, what was begun is joined all the same.
        """
        if not self._streams:
            return [work(item) for item in items]
        current = torch.cuda.current_stream(self._device)
        for stream in self._streams:
            stream.wait_stream(current)
        results = []
        try:
            for i, item in enumerate(items):
                with torch.cuda.stream(self._streams[i % len(self._streams)]):
                    results.append(work(item))
        finally:
            # a capture can't end with a stream at large: PyTorch's allocator would go on as if capturing
            for stream in self._streams:
                current.wait_stream(stream)
        return results


@cache
def _stream(device: torch.device, number: int) -> torch.cuda.Stream:
    """Give the stream of a number, always the same: libraries keep a workspace for each that they saw."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

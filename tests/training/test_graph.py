"""What stands between the engine and CUDA, as far as it can be had without a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from noiseproof.training.graph import WARM_UPS, Graph, Streams, out_of_memory_behind, warm_up

CPU = torch.device("cpu")


def test_on_the_cpu_a_graph_is_its_function_and_is_not_tried_out() -> None:
    counter = torch.zeros(())

    def count() -> None:
        counter.add_(1)

    graph = Graph.capture(count, CPU, changes=[counter])
    assert counter == 0
    graph.replay()
    graph.replay()
    assert counter == 2


def test_warming_up_undoes_every_call() -> None:
    parameter, position = nn.Parameter(torch.arange(3.0)), torch.tensor(5)
    seen: list[tuple[list[float], int]] = []

    def step() -> None:
        seen.append((parameter.tolist(), int(position)))
        parameter.detach().mul_(float("nan"))
        position.add_(10)

    places = parameter.data_ptr(), position.data_ptr()
    warm_up(step, [parameter, position])
    assert seen == [([0.0, 1.0, 2.0], 5)] * WARM_UPS  # a position must never leave the epoch
    assert parameter.tolist() == [0.0, 1.0, 2.0]
    assert position == 5
    assert (parameter.data_ptr(), position.data_ptr()) == places


def failed_capture(first: Exception) -> RuntimeError:
    """As in a ``with`` block whose exit fails because what was in it did."""
    try:
        try:
            raise first
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
    except RuntimeError as error:
        return error


def test_a_lack_of_memory_is_found_behind_the_capture_that_it_ended() -> None:
    lack = torch.OutOfMemoryError("CUDA out of memory")
    assert out_of_memory_behind(lack) is lack
    assert out_of_memory_behind(failed_capture(lack)) is lack
    other = failed_capture(ValueError("shapes"))
    assert out_of_memory_behind(other) is other


@pytest.mark.parametrize("number", [1, 2, 5])
def test_streams_give_results_in_order(number: int) -> None:
    streams = Streams(CPU, number)
    assert streams.each(lambda item: 10 * item, [3, 1, 2]) == [30, 10, 20]
    assert streams.each(lambda item: item, []) == []

"""What is alive is counted once, and until it is collected."""

import gc

import torch

from helpers.live import PeakBytes, live_bytes

MB = 2**20


def test_a_storage_counts_once_and_until_nothing_holds_it():
    gc.collect()
    before = live_bytes()
    tensor = torch.zeros(MB, dtype=torch.uint8)
    view = tensor[:10]
    assert live_bytes() - before == MB
    del tensor
    assert live_bytes() - before == MB  # the view holds the whole storage
    del view
    assert live_bytes() == before


def test_a_circle_counts_until_it_is_collected():
    gc.collect()
    gc.disable()
    try:
        before = live_bytes()
        circle = [torch.zeros(MB, dtype=torch.uint8)]
        circle.append(circle)
        del circle
        assert live_bytes() - before == MB
        gc.collect()
        assert live_bytes() == before
    finally:
        gc.enable()


def test_parameters_count_and_another_device_does_not():
    gc.collect()
    before = live_bytes(), live_bytes("meta")
    layer = torch.nn.Linear(1024, 256, bias=False)
    ghost = torch.empty(8, device="meta")
    assert live_bytes() - before[0] == layer.weight.nbytes == MB
    assert live_bytes(torch.device("meta")) - before[1] == ghost.nbytes


class Undefined(torch.Tensor):
    """As torch 2.8 leaves behind in a process that has trained."""

    @property
    def device(self):
        raise RuntimeError("tensor does not have a device")


def test_a_tensor_without_a_device_is_passed_over():
    gc.collect()
    before = live_bytes()
    undefined = Undefined()
    assert any(thing is undefined for thing in gc.get_objects())
    assert live_bytes() == before


def test_the_peak_is_the_most_bytes_alive_at_once():
    model = torch.nn.Linear(100, 10, bias=False)  # 4,000 bytes
    with PeakBytes(model) as bytes_alive:
        for _ in range(3):
            gone = torch.zeros(2000)  # 8,000 bytes, one after the other
            del gone
        torch.zeros(500)
        torch.zeros(100).view(10, 10)  # a view takes nothing
    assert bytes_alive.peak == 4_000 + 8_000
    assert sum(bytes_alive.sizes.values()) == 4_000

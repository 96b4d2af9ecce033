"""Rounding as the libraries round: NF4 and double quantization as bitsandbytes, bits as torch."""

import numpy as np
import pytest
import torch
from bitsandbytes import functional as bnb

from helpers.memory import bits_per_parameter
from helpers.widgets.rounding import even_levels, normal_levels, quantize, round_to_bits


@pytest.fixture(scope="module")
def weights() -> torch.Tensor:
    """160 rows of 512, each of another size.

    Where a block goes over the end of a row, bitsandbytes 0.50.2 restores other numbers on a CPU.
    """
    draw = torch.Generator().manual_seed(0)
    return torch.randn(160, 512, generator=draw) * torch.rand(160, 1, generator=draw)


def test_four_normal_bits_are_nf4():
    theirs = bnb.get_4bit_type("nf4", device="cpu").numpy()
    assert np.abs(normal_levels(4) - theirs).max() < 1e-6
    assert even_levels(4).tolist() == pytest.approx([i / 7 for i in range(-7, 8)])


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("block", [64, 128, 512])
def test_nf4_is_off_as_in_bitsandbytes(weights, block, double):
    stored, state = bnb.quantize_4bit(
        weights, blocksize=block, quant_type="nf4", compress_statistics=double
    )
    off = bnb.dequantize_4bit(stored, state) - weights
    ours = quantize(weights.numpy(), block=block, double=double)
    assert ours.error == pytest.approx((off.norm() / weights.norm()).item(), rel=1e-4)
    scales = state.absmax.nbytes + (state.state2.absmax.nbytes if double else 0)
    assert ours.bits == pytest.approx(8 * (stored.nbytes + scales) / weights.numel())
    if block == 64:
        way = "nf4-double" if double else "nf4"
        assert ours.bits == pytest.approx(bits_per_parameter(way), abs=1e-9)


@pytest.mark.parametrize("levels", ["normal", "even"])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_every_weight_goes_to_the_nearest_level(weights, bits, levels):
    ours = quantize(weights.numpy(), bits=bits, block=100, levels=levels)
    far = np.abs(ours.scaled[:, None] - ours.levels.astype(np.float32))
    wanted = np.bincount(far.argmin(1), minlength=len(ours.levels))
    assert np.abs(ours.used - wanted).sum() <= 4  # in the middle, a rounded last bit decides
    assert np.abs(ours.scaled).max() == 1 and ours.used.sum() == weights.numel()
    assert 0 < ours.entropy <= bits


def test_zeros_and_a_block_that_is_not_full_come_back():
    assert quantize(np.zeros(7), block=4).error == 0
    assert quantize(np.array([0.0, -2.0, 1.0, 1.0, 5.0]), block=4, levels="even").error < 0.05


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bits": 1}, "bits must be a whole number from 2 to 8"),
        ({"bits": 2.5}, "bits must be"),
        ({"block": 0}, "block must be"),
        ({"levels": "odd"}, "levels must be one of normal, even, got 'odd'"),
        ({"weights": np.zeros(0)}, "at least one weight"),
    ],
)
def test_unfit_arguments_are_named(changed, words):
    with pytest.raises(ValueError, match=words):
        quantize(**{"weights": np.ones(8)} | changed)


def test_eight_bits_are_bfloat16_and_eleven_are_float16():
    numbers = torch.randn(9999, generator=torch.Generator().manual_seed(1))
    numbers = torch.cat([numbers, torch.tensor([0.0, -1.0, 1 + 2**-8, 1 + 3 * 2**-8])])  # ties
    assert torch.equal(round_to_bits(numbers, 8), numbers.bfloat16().float())
    assert torch.equal(round_to_bits(numbers, 11)[numbers.abs() > 1e-4],
                       numbers.half().float()[numbers.abs() > 1e-4])  # fmt: skip
    assert torch.equal(round_to_bits(numbers, 24), numbers)
    with pytest.raises(ValueError, match="bits must be a whole number from 2 to 24, got 25"):
        round_to_bits(numbers, 25)
    with pytest.raises(TypeError, match="numbers must be float32"):
        round_to_bits(numbers.double(), 8)

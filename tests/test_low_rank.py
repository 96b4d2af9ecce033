"""The bench's training is LoRA's: PEFT's layer, trained by torch, gives the same numbers."""

import base64
import dataclasses
import io

import numpy as np
import pytest
import torch
from ipywidgets import SelectionSlider
from matplotlib.image import imread
from peft import LoraConfig
from peft.tuners.lora import Linear as PeftLinear
from torch import nn

from helpers import plots
from helpers.low_rank import D_IN, D_OUT, SCALINGS, STARTS, Setting, fit, initial, layer
from helpers.widgets import lora_bench

SMALL = Setting(rank=3, alpha=6, learning_rate=0.05, steps=40, hidden_rank=5, noise=0.1)


def peft_losses(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """The losses, and the layer's change, of PEFT's layer that starts alike, trained by torch."""
    weights, target = layer(setting.hidden_rank, setting.noise, setting.seed)
    base = nn.Linear(D_IN, D_OUT, bias=False)
    base.weight.data = torch.tensor(weights, dtype=torch.float32)  # PEFT's PiSSA takes no other
    config = LoraConfig(
        r=setting.rank,
        lora_alpha=setting.alpha,
        use_rslora=setting.scaling == "α/√r",
        init_lora_weights="pissa" if setting.start == "PiSSA" else True,
    )
    peft = PeftLinear(base, "default", config, r=setting.rank, lora_alpha=setting.alpha).double()
    pair = [peft.lora_A["default"].weight, peft.lora_B["default"].weight]
    if setting.start != "PiSSA":
        base.weight.data = torch.tensor(weights)
        for weight, value in zip(pair, initial(setting), strict=True):
            weight.data = torch.tensor(value)
    x = torch.eye(D_IN, dtype=torch.float64)
    wanted = x @ torch.tensor(weights + target).T
    optimizer, losses = torch.optim.Adam(pair, lr=setting.learning_rate), []
    for step in range(setting.steps + 1):
        loss = nn.functional.mse_loss(peft(x), wanted)
        losses.append(loss.item())
        if step < setting.steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    peft.merge()
    return np.array(losses), peft.base_layer.weight.detach().numpy() - weights


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("start", STARTS)
def test_the_training_is_that_of_peft_and_torch(start, scaling):
    """PEFT finds PiSSA's directions in float32."""
    setting = dataclasses.replace(SMALL, start=start, scaling=scaling)
    losses, change = peft_losses(setting)
    ours = fit(setting)
    close = {"rtol": 1e-3, "atol": 1e-4} if start == "PiSSA" else {"rtol": 1e-7, "atol": 1e-10}
    np.testing.assert_allclose(ours.losses, losses, **close)
    np.testing.assert_allclose(ours.updates[setting.steps], change, **close | {"atol": 1e-3})


@pytest.mark.parametrize("start", ["B = 0", "PiSSA"])
@pytest.mark.parametrize(("rank", "noise"), [(1, 0.0), (4, 0.3), (6, 0.0)])
def test_no_training_gets_below_the_floor_and_a_long_one_reaches_it(rank, noise, start):
    setting = Setting(rank=rank, noise=noise, start=start, steps=600, learning_rate=0.05)
    result = fit(setting)
    assert result.losses[-1] >= result.floor - 1e-12
    assert result.losses[-1] == pytest.approx(result.floor, rel=0.02, abs=1e-3)


def test_the_floor_is_the_energy_beyond_the_rank_and_the_target_is_of_its_hidden_rank():
    strengths = fit(dataclasses.replace(SMALL, noise=0.0)).strengths[0]
    assert np.linalg.matrix_rank(np.diag(strengths)) == 5
    result = fit(SMALL)
    strengths = result.strengths[0]
    assert result.floor == pytest.approx(np.sum(strengths[3:] ** 2) / np.sum(strengths**2))
    assert np.mean(result.target**2) == pytest.approx(1) == result.losses[0]
    zero = fit(dataclasses.replace(SMALL, start="both zero"))
    assert zero.gradients == (0, 0) and set(zero.losses) == {zero.losses[0]}
    assert fit(SMALL).gradients[0] == 0 < fit(SMALL).gradients[1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("rank", 0), ("rank", 65), ("steps", 1001), ("alpha", 0), ("noise", 1.1), ("start", "zero")],
)
def test_a_setting_that_cannot_be_names_what_can(field, value):
    with pytest.raises(ValueError, match=f"{field} must be"):
        dataclasses.replace(SMALL, **{field: value})


def test_each_move_trains_anew_and_says_what_happened():
    bench = lora_bench()
    for control, value, words in [
        (bench.rank, 2, "2 more directions"),
        (bench.rank, 5, "It has found the target"),
        (bench.learning_rate, 0.001, "still on its way"),
        (bench.noise, 20, "still on its way"),
        (bench.learning_rate, 0.1, "What is left is noise"),
        (bench.start, "both zero", "Nothing moves"),
        (bench.start, "PiSSA", "so its floor is another one"),
        (bench.scaling, "α/√r", "α/√r = 3.58"),
        (bench.start, "B = 0", "floor"),
        (bench.learning_rate, 1, "The first steps overshoot"),
        (bench.steps, 10, "It diverges"),
        (bench.alpha, 1e300, "It diverges"),
    ]:
        before = bench.shown
        control.value = value
        assert words in bench.shown and bench.shown != before, words
        assert bench.setting == bench.fit.setting
        plots.fit_svg(bench.fit)


def test_what_is_typed_and_cannot_be_is_explained_and_the_picture_stays():
    bench = lora_bench(SMALL)
    assert bench.setting == SMALL
    picture = bench._result.value
    for control, text, words in [
        (bench.rank, "70", "rank r must be a whole number of at least 1 and at most 64"),
        (bench.noise, "-1", "noise, % must be a number of at least 0 and at most 100"),
        (bench.learning_rate, "0", "learning rate must be a number above 0"),
    ]:
        kept, control.field.value = control.field.value, text
        assert words in bench.problem and 'role="alert"' in bench.shown
        assert bench._result.value == picture
        control.field.value = kept
        assert not bench.problem
    bench.noise.field.value = "0"  # the least is a number too
    assert not bench.problem and isinstance(bench.noise.slider, SelectionSlider)


def test_seen_without_a_kernel_there_is_a_picture_in_two_forms():
    data = lora_bench(SMALL)._repr_mimebundle_()
    pixels = imread(io.BytesIO(base64.b64decode(data["image/png"])))
    assert f'viewBox="0 0 {pixels.shape[1] // 2} {pixels.shape[0] // 2}"' in data["image/svg+xml"]
    assert pixels.std() > 0.05 and "floor at rank 3: " in data["text/plain"]


def test_directions_that_the_target_lacks_are_not_counted_as_reached():
    text = plots.fit_text(fit(Setting(hidden_rank=4, noise=0.0, rank=4)))
    assert text.endswith(
        "Of 4 directions of the target, the update has at least half the strength in 4."
    )
    text = plots.fit_text(fit(Setting(hidden_rank=4, noise=0.0, rank=2)))
    assert text.endswith("in 2.")

"""The lessons' knobs without a browser: what a move shows, and what cannot be moved to."""

import io
import re
from xml.etree import ElementTree

import pytest
import torch
from ipywidgets import Checkbox
from matplotlib.font_manager import findfont
from matplotlib.image import imread
from peft import LoraConfig
from PIL import ImageFont

from helpers import _language
from helpers.memory import estimate_training_memory
from helpers.plots.knobs import interval
from helpers.widgets import (
    MergedAt,
    landscape_explorer,
    merge_explorer,
    merge_rounded,
    mix_explorer,
    quantization_explorer,
    sharding_explorer,
    switch_explorer,
)
from helpers.widgets.rounding import quantize, round_to_bits

WEIGHTS = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
UPDATE = 0.01 * torch.randn(64, 96, generator=torch.Generator().manual_seed(1))
LORA = LoraConfig(
    r=8, lora_alpha=8, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM"
)
SPEED = dict(
    zip(
        ["float32", "half precision", "no checkpointing", "no dropout", "packing", "attention",
         "labels only"],
        [90.0, 100, 120, 150, 149, 160, 250], strict=True,
    )
)  # fmt: skip


def sweep(label="weight, %"):
    def score(answers):
        return {"voice": (answers.count("arr"), 2), "fields": (answers.count("{}"), 2)}

    answers = {
        "cat": {50: ["{}", "{}"], 60: ["arr", "{}"], 70: ["arr", "arr"]},
        "linear": {50: ["{}", "<b>"], 60: ["{}", "{}"], 70: ["arr", "{}"]},
    }
    return mix_explorer(answers, ["who?", "when?"], score, label=label)


def merged():
    fine = MergedAt(0.03, ["two", "yes"], 2)
    measured = {
        "rounded once": {8: fine, 24: MergedAt(1e-5, ["two", "yes"], 2)},
        "base rounded before, too": {3: MergedAt(2.0, ["one", "no"], 0), 8: fine},
    }
    return merge_explorer(WEIGHTS, UPDATE, measured, ["a?", "b?"])


KNOBS = {
    "quantization": lambda: quantization_explorer(WEIGHTS, name="a matrix"),
    "mix": sweep,
    "merge": merged,
    "switches": lambda: switch_explorer("SmolLM2-135M-Instruct", LORA, SPEED),
}


@pytest.mark.parametrize("name", KNOBS)
def test_a_cell_shows_words_svg_and_png_and_the_picture_says_what_is_in_it(name):
    knob = KNOBS[name]()
    shown = knob._repr_mimebundle_()
    assert shown["text/plain"] == str(knob) and knob.problem == ""
    svg = ElementTree.fromstring(shown["image/svg+xml"])
    assert svg.get("role") == "img" and len(svg.get("aria-label")) > 40
    width, height = (int(n) for n in svg.get("viewBox").split()[2:])
    assert imread(io.BytesIO(shown["image/png"])).shape[:2] == (2 * height, 2 * width)
    assert 'role="status"' in knob.shown


def named(widget):
    """The controls that have a name beside them."""
    if getattr(widget, "description", "") and hasattr(widget.style, "description_width"):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from named(child)


@pytest.mark.parametrize("language", ["en", "ro"])
@pytest.mark.parametrize("name", [*KNOBS, "sharding", "landscape"])
def test_every_name_has_room_beside_its_control(name, language, monkeypatch):
    monkeypatch.setenv(_language.CHOICE, language)
    others = {"sharding": sharding_explorer, "landscape": landscape_explorer}
    others["mix"] = lambda: sweep("pirate's weight, %")  # as in lesson 4
    letters = ImageFont.truetype(findfont("DejaVu Sans"), 13)  # Jupyter's size; a wide font
    controls = list(named((KNOBS | others)[name]().view))
    for control in controls:
        room = pixels(control.style.description_width)
        if isinstance(control, Checkbox):  # its name stands on the other side
            room = pixels(control.layout.width) - room - 28
        assert letters.getlength(control.description) <= room, control.description
    assert len(controls) >= 2


def pixels(width):
    return 13 * float(width.removesuffix("em") or 0)


# --- bits, blocks ------------------------------------------------------------------------------


def test_every_control_quantizes_anew_and_what_was_tried_stays():
    knob = KNOBS["quantization"]()
    knob.bits.value, knob.block.value = 3, 100  # typed: no stop of the slider
    knob.levels.value, knob.double.value = "even", True
    wanted = quantize(WEIGHTS.numpy(), bits=3, block=100, levels="even", double=True)
    assert (knob.result.error, knob.result.bits) == (wanted.error, wanted.bits)
    assert f"{wanted.bits:.3f} bits a weight" in knob.shown and f"{wanted.error:.1%}" in knob.shown
    assert knob.bits.slider.value == 3 and knob.block.slider.value == 128
    assert len(knob.tried) == 5 and knob.picture().count('opacity="0.4"') == 5
    knob.bits.slider.value = 8
    assert knob.bits.field.value == "8" and knob.result.level_bits == 8


@pytest.mark.parametrize("typed", ["9", "1", "4.5", "four", "", "²"])
def test_what_is_no_number_of_bits_is_explained_and_kept(typed):
    knob = KNOBS["quantization"]()
    before = knob.result
    knob.bits.field.value = typed
    assert "bits a level must be a whole number from 2 to 8" in knob.problem
    assert 'role="alert"' in knob.shown and "opacity:0.3" in knob.shown
    assert knob.bits.field.value == typed and knob.result is before
    knob.bits.slider.value = 5  # a way out
    assert knob.problem == "" and knob.result.level_bits == 5


def test_weights_that_cannot_be_quantized_are_refused():
    with pytest.raises(ValueError, match="weights must be a tensor of finite numbers"):
        quantization_explorer(torch.tensor([1.0, float("nan")]))


# --- a mix -------------------------------------------------------------------------------------


def test_the_weight_of_a_mix_shows_its_answers_and_counts():
    knob = sweep()
    assert knob.counts["cat"] == {
        "voice": [(0, 2), (1, 2), (2, 2)],
        "fields": [(2, 2), (1, 2), (0, 2)],
    }
    knob.weight.slider.value = 60
    assert "voice: 1 of 2" in knob.shown and "<td" in knob.details() and "arr" in knob.details()
    knob.way.value, knob.weight.value = "linear", 50
    assert "linear, weight, %: 50" in str(knob) and "&lt;b&gt;" in knob.shown
    assert "cat, voice: 0 of 2, 1 of 2, 2 of 2" in knob.picture()


def test_a_weight_between_two_stops_is_not_made_up():
    knob = sweep()
    knob.weight.field.value = "55"
    assert "one of 50, 60, 70: there are no results between them" in knob.problem


def test_answers_must_be_whole():
    with pytest.raises(ValueError, match="answers must be at the same two or more weights"):
        mix_explorer({"cat": {50: [], 60: []}, "linear": {50: []}}, [], dict)
    with pytest.raises(ValueError, match="one for each of 2 prompts"):
        mix_explorer({"cat": {50: ["a"], 60: ["b"]}}, ["a?", "b?"], dict)


def test_the_interval_is_wilsons():
    """Newcombe 1998, table I: 81 of 263, and 0 of 20."""
    assert interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


# --- a merge -----------------------------------------------------------------------------------


def test_the_layer_is_rounded_at_any_bits_and_the_model_shown_where_it_was_measured():
    knob = merged()
    moved = (WEIGHTS + UPDATE).bfloat16().float() - WEIGHTS
    share = (moved * UPDATE).sum() / UPDATE.square().sum()
    assert knob.arrived["rounded once"][8] == pytest.approx(share.item(), rel=1e-5)
    assert "8 bits (bfloat16)" in knob.shown and "the model: logits 0.03 away, 2 of 2" in knob.shown
    knob.way.value, knob.bits.slider.value = "base rounded before, too", 4
    assert "not measured here; at 3 bits: logits 2 away, 0 of 2" in knob.shown
    assert "answer at 3 bits" in knob.details() and "one" in knob.details()
    for bits in range(2, 25):  # no picture fails, however coarse the numbers are
        knob.bits.value = bits
        ElementTree.fromstring(knob.picture())


def test_an_update_falls_between_the_numbers_of_a_base_that_is_rounded_already():
    once, twice = merged().arrived.values()
    assert all(0.9 < once[bits] < 1.1 for bits in range(4, 25))
    assert twice[3] < 0.3 and twice[24] == pytest.approx(1, abs=1e-4)
    assert torch.equal(
        merge_rounded(WEIGHTS, 0 * UPDATE, 3, "base rounded before, too"), round_to_bits(WEIGHTS, 3)
    )


def test_a_merge_needs_both_ways_and_an_answer_for_each_question():
    row = {8: MergedAt(0.1, ["a"], 1)}
    both = {"rounded once": row, "base rounded before, too": row}
    with pytest.raises(ValueError, match="answers must be 2, one a question"):
        merge_explorer(WEIGHTS, UPDATE, both, ["a?", "b?"])
    with pytest.raises(ValueError, match="measured must be given for both of"):
        merge_explorer(WEIGHTS, UPDATE, {"rounded once": row}, ["a?"])
    with pytest.raises(ValueError, match="update must be"):
        merge_explorer(WEIGHTS, UPDATE[:3], both, ["a?"])
    with pytest.raises(ValueError, match="way must be one of"):
        merge_rounded(WEIGHTS, UPDATE, 8, "never")


# --- switches ----------------------------------------------------------------------------------


def test_switches_move_the_prediction_and_mark_what_was_measured():
    knob = KNOBS["switches"]()
    step = {"batch_size": 4, "sequence_length": 512, "loss": "chunked"}
    knob.how_many.slider.value = 2
    assert [box.value for box in knob.switches.values()] == [True, True] + 4 * [False]
    wanted = estimate_training_memory("SmolLM2-135M-Instruct", LORA, precision="bf16", **step)
    assert knob.memory["chosen"] == wanted and knob.marked == "no checkpointing"
    assert "measured: 120 tokens/s, 1.33 times the first" in str(knob)
    knob.switches["no dropout"].value = True
    assert knob.marked == "no dropout" and knob.memory["chosen"].total < wanted.total
    knob.switches["half precision"].value = False
    assert knob.marked is None and "not measured so" in str(knob)
    knob.by_hand.value, knob.tokens.value = True, 100
    assert knob.memory["chosen"].parts["logits"] > 0 and "4 × 100 tokens" in knob.picture()


def test_a_field_that_holds_no_number_keeps_the_picture_of_the_last_one():
    knob = KNOBS["switches"]()
    before = knob.picture()
    knob.rows.field.value = "0"
    assert "rows must be" in knob.problem and 'role="alert"' in knob.shown
    assert knob.picture() == before and knob._stored()


def test_speeds_must_be_those_of_the_switches():
    with pytest.raises(ValueError, match="measured must be speeds above 0: a start, then"):
        switch_explorer("SmolLM2-135M-Instruct", LORA, {"float32": 90.0})


def test_a_slider_tells_screen_readers_the_name_of_its_field():
    shown = KNOBS["quantization"]()
    html = shown.bits.view.children[1].children[1].value
    assert re.search("bits a level", html)

"""A guess before the answer: set by slider or typed, shown beside the answer, never in the way."""

import pytest

from helpers._language import CHOICE, tr
from helpers.expectations import STRICT
from helpers.widgets import Guesses, guess
from helpers.widgets.guess import NOT_SET, Question


@pytest.fixture
def shown(monkeypatch):
    """What the cells were asked to display."""
    outputs = []
    monkeypatch.setattr(guess, "display", lambda data, raw: outputs.append(data))
    return outputs


def field_and_slider(guesses: Guesses, key: str):
    return guesses._asked[key]._inputs[1:]


def test_a_number_slid_or_typed_is_one_guess_and_stands_beside_the_answer(shown):
    guesses = Guesses()
    guesses.ask("half", "Half lies in", unit="directions", low=1, high=576, log=True)
    field, slider = field_and_slider(guesses, "half")
    assert guesses.values == {"half": None} and slider.value == NOT_SET
    slider.value = slider.options[-1][1]
    assert field.value == "576" and guesses.values == {"half": 576}
    field.value = "60"
    assert guesses.values == {"half": 60} and 57 < slider.value < 63  # typed, it is kept as typed
    guesses.answer("half", 6)
    words = "Half lies in: 6 directions. Your guess: 60 directions, 10 times too high."
    assert shown[-1]["text/plain"] == words
    assert "your guess 60 directions" in shown[-1]["text/html"]
    assert field.disabled and slider.disabled  # settled


def test_what_is_no_guess_is_said_in_place_and_counts_as_none(shown):
    guesses = Guesses()
    guesses.ask("kept", "Kept", unit="%")
    field, _ = field_and_slider(guesses, "kept")
    for text in ("many", "101", "-1", "nan"):
        field.value = text
        assert guesses.values == {"kept": None}
        assert "a number, 0 to 100 %" in guesses._asked["kept"]._message.value
    field.value = "40 %"
    assert guesses.values == {"kept": 40} and not guesses._asked["kept"]._message.value
    field.value = ""
    assert guesses.values == {"kept": None} and not guesses._asked["kept"]._message.value


def test_a_guess_is_taken_back_in_any_language(shown, monkeypatch):
    monkeypatch.setenv(CHOICE, "ro")
    guesses = Guesses()
    guesses.ask("kept", "Kept", unit="%")
    field, slider = field_and_slider(guesses, "kept")
    assert slider.label == tr(NOT_SET) != NOT_SET
    field.value = "40"
    field.value = ""
    assert slider.label == tr(NOT_SET) and guesses.values == {"kept": None}


def test_without_a_guess_the_answer_stands_alone_and_the_text_is_always_the_same(shown):
    guesses = Guesses()
    guesses.ask("kept", "Kept", unit="%")
    guesses.ask("zero", "Zero is", options=["A", "B"])
    guesses.answer("kept", 61.7)
    guesses.answer("zero", "A")
    guesses.recap()
    assert shown[-1]["text/plain"] == "Kept: 62 %.\nZero is: A."
    assert "guess" not in shown[-2]["text/plain"] and "no guess" in shown[-1]["text/html"]


def test_one_of_several_is_right_or_not_and_a_recap_shows_all(shown):
    guesses = Guesses()
    for key in ("one", "two", "three"):
        guesses.ask(key, f"Case <{key}>", options=["A", "B"])
    field_and_slider(guesses, "one")[0].value = "A"
    field_and_slider(guesses, "two")[0].value = "B"
    guesses.answer("one", "A")
    guesses.answer("two", "A")
    guesses.recap()
    assert shown[-1]["text/plain"].splitlines() == [
        "Case <one>: A. Your guess: A, just so.",
        "Case <two>: A. Your guess: B, not so.",
        "Case <three>: not answered yet (your guess: no guess).",
    ]
    assert "Case &lt;one&gt;" in shown[-1]["text/html"]
    guesses.ask("one", "Case", options=["A", "B"])
    assert guesses.values["one"] is None  # asked again, it begins anew


def test_how_far_off_is_told_in_points_in_units_or_as_a_factor():
    share, count = Question("", unit="%"), Question("", unit="tensors", high=272)
    factor = Question("", low=0.5, high=64, log=True, digits=1)
    assert share.off(40, 62) == "22 points too low"
    assert count.off(272, 270) == "2 too high"
    assert factor.off(2, 16) == "8 times too low"
    assert factor.off(16, 16) == "just so"
    assert factor.stops()[0] == 0.5 and factor.stops()[-1] == 64


def test_an_answer_to_what_was_not_asked_is_kind_to_a_learner_and_an_error_in_a_test(
    monkeypatch, capsys
):
    monkeypatch.setenv(STRICT, "0")
    Guesses().answer("kept", 62)
    assert "kept: 62 (the cell that asks for a guess was not run)" in capsys.readouterr().out
    monkeypatch.setenv(STRICT, "1")
    with pytest.raises(ValueError, match="key must be one of"):
        Guesses().answer("kept", 62)


def test_what_cannot_be_asked_is_refused(shown):
    guesses = Guesses()
    for wrong in ({"low": 5, "high": 5}, {"low": 0, "log": True}, {"options": ["A"]}):
        with pytest.raises(ValueError, match="must be"):
            guesses.ask("key", "words", **wrong)
    guesses.ask("key", "words", options=["A", "B"])
    with pytest.raises(ValueError, match="value must be one of"):
        guesses.answer("key", "C")

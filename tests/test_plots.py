"""Every figure is a picture with a text alternative, whatever it is given to show."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from helpers import plots


@pytest.fixture
def shown(monkeypatch):
    """What the notebook was asked to display: (data, metadata) of each output."""
    outputs = []

    def record(data, metadata, raw):
        assert raw
        outputs.append((data, metadata))

    monkeypatch.setattr(plots, "display", record)
    return outputs


FIGURES = {
    "bars": lambda alt: plots.bars({"a": 3.0, "b": 0.0}, title="t", xlabel="x", alt=alt),
    "one bar": lambda alt: plots.bars({"a": 3.0}, title="t", xlabel="x", alt=alt, log=True),
    "shares": lambda alt: plots.bars(
        {"a": 0.0, "b": 1.0}, title="t", xlabel="x", alt=alt, percent=True
    ),
    "lines": lambda alt: plots.lines(
        {"one": ([1, 2, 4], [0.1, 0.2, 0.3]), "two": (range(100), np.ones(100))},
        title="t", xlabel="x", ylabel="y", alt=alt, percent=True, reference={"limit": 0.5},
    ),
    "one point, logarithmic": lambda alt: plots.lines(
        {"one": ([8], [0.1])}, title="t", xlabel="x", ylabel="y", alt=alt, logx=True, logy=True
    ),
    "more lines than colours": lambda alt: plots.lines(
        {str(i): ([0, 1], [i, i + 1]) for i in range(9)}, title="t", xlabel="x", ylabel="y", alt=alt
    ),
    "matrices, one of zeros": lambda alt: plots.matrices(
        {"W": np.eye(3), "0": np.zeros((2, 9)), "tall": np.ones((24, 1))}, title="t", alt=alt
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_picture_with_its_text_alternative(name, shown):
    FIGURES[name]("what it shows")
    [(data, metadata)] = shown
    assert data["text/plain"] == metadata["image/png"]["alt"] == "what it shows"
    picture = imread(io.BytesIO(data["image/png"]))
    assert picture.shape[1] > metadata["image/png"]["width"]  # sharp on a high-resolution screen
    assert len(np.unique(picture)) > 10  # something is drawn


def test_tokens_are_told_apart_without_colour_and_cannot_break_the_page():
    html = plots.masked_tokens(["<b>", "&", "end\n"], [False, True, True]).data
    assert "<b>" not in html.replace("<b><u>", "")
    assert "&lt;b&gt;" in html and "&amp;" in html and "end⏎" in html
    assert html.count("font-weight:bold") == 2


def test_every_token_needs_its_flag():
    with pytest.raises(ValueError, match="trained: 1 flags for 2 tokens; must be equal"):
        plots.masked_tokens(["a", "b"], [True])

"""Every figure is a picture with a text alternative, whatever it is given to show."""

import base64
import io
import itertools
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from helpers import plots
from helpers._devices import HEADROOM, usable
from helpers.plots import charts, pictures, style
from helpers.plots import svg as svg_text
from helpers.plots.runs import LEVELS
from helpers.plots.scheme import FROZEN, PLAIN, TRAINED


@pytest.fixture
def shown(monkeypatch):
    """What the notebook was asked to display: (data, metadata) of each output."""
    outputs = []

    def record(data, raw, metadata=None):
        assert raw
        outputs.append((data, metadata))

    for module in (style, svg_text):
        monkeypatch.setattr(module, "display", record)
    return outputs


FIGURES = {
    "bars": lambda alt: plots.bars({"a": 3.0, "b": 0.0}, title="t", xlabel="x", alt=alt),
    "one bar": lambda alt: plots.bars({"a": 3.0}, title="t", xlabel="x", alt=alt, log=True),
    "pairs": lambda alt: plots.pairs(
        {name: {"one": 3.0, "two": 0.0} for name in "ab"}, title="t", xlabel="x", alt=alt
    ),
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
    "panels": lambda alt: plots.panels(
        {name: {"one": ([1, 2], [0.0, 1.0]), "two": ([1, 2], [1.0, 0.5])} for name in "ab"},
        title="t", xlabel="x", alt=alt,
    ),
    "codebooks": lambda alt: plots.codebooks(
        np.linspace(-1, 1, 99), {"one": [-1, 0, 1], "two": [0.5]}, title="t", xlabel="x", alt=alt
    ),
    "merge stages": lambda alt: plots.merge_stages(
        {
            name: {
                stage: {"distance": distance, "in style": 1.0, "facts right": 0.0}
                for stage, distance in (("beside", 0.0), ("merged", 0.1), ("loaded", 9.0))
            }
            for name in ("float32", "NF4, dequantized")
        },
        of=10,
        alt=alt,
    ),
    "grid": lambda alt: plots.grid(
        {"one": {"a": 1.0, "b": None}, "two": {"b": 1000.0}},
        title="t", xlabel="x", ylabel="y", alt=alt, log=True, marked=("two", "b"),
    ),
    "grid of one": lambda alt: plots.grid(
        {"one": {"a": 0.0}}, title="t", xlabel="x", ylabel="y", alt=alt, small_is_dark=True
    ),
    "grid of many": lambda alt: plots.grid(
        {row: {str(i): float(i) for i in range(30)} for row in "ab"},
        title="t", xlabel="x", ylabel="y", alt=alt, label=None,
    ),
    "token probabilities": lambda alt: plots.token_probabilities(
        ["Ah", "oy", "\n"], [0.0, 0.5, 0.9], [1.0, 0.5, 0.2], title="t", alt=alt
    ),
    "intervals": lambda alt: plots.intervals(
        {"one": {1: (0.5, 0.4, 0.6), 2: (math.inf, -math.inf, math.inf)}, "two": {4: (0.1, -1, 1)}},
        title="t", xlabel="x", ylabel="y", alt=alt, logx=True, logy=True,
    ),
    "bars with a reference": lambda alt: plots.bars(
        {"a": 3.0, "b": 9e4}, title="t", xlabel="x", alt=alt, reference={"10,000": 1e4}
    ),
    "more lines than colours": lambda alt: plots.lines(
        {str(i): ([0, 1], [i, i + 1]) for i in range(9)}, title="t", xlabel="x", ylabel="y", alt=alt
    ),
    "timeline": lambda alt: plots.timeline(
        {"weights": [2**20] * 9, "activations": [i * 2**18 for i in (0, 1, 2, 3, 4, 3, 2, 1, 0)]},
        phases={"forward": 0, "backward": 5}, title="t", alt=alt,
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


def test_a_grid_without_a_number_is_refused():
    with pytest.raises(ValueError, match=r"values=.*None.* holds no number"):
        plots.grid({"one": {"a": None}}, title="t", xlabel="x", ylabel="y", alt="none")


GIB = 2**30
DEVICES = {"T4": 15 * GIB, "RTX 4090": 24 * GIB, "A100": 40 * GIB, "H100": 80 * GIB}
ROWS = {
    "full": {"weights": 15 * GIB, "gradients": 15 * GIB, "optimizer_states": 60 * GIB},
    "LoRA": {"weights": 15 * GIB, "gradients": 0, "optimizer_states": 50 * 2**20},
}


def svg(text: str) -> tuple[ElementTree.Element, list[ElementTree.Element], list[str]]:
    """An SVG text's root, its coloured rectangles and the words drawn in it."""
    root = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    boxes = [box for box in root.iter(f"{name}rect") if box.get("fill") != "currentColor"]
    return root, boxes, [t.text for t in root.iter(f"{name}text")]


def test_memory_bars_are_as_long_as_the_memory_and_name_what_fits(shown):
    root, boxes, words = svg(plots.memory_svg(ROWS, DEVICES, title="8B <x>"))
    assert root.get("role") == "img" and "background" not in root.get("style")
    assert "8B <x>. full: 90.00 GiB, fits none of these (weights 15.00" in root.get("aria-label")
    assert "LoRA: 15.05 GiB, fits RTX 4090 (weights 15.00 GiB, optimizer states 50 MiB)." in (
        root.get("aria-label")
    )
    full, full_gradients, lora, states, *legend = [float(box.get("width")) for box in boxes]
    assert full == lora > full_gradients > states > 0 and legend == [10, 10, 10]
    assert float(boxes[1].get("x")) + full_gradients == pytest.approx(510 - 1, abs=0.2)  # cut off
    assert "▸" in words and "T4 15" in words and "A100 40" not in words
    backwards = dict(reversed(DEVICES.items()))  # the smallest that fits, not the first
    assert plots.memory_text(ROWS, backwards) == plots.memory_text(ROWS, DEVICES)
    plots.memory_bars(ROWS, DEVICES, title="t")
    [(data, _)] = shown
    assert "background:white" in svg(data["image/svg+xml"])[0].get("style")
    assert data["text/plain"] == plots.memory_text(ROWS, DEVICES)


def test_a_bar_that_just_fits_ends_at_the_devices_line():
    full = {"weights": usable(DEVICES["T4"]), "gradients": 2**20}  # the second is too thin to see
    root, [bar, *legend], words = svg(plots.memory_svg({"full": full}, DEVICES, title=""))
    end = float(bar.get("x")) + float(bar.get("width")) + 1
    dashed = [e.get("d") for e in root.iter() if e.get("stroke-dasharray")]
    assert [float(d[1:].split()[0]) for d in dashed] == [pytest.approx(end, abs=0.2)]
    [shade, _] = [e for e in root.iter() if e.get("opacity") == "0.15"]
    assert float(shade.get("x")) == pytest.approx(end, abs=0.2)
    assert float(shade.get("width")) == pytest.approx(440 * 15 * HEADROOM / 16, abs=0.2)
    assert len(legend) == 1 and "gradients" not in words and "kept free: 10%" in words


@pytest.mark.parametrize(
    ("size", "ticks"),
    [
        (0.7, ["0", "256", "512", "768", "MiB"]),
        (1.4, ["0", "0.5", "1", "1.5", "GiB"]),
        (900, ["0", "256", "512", "768", "1,024", "GiB"]),
    ],
)
def test_an_axis_has_round_ticks(size, ticks):
    words = svg(plots.memory_svg({"LoRA": {"weights": GIB * size}}, {}, title=""))[2]
    assert [word for word in words if word in ticks] == ticks


@pytest.mark.parametrize("scale", [1, 4, 16, 64])
def test_labels_of_devices_never_overlap(scale):
    rows = {"full": {"weights": 20 * GIB * scale}}
    labels = [
        (float(text.get("x")), text.get("y"), 6 * len(text.text))
        for text in ElementTree.fromstring(plots.memory_svg(rows, DEVICES, title="")).iter()
        if text.text and re.fullmatch(r"(T4|RTX|A100|H100)[ \d]+", text.text)
    ]
    assert labels
    for i, (x, y, width) in enumerate(labels):
        for other_x, other_y, other_width in labels[i + 1 :]:
            assert y != other_y or x + width < other_x or other_x + other_width < x


def test_a_small_change_keeps_the_axis():
    pictures = [
        svg(plots.memory_svg({"LoRA": {"weights": GIB * (1.6 + i / 10)}}, {}, title=""))[1:]
        for i in range(3)
    ]
    widths = [float(boxes[0].get("width")) for boxes, _ in pictures]
    assert widths == sorted(widths) and pictures[0][1][-3:] == pictures[1][1][-3:]


def test_shares_mark_one_place_and_name_every_line():
    text = plots.shares_svg(
        {"in style": [0, 0.5, 1], "fact right": [1, 1, 0]},
        ["0", "8", "16"], marked=1, title="t", xlabel="alpha", ground="white",
    )  # fmt: skip
    root, _, words = svg(text)
    alt = root.get("aria-label")
    assert "0: in style 0%, fact right 100%; 8: in style 50%, fact right 100%; 16:" in alt
    assert {"in style", "fact right", "0", "8", "16", "alpha"} <= set(words)
    bold = [t.text for t in root.iter() if t.get("font-weight") == "bold"]
    assert bold == ["8"]


def test_tokens_are_told_apart_without_colour_and_cannot_break_the_page():
    html = plots.masked_tokens(["<b>", "&", "end\n"], [False, True, True]).data
    assert "<b>" not in html.replace("<b><u>", "")
    assert "&lt;b&gt;" in html and "&amp;" in html and "end⏎" in html
    assert html.count("font-weight:bold") == 2


def test_every_token_needs_its_flag():
    with pytest.raises(ValueError, match="trained: 1 flags for 2 tokens; must be equal"):
        plots.masked_tokens(["a", "b"], [True])


def test_answer_table_shows_all_and_marks_the_active_column_alone():
    table = plots.answer_table(["<q>"], {"base": ["a & b"], "style": ["Ahoy"]}, active="style")
    assert "&lt;q&gt;" in table and "a &amp; b" in table and "▸ style" in table
    assert "▸ base" not in table and table.count("opacity") == 2
    plain = plots.answer_table(["q"], {"base": ["a"], "style": ["b"]})
    assert "opacity" not in plain and "▸" not in plain


@pytest.mark.parametrize(
    ("series", "scale", "place"),
    [
        ({"one": ([0, 1], [0, 1])}, {}, "left bottom"),
        ({"one": ([0, 1], [0, 3])}, {}, "right bottom"),
        ({"over it": ([1, 8], [1.3, 1.3]), "low": ([1], [1e-7])}, {"logy": True}, "right top"),
    ],
)
def test_a_reference_lines_name_stands_where_no_line_crosses_it(series, scale, place, monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "show", lambda figure, alt: drawn.append(figure))
    plots.lines(
        series,
        title="t",
        xlabel="x",
        ylabel="y",
        alt="",
        reference={"as large as the update": 0.95},
        **scale,
    )
    [axes] = drawn[0].axes
    [label] = [text for text in axes.texts if text.get_text() == "as large as the update"]
    assert f"{label.get_ha()} {label.get_va()}" == place


def test_a_bars_label_stands_beside_a_reference_line_and_a_legend_where_no_line_runs(monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "show", lambda figure, alt: drawn.append(figure))
    plots.bars({"a": 9.8, "b": 3}, title="t", xlabel="x", alt="", reference={"ten": 10}, label=str)
    everywhere = {name: ([0, 1], [0, 1]) for name in "ab"} | {
        f"{i}": ([0, 1], [i / 9] * 2) for i in range(10)
    }
    for series in ({name: ([0, 1], [0, 1]) for name in "ab"}, everywhere):
        plots.lines(series, title="t", xlabel="x", ylabel="y", alt="")
    bars, few, many = drawn
    for figure in drawn:
        figure.draw_without_rendering()
    line = bars.axes[0].transData.transform((10, 0))[0]
    labels = [word for word in bars.axes[0].texts if word.get_text() in ("9.8", "3")]
    assert [word.get_window_extent().x0 > line for word in labels] == [True, False]
    assert few.axes[0].get_legend() and not few.legends
    assert many.legends and not many.axes[0].get_legend()


def test_signs_stand_between_matrices(shown, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "show", lambda figure, alt: drawn.append(figure))
    matrices = {"B": np.ones((3, 1)), "A": np.ones((1, 3)), "BA": np.ones((3, 3))}
    plots.matrices(matrices, title="t", alt="", signs="×=")
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["", "×", "="]


GROUNDS = {*LEVELS, FROZEN, TRAINED, PLAIN}


def test_words_on_a_colour_have_enough_contrast():
    light = {"black": 0.0, "white": 1.0}
    assert style.luminance("#ffffff") == 1 and style.luminance("#000000") == 0
    assert style.luminance("#009E73") == pytest.approx(0.2569, abs=1e-4)
    inks = dict(style.SEGMENT_COLORS) | {color: style.ink_on(color) for color in GROUNDS}
    for color, ink in inks.items():
        darker, lighter = sorted((style.luminance(color), light[ink]))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, color


def test_words_in_bars_and_cells_take_the_ink_of_their_ground():
    bars = plots.memory_svg({"a": {part: 1e9 for part in "uvwxyz"}}, {}, title="t")
    cells = plots.runs_svg(
        [([0, 1], [2.0, 1.0])], {}, {"2": {f"{i}": 2.0**-i for i in range(6)}},
        marked=None, title="t", rows_are="", columns_are="", measure="", alt="",
    )  # fmt: skip
    for picture in (bars, cells):
        painted = [
            e for e in ElementTree.fromstring(picture).iter() if e.tag.endswith(("rect", "text"))
        ]
        told = [
            (ground.get("fill"), word.get("style", word.get("fill")).removeprefix("fill:"))
            for ground, word in itertools.pairwise(painted)
            if ground.tag.endswith("rect") and word.get("text-anchor") == "middle"
        ]
        assert len(told) == 6 and all(ink == style.ink_on(ground) for ground, ink in told)


@pytest.mark.parametrize("variant", ["lora", "dora", "merged", "qlora"])
def test_a_scheme_is_drawn_as_svg_and_png_with_its_formula_in_words(variant, shown):
    plots.scheme(variant, d_in=576, d_out=1536, r=6)
    [(data, metadata)] = shown
    root, _, words = svg(data["image/svg+xml"])
    assert data["text/plain"] in root.get("aria-label") and root.get("role") == "img"
    assert {"A", "B", "× α/r"} <= set(words) and "BA" in data["text/plain"]
    _, _, width, height = map(float, root.get("viewBox").split())
    pixels = imread(io.BytesIO(base64.b64decode(data["image/png"])))
    assert pixels.shape[:2] == (2 * height, 2 * width)
    assert metadata["image/png"]["width"] == width
    for element in root.iter():  # nothing is drawn outside
        for name, limit in (("x", width), ("y", height)):
            assert 0 <= float(element.get(name, 0)) < limit


def test_a_scheme_names_the_sizes_it_is_given_and_no_unknown_variant(shown):
    plots.scheme("lora", d_in=576, d_out=1536, r=6)
    assert {"6 × 576", "1536 × 6", "6 numbers"} <= set(svg(shown[0][0]["image/svg+xml"])[2])
    with pytest.raises(ValueError, match="variant must be one of lora, dora.*got 'LoRA'"):
        plots.scheme("LoRA")


def test_an_svg_as_png_has_the_same_shapes_in_the_same_places():
    drawn = [
        '<rect x="10" y="10" width="20" height="20" fill="#ff0000"/>',
        '<circle cx="60" cy="20" r="10" fill="#00ff00"/>',
        '<path d="M80 10h20v20l-20 0z" fill="#0000ff"/>',
        '<path d="M110 10L130 10V30H110Z" fill="#0000ff"/>',
        '<path d="M140 20H160" stroke="#000000" stroke-width="8" fill="none"/>',
    ]
    pixels = imread(io.BytesIO(plots.png(svg_text.drawing(drawn, 170, 40, "alt", None))))
    wanted = {20: "100", 60: "010", 90: "001", 120: "001", 150: "000", 40: "111", 105: "111"}
    for x, color in wanted.items():
        assert pixels[40, 2 * x, :3].round().astype(int).tolist() == [int(c) for c in color], x
    assert pixels[58, 2 * 150, :3].min() == 1  # a line is no area


def test_an_svg_that_is_not_ours_is_refused():
    for drawn in ('<ellipse rx="3"/>', '<path d="M0 0Q1 1 2 2"/>'):
        with pytest.raises(ValueError, match="must be"):
            plots.png(svg_text.drawing([drawn], 10, 10, "alt", None))


@pytest.mark.parametrize(
    ("losses", "numbers"),
    [((2.1, 4.0, 70.0), {"2", "5", "10", "20", "50"}), ((1e-4, 1.0, 900.0), {"0.01", "1", "100"})],
)
def test_a_logarithmic_axis_has_plain_numbers_and_steps_are_whole(monkeypatch, losses, numbers):
    drawn = []
    monkeypatch.setattr(charts, "show", lambda figure, alt: drawn.append(figure))
    plots.lines(
        {"a": ((1, 3, 5), losses)}, title="t", xlabel="step", ylabel="loss", alt="", logy=True
    )
    [figure] = drawn
    figure.draw_without_rendering()
    [axes] = figure.axes
    named = {tick.get_text() for tick in axes.get_yticklabels(which="both")}
    assert numbers <= named and not any("$" in name for name in named)
    assert {tick.get_text() for tick in axes.get_xticklabels()} <= set("0123456")


def test_lines_of_a_group_share_colour_and_marker_and_a_rate_has_plain_digits(monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "show", lambda figure, alt: drawn.append(figure))
    points = {rate: (1.0, 0.9, 1.1) for rate in (6.25e-5, 2.5e-4)}
    plots.intervals(
        {name: points for name in "abcd"},
        title="t", xlabel="x", ylabel="y", alt="", logx=True, group=2,
    )  # fmt: skip
    [axes] = drawn[0].axes
    a, b, c, d = ((line.get_color(), line.get_marker()) for line in axes.lines)
    assert a == b != c == d
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--", "-", "--"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.0000625", "0.00025"]

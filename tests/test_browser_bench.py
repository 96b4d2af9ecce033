"""The bench, the cut and a guess in a real browser: mouse, keyboard, both themes, two widths.

The server and the browser are those of `test_browser`; only the notebook is another one.
"""

import json
import re
import time
import urllib.request

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect
from test_browser import (  # noqa: F401, fixtures
    SCREENSHOTS,
    TOKEN,
    browser,
    browser_path,
    run_all,
    server,
)

from helpers.low_rank import Setting, fit
from helpers.plots import short

pytestmark = pytest.mark.slow

CELLS = [
    """
import numpy as np
from helpers.widgets import Guesses, cut_explorer, lora_bench
guesses = Guesses()
guesses.ask("one", "Kept with one direction", unit="%")
guesses.ask("alive", "A gradient goes to", options=["A", "B"])
""",
    "lora_bench()",
    """
random = np.random.default_rng(0)
change = random.normal(size=(64, 4)) @ random.normal(size=(4, 64))
cut_explorer(change, {1: 0.5, 2: 0.75, 3: 0.9, 4: 1.0})
""",
    "guesses.answer('one', 61.7)\nguesses.answer('alive', 'B')\nguesses.recap()",
]


@pytest.fixture(scope="module")
def errors() -> list[str]:
    """What the page's console says of errors."""
    return []


@pytest.fixture(scope="module")
def page(browser, server, errors):  # noqa: F811
    """The notebook with the widgets, in a window as wide as a laptop's; all cells run but the last.

    The last one gives the answers to the guesses.
    """
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells[:-1], metadata={"kernelspec": kernel})
    put = urllib.request.Request(
        f"{server}/api/contents/bench.ipynb?token={TOKEN}",
        data=json.dumps({"type": "notebook", "content": notebook}).encode(),
        headers={"Content-Type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(put, timeout=30).close()
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(f"{server}/lab/tree/bench.ipynb?token={TOKEN}&reset")
    run_all(page)
    return page


def output(page: Page, name: str) -> Locator:
    """The output that holds a field of this name."""
    found = page.locator(".jp-OutputArea-output", has=page.get_by_label(name, exact=True))
    expect(found).to_have_count(1)
    found.scroll_into_view_if_needed()
    return found


def test_controls_and_picture_are_on_one_screen_and_the_stored_picture_is_hidden(page):
    page.set_viewport_size({"width": 1260, "height": 900})  # less a scroll bar, which others have
    bench = output(page, "hidden rank")
    assert bench.bounding_box()["height"] < 600
    for i in range(bench.get_by_role("img").count()):
        expect(bench.get_by_role("img").nth(i)).to_be_in_viewport(ratio=1)
    stored = page.locator(".jp-OutputArea-child", has=page.locator(".jp-RenderedSVG"))
    assert stored.count() == 2 and not any(one.is_visible() for one in stored.all())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "bench-1280.png")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_slider_by_keyboard_and_by_mouse_trains_anew(page):
    bench = output(page, "hidden rank")
    status, picture = bench.get_by_role("status"), bench.get_by_role("img").first
    for name in ("rank r", "alpha", "learning rate", "steps", "hidden rank", "noise, %"):
        expect(bench.get_by_role("slider", name=name, exact=True)).to_have_count(1)
        expect(bench.get_by_role("textbox", name=name, exact=True)).to_have_count(1)
    before = picture.get_attribute("aria-label")
    bench.get_by_role("slider", name="rank r", exact=True).press("ArrowLeft")
    expect(bench.get_by_role("textbox", name="rank r", exact=True)).to_have_value("3")
    expect(status).to_contain_text(f"floor at rank 3: {short(fit(Setting(rank=3)).floor)}")
    expect(picture).not_to_have_attribute("aria-label", before)
    box = bench.get_by_role("slider", name="learning rate", exact=True).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y, steps=10)
    page.mouse.up()
    expect(bench.get_by_role("textbox", name="learning rate", exact=True)).to_have_value("10")
    expect(status).to_contain_text("overshoot")
    bench.get_by_label("start", exact=True).select_option("both zero")
    expect(status).to_contain_text("Nothing moves.")


def test_what_cannot_be_is_said_beside_the_controls(page):
    bench = output(page, "hidden rank")
    field = bench.get_by_role("textbox", name="rank r", exact=True)
    field.fill("4096")
    field.press("Enter")
    expect(bench.get_by_role("alert")).to_contain_text("at most 64")
    field.fill("4")
    field.press("Enter")
    expect(bench.get_by_role("alert")).to_have_count(0)


def test_the_rank_of_the_cut_changes_picture_and_words(page):
    cut = output(page, "rank")
    image = cut.locator("image").last
    before = image.get_attribute("href")
    cut.get_by_role("slider", name="rank", exact=True).press("ArrowRight")
    expect(cut.get_by_role("status")).to_contain_text("rank 2 of 64")
    expect(cut.get_by_role("status")).to_contain_text("75% of the improvement")
    expect(image).not_to_have_attribute("href", before)


def test_a_guess_stands_beside_the_answer(page):
    guess = output(page, "guess")
    slider = guess.get_by_role("slider", name="Kept with one direction", exact=True)
    for _ in range(41):  # the first stop is no guess
        slider.press("ArrowRight")
    expect(guess.get_by_role("textbox", name="guess", exact=True)).to_have_value("40")
    page.get_by_label("A", exact=True).check()
    page.evaluate(
        "source => { const tracker = jupyterapp.shell.currentWidget.content;"
        " tracker.activeCellIndex = tracker.widgets.length - 1;"
        " return jupyterapp.commands.execute('notebook:insert-cell-below')"
        ".then(() => tracker.activeCell.model.sharedModel.setSource(source))"
        ".then(() => jupyterapp.commands.execute('notebook:run-cell')) }",
        CELLS[-1],
    )
    answer = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output")
    words = "Kept with one direction: 62 %. Your guess: 40 %, 22 points too low."
    expect(answer.first).to_contain_text(words)
    expect(answer.last).to_contain_text(re.compile("A gradient goes to.*A, not so.*B", re.DOTALL))
    expect(guess.get_by_role("textbox", name="guess", exact=True)).to_be_disabled()
    answer.last.scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / "guess-1280.png")


def test_in_the_dark_and_in_a_narrow_window_all_can_be_used(page, errors):
    page.evaluate(
        "jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    page.wait_for_selector('body[data-jp-theme-name="JupyterLab Dark"]', state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.set_viewport_size({"width": 700, "height": 900})
    bench = output(page, "hidden rank")
    width = bench.bounding_box()["width"]
    for slider in bench.get_by_role("slider").all():
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box["x"] + box["width"] <= bench.bounding_box()["x"] + width
    assert bench.get_by_role("img").first.bounding_box()["width"] <= width
    bench.get_by_role("slider", name="rank r", exact=True).press("ArrowRight")
    expect(bench.get_by_role("status")).to_contain_text("floor at rank 5")
    time.sleep(0.5)  # the page is drawn anew
    page.screenshot(path=SCREENSHOTS / "bench-700-dark.png")
    assert errors == []

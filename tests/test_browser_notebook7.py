"""A slider in Notebook 7, whose own shortcuts must not take the arrow keys from it."""

import nbformat
import pytest
from playwright.sync_api import expect
from test_browser import (  # noqa: F401, a fixture
    SCREENSHOTS,
    TOKEN,
    browser_path,
    browsing,
    serving,
)

pytestmark = pytest.mark.slow
CELLS = ["from helpers.widgets import lora_bench\nlora_bench()", "'the cell below'"]


@pytest.fixture(scope="module")
def page(browser_path, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("notebook7")
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "bench.ipynb")
    with (
        serving(folder, "notebook") as server,
        browsing(browser_path, server, tmp_path_factory.mktemp("profile")) as browser,
    ):
        page = browser.new_page()
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(f"{server}/notebooks/bench.ipynb?token={TOKEN}")
        page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === 'idle'"
        )
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
        expect(page.get_by_role("slider", name="rank r", exact=True)).to_be_visible()
        expect(page.get_by_text("'the cell below'").last).to_be_visible()
        yield page


def test_arrow_keys_move_the_slider_and_not_the_notebook(page):
    selected = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"
    handle = page.get_by_role("slider", name="rank r", exact=True)
    field = page.get_by_role("textbox", name="rank r", exact=True)
    picture = page.get_by_role("img").first
    field.click()
    expect(field).to_have_value("4")
    before = picture.get_attribute("aria-label"), page.evaluate(selected)
    for key, value in {
        "ArrowRight": "5",
        "ArrowUp": "6",
        "ArrowDown": "5",
        "ArrowLeft": "4",
    }.items():
        handle.press(key)
        expect(field).to_have_value(value)
    handle.press("PageUp")
    expect(picture).not_to_have_attribute("aria-label", before[0])
    assert page.evaluate(selected) == before[1]
    expect(handle).to_be_focused()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "notebook7.png")

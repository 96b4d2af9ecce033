"""Record the playground and the cost explorer as they are, in JupyterLab and a real browser.

The server and the browser are those of tests/test_browser.py. A run of the small model is trained
before the camera, which takes some minutes; the film leaves out the waiting.
"""

import io
import tempfile
from pathlib import Path

import nbformat
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from test_browser import TOKEN, browsing, chromium, run_all, serving

from address import ROOT
from files import write_atomically

FOLDER = ROOT / "docs" / "pictures"
WIDTH, MARGIN = 1000, 10  # pixels of the pictures
PLAYGROUND = ("play-imports", "play-forecast", "play-controls")
EXPLORER = """\
import helpers
from peft import LoraConfig
from helpers.widgets import lora_explorer
config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
lora_explorer("Llama-3.1-8B", config, batch_size=1, sequence_length=512)"""
MOST_BYTES = 2_000_000


class Film:
    """Pictures of one part of a page, each with the time for which it is shown."""

    def __init__(self, page: Page, height: int):
        self.page, self.height = page, height
        self.frames: list[tuple[Image.Image, int]] = []

    def take(self, part: Locator, milliseconds: int, top: int = 0, most: int = 9000) -> None:
        """Add what `part` looks like now, from `top` on; one that looks as the last is the last,
        shown for longer, but for no longer than `most`."""
        frame = picture_of(self.page, part, self.height, top)
        if self.frames and frame.tobytes() == self.frames[-1][0].tobytes():
            last, shown = self.frames[-1]
            self.frames[-1] = (last, max(shown, min(shown + milliseconds, most)))
        else:
            self.frames.append((frame, milliseconds))

    def content(self) -> bytes:
        """The film as an animated WebP. ValueError: it is too large for a README."""
        pictures, times = zip(*self.frames, strict=True)
        file = io.BytesIO()
        options = {"duration": list(times), "loop": 0, "quality": 60, "method": 6}
        pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], **options)
        if len(file.getvalue()) > MOST_BYTES:
            raise ValueError(f"the film takes {len(file.getvalue()):,} bytes, not {MOST_BYTES:,}")
        return file.getvalue()


def picture_of(page: Page, part: Locator, height: int, top: int = 0) -> Image.Image:
    """`height` pixels of `part`, from `top` on, as wide as the pictures are."""
    box = part.bounding_box()
    place = {"x": box["x"] - MARGIN, "y": box["y"] - 2 + top}
    clip = place | {"width": min(WIDTH, round(box["width"])), "height": height}
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")


def record() -> None:
    """Write the film of the playground and the still of the explorer."""
    FOLDER.mkdir(exist_ok=True)
    playground = nbformat.read(ROOT / "notebooks" / "playground.ipynb", as_version=4)
    playground.cells = [cell for cell in playground.cells if cell.get("id") in PLAYGROUND]
    for cell in playground.cells:
        cell.outputs, cell.execution_count = [], None
    explorer = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(EXPLORER)])
    explorer.metadata = playground.metadata
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        nbformat.write(playground, folder / "playground.ipynb")
        nbformat.write(explorer, folder / "explorer.ipynb")
        (folder / "profile").mkdir()
        with (
            serving(folder) as server,
            browsing(chromium(), server, folder / "profile") as browser,
        ):
            still = explorer_still(open_page(browser, server, "explorer"))
            write_atomically(FOLDER / "cost_explorer.webp", still)
            film = playground_film(open_page(browser, server, "playground"))
            write_atomically(FOLDER / "playground.webp", film.content())
            still = written(film.frames[-1][0])  # for those who want nothing to move
            write_atomically(FOLDER / "playground_still.webp", still)


def open_page(browser, server: str, name: str) -> Page:
    page = browser.new_page()
    page.set_viewport_size({"width": WIDTH + 80, "height": 1500})
    page.goto(f"{server}/doc/tree/{name}.ipynb?token={TOKEN}&reset")
    run_all(page)
    page.evaluate("jupyterapp.commands.execute('notebook:hide-all-cell-code')")
    return page


def explorer_still(page: Page) -> bytes:
    part = page.locator(".jp-OutputArea-output", has=page.get_by_label("rank r", exact=True))
    part.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    height = min(round(part.bounding_box()["height"]), 620)
    return written(picture_of(page, part, height))


def written(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80, method=6)
    return file.getvalue()


def playground_film(page: Page) -> Film:
    """Two runs: as it stands, then with another rate; and the answers of both."""
    part = page.locator(".jp-OutputArea-output", has=page.get_by_role("button", name="Train"))
    part.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    film = Film(page, 640)
    film.take(part, 1500)
    for number, settings in enumerate(({}, {"alpha": "64"}), start=1):
        for name, value in settings.items():
            field = page.get_by_role("textbox", name=name, exact=True)
            field.fill(value)
            field.press("Enter")
            page.wait_for_timeout(800)
            film.take(part, 1200)
        page.get_by_role("button", name="Train", exact=True).click()
        rows = page.locator("table", has_text="held-out loss").locator("tr")
        for _ in range(600):
            page.wait_for_timeout(400)
            film.take(part, 80, most=600)
            if rows.count() == number + 1:
                break
        expect(rows).to_have_count(number + 1)
        page.wait_for_timeout(1000)
        film.take(part, 2500)
    for top in range(0, 321, 40):  # to the answers
        film.take(part, 80, top)
    film.take(part, 5000, 320)
    return film

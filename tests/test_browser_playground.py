"""The playground and the live view in a real browser, on a tiny model: train, stop, compare.

The server and the browser are those of `test_browser`; only the notebook is another one.
"""

import json
import re
import urllib.request

import nbformat
import pytest
from playwright.sync_api import Page, expect
from test_browser import (  # noqa: F401, fixtures
    SCREENSHOTS,
    TOKEN,
    browser,
    browser_path,
    run_all,
    server,
)

pytestmark = pytest.mark.slow

CELLS = [
    """
import tempfile, time, warnings
import datasets, transformers
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer
from helpers.data import load_task
from helpers.models import load_model
from helpers.playground import RunSettings, Session
from helpers.stand_in import make_page_stand_in
from helpers.widgets import live_view, playground
warnings.filterwarnings("ignore")
transformers.utils.logging.set_verbosity_error()
datasets.disable_progress_bars()
tiny = make_page_stand_in(tempfile.mkdtemp())
session = Session(tiny)
""",
    "playground(session, RunSettings(rank=2, steps=4, batch_size=2, learning_rate=1e-2))",
    """
class Slow(TrainerCallback):
    def on_step_end(self, *_, **__):
        time.sleep(0.2)
model, tokenizer = load_model(tiny)
settings = SFTConfig(tempfile.mkdtemp(), max_steps=400, per_device_train_batch_size=2,
    logging_steps=1, use_cpu=True, bf16=False, gradient_checkpointing=False, disable_tqdm=True,
    report_to="none", save_strategy="no", dataloader_pin_memory=False)
trainer = SFTTrainer(model, settings, train_dataset=load_task("style")["train"],
    peft_config=LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
    processing_class=tokenizer, callbacks=[live_view(), Slow()])
trainer.remove_callback(PrinterCallback)
trainer.train()
print("steps:", trainer.state.global_step)
""",
]


@pytest.fixture(scope="module")
def errors() -> list[str]:
    """What the page's console says of errors."""
    return []


@pytest.fixture(scope="module")
def page(browser, server, errors):  # noqa: F811
    """The notebook in a window as wide as a laptop's, its first two cells run."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    for name, content in (("playground", cells[:2]), ("live", [cells[0], cells[2]])):
        notebook = nbformat.v4.new_notebook(cells=content, metadata={"kernelspec": kernel})
        put = urllib.request.Request(
            f"{server}/api/contents/{name}.ipynb?token={TOKEN}",
            data=json.dumps({"type": "notebook", "content": notebook}).encode(),
            method="PUT",
        )
        urllib.request.urlopen(put, timeout=30).close()
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    page.goto(f"{server}/lab/tree/playground.ipynb?token={TOKEN}&reset")
    run_all(page)
    return page


def keep(page: Page, name: str) -> None:
    """Screenshots in both themes and widths, to be looked at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
        page.wait_for_selector(f'body[data-jp-theme-name="{theme}"]', state="attached")
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        for width in (700, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(300)
            shade = theme.split()[-1].lower()
            page.screenshot(path=SCREENSHOTS / f"{name}-{shade}-{width}.png")


def rows(page: Page):
    return page.locator("table", has_text="held-out loss").locator("tr")


def test_train_stop_and_compare(page, errors):
    train = page.get_by_role("button", name="Train", exact=True)
    stop = page.get_by_role("button", name="Stop", exact=True).first
    expect(page.get_by_role("status").first).to_contain_text("trains 10,304 of")
    train.scroll_into_view_if_needed()
    train.click()
    expect(stop).to_be_enabled()
    expect(train).to_be_disabled()
    expect(page.get_by_role("img", name=re.compile("held out: "))).to_be_visible(timeout=120_000)
    expect(rows(page)).to_have_count(2, timeout=120_000)
    expect(page.get_by_role("img", name=re.compile("^Held-out loss.*run 1"))).to_be_visible()
    steps = page.get_by_role("textbox", name="steps", exact=True)
    steps.fill("500")
    steps.press("Enter")
    rank = page.get_by_role("textbox", name="rank r", exact=True)
    rank.fill("1")
    rank.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("trains 5,152 of")
    train.click()
    expect(page.get_by_text(re.compile(r"step [1-9]\d* of 500"))).to_be_visible(timeout=120_000)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "playground-running.png")
    stop.click()
    expect(rows(page)).to_have_count(3, timeout=120_000)
    expect(rows(page).last).to_contain_text("stopped at step")
    expect(page.get_by_text("Lowest held-out loss on style")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("run 1: r 2.*run 2: r 1"))).to_be_visible()
    keep(page, "playground")
    picture = page.get_by_role("img", name=re.compile("^Held-out loss")).bounding_box()
    control = page.get_by_role("textbox", name="rank r", exact=True).bounding_box()
    assert abs(picture["y"] - control["y"]) < 500 and picture["height"] > 150


def test_the_runs_outlive_the_page_and_two_can_be_asked(page, errors):
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    expect(rows(page)).to_have_count(3, timeout=120_000)
    page.get_by_role("tab", name="Ask two").click()
    question = page.get_by_role("textbox", name="question", exact=True)
    question.fill("Where is north?")
    question.press("Enter")
    expect(page.get_by_text("Both have answered.")).to_be_visible(timeout=60_000)
    keep(page, "ask")
    page.get_by_role("tab", name="Source").click()
    expect(page.locator("pre", has_text="LoraConfig(")).to_be_visible()
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert errors == []


def test_stop_works_while_the_cell_keeps_the_kernel_busy(page, server):  # noqa: F811
    page.goto(f"{server}/lab/tree/live.ipynb?token={TOKEN}&reset")
    page.wait_for_function(
        "() => { const session = window.jupyterapp?.shell.currentWidget?.sessionContext;"
        " return session?.isReady && session.session?.kernel?.connectionStatus === 'connected'"
        " && session.session.kernel.status === 'idle' }"
    )
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
    progress = page.get_by_text(re.compile(r"step [2-9] of 400"))
    expect(progress).to_be_visible(timeout=120_000)
    page.get_by_role("button", name="Stop", exact=True).click()
    steps = page.get_by_text(re.compile(r"^steps: \d+"))
    expect(steps).to_be_visible(timeout=60_000)
    assert int(steps.inner_text().split()[-1]) < 400
    kept = page.locator('.jp-OutputArea-output[data-mime-type="image/png"] img')
    kept.scroll_into_view_if_needed()  # the live view has given way to its last picture
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    keep(page, "live")

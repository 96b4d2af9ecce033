"""Explorers in a real browser: lesson 2's and lesson 8's, moved by keyboard, everything labelled.

Of lesson 2 the cells are run that its explorer needs: nbval runs them all.

JupyterLab serves a copy of the lesson on the loopback interface alone; Playwright drives the
chromium that is installed here and downloads none. Screenshots are kept in build/browser.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from peft import LoraConfig
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from helpers.params import count_lora_parameters
from helpers.widgets import PAGE, RANKS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SCREENSHOTS = ROOT / "build" / "browser"
LESSON = ROOT / "notebooks" / "02_configuration.ipynb"
NEEDED = {f"02-configuration-{name}" for name in ("001", "quiet", "005", "025", "108", "110")}
SHARDING = """\
from helpers.widgets import sharding_explorer
sharding_explorer("Llama-3.1-8B", devices=4)"""
MODEL = "SmolLM2-135M-Instruct"
TOKEN = "only-on-this-machine"
BADGES = {  # each lesson's first line
    "https://colab.research.google.com/assets/colab-badge.svg",
    "https://kaggle.com/static/images/open-in-kaggle.svg",
}
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # every cell in the page
}


def chromium() -> str | None:
    """The chromium or Chrome of this machine, if it has one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser_path(warm_servers) -> str:
    """The chromium or Chrome of this machine; without one, a skip that says how to get it."""
    found = chromium()
    if found is None:
        advice = (
            "no chromium or Chrome found. On Debian: sudo apt-get install chromium; elsewhere, "
            "install Chrome so that google-chrome is on the PATH"
        )
        if os.environ.get("LORA_COURSE_REQUIRE_BROWSER"):
            pytest.fail(advice)
        pytest.skip(advice)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a JupyterLab with settings of its own, and the lesson without its outputs."""
    folder = tmp_path_factory.mktemp("lab")
    lesson = nbformat.read(LESSON, as_version=4)
    lesson.metadata.pop("widgets", None)
    assert {cell.id for cell in lesson.cells} > NEEDED
    lesson.cells = [c for c in lesson.cells if c.cell_type == "markdown" or c.id in NEEDED]
    lesson.cells.append(nbformat.v4.new_code_cell(SHARDING))
    for cell in lesson.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(lesson, folder / "lesson.ipynb")
    with serving(folder) as address:
        yield address


@contextmanager
def serving(folder: Path, application: str = "jupyterlab") -> Iterator[str]:
    """The address of the application, which serves `folder` with settings that lie there too."""
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    for plugin, values in SETTINGS.items():
        file = folder / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    port = free_port()
    command = [sys.executable, "-m", application, "--no-browser", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += ["--expose-app-in-browser", "--allow-root", f"--ServerApp.root_dir={folder}"]
    environment = os.environ | {name: str(folder / place) for name, place in places.items()}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail(log.read_text())
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="module")
def browser(browser_path, server, tmp_path_factory):
    """A browser of which no request leaves this machine, and that asks for badges alone."""
    with browsing(browser_path, server, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@contextmanager
def browsing(browser_path: str, server: str, profile: Path) -> Iterator[BrowserContext]:
    elsewhere = set()

    def stay_here(route):
        if route.request.url.startswith((server, "data:", "blob:")):
            return route.continue_()
        elsewhere.add(route.request.url)
        return route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=browser_path,
            args="--no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            "--disable-default-apps".split(),
            viewport={"width": 1300, "height": 1000},
        )
        browser.set_default_timeout(120_000)
        expect.set_options(timeout=30_000)
        browser.route("**/*", stay_here)
        yield browser
        browser.close()
    assert elsewhere <= BADGES


@pytest.fixture(scope="module")
def page(browser, server):
    """The lesson in the browser, every cell run."""
    page = browser.new_page()
    page.goto(f"{server}/lab/tree/lesson.ipynb?token={TOKEN}&reset")
    run_all(page)
    return page


def run_all(page: Page) -> None:
    """Run every cell to the end. Asked before the kernel is there, JupyterLab would ask back."""
    page.wait_for_function(
        "() => { const session = window.jupyterapp?.shell.currentWidget?.sessionContext;"
        " return session?.isReady && session.session?.kernel?.connectionStatus === 'connected'"
        " && session.session.kernel.status === 'idle' }"
    )
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    expect(last).to_have_text(re.compile(r"\[\d"), timeout=300_000)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')


@pytest.fixture
def explorer(page: Page):
    """The output of the cell that holds the explorer, in the page's own configuration."""
    explorer = page.locator(".jp-OutputArea-output", has=page.get_by_label("rank r", exact=True))
    expect(explorer).to_have_count(1)
    explorer.scroll_into_view_if_needed()
    explorer.get_by_label("model").select_option(MODEL)
    type_rank(explorer, PAGE.r)
    return explorer


def type_rank(explorer, rank: int) -> None:
    explorer.get_by_role("textbox", name="rank r", exact=True).fill(str(rank))
    explorer.get_by_role("textbox", name="rank r", exact=True).press("Enter")
    expect(explorer.get_by_role("status").last).to_contain_text(trainable(rank))


def trainable(rank: int) -> str:
    config = LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return f"trainable: {count_lora_parameters(MODEL, config).trainable:,} of"


def test_no_cell_failed(page):
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0


def test_a_slider_moved_by_keyboard_changes_number_source_and_picture(page, explorer):
    picture = explorer.get_by_role("img")
    before = picture.get_attribute("aria-label")
    handle = explorer.get_by_role("slider").first
    handle.press("ArrowRight")
    following = RANKS[RANKS.index(PAGE.r) + 1]
    expect(explorer.get_by_role("status").last).to_contain_text(trainable(following))
    expect(explorer.get_by_role("textbox", name="rank r", exact=True)).to_have_value(str(following))
    expect(explorer.locator("pre")).to_contain_text(f"r={following},")
    assert picture.get_attribute("aria-label") != before
    assert picture.bounding_box()["height"] > 150
    for _ in range(30):  # a key held down: the last event counts, none is left behind
        handle.press("ArrowRight")
    expect(explorer.get_by_role("status").last).to_contain_text(trainable(RANKS[-1]))


def test_every_control_has_a_name(explorer):
    """A slider's handle has that of the field beside it, which holds the same value."""
    explorer.get_by_role("button", name="more settings").click()
    expect(explorer.get_by_label("use_dora")).to_be_visible()
    for name in ("rank r", "lora_alpha", "batch size", "tokens a row"):
        expect(explorer.get_by_role("slider", name=name, exact=True)).to_have_count(1)
        expect(explorer.get_by_role("textbox", name=name, exact=True)).to_have_count(1)
    tree = explorer.aria_snapshot()
    controls = re.findall(r'- (spinbutton|combobox|textbox|checkbox|slider)( ".+?")?', tree)
    assert all(name for _role, name in controls), tree
    assert sum(role == "slider" for role, _name in controls) == 4
    assert {"combobox", "textbox", "checkbox"} <= {role for role, _name in controls}
    expect(
        explorer.get_by_role("img", name=re.compile("SmolLM2.*QLoRA: ", re.DOTALL))
    ).to_be_visible()


def test_a_target_that_is_not_there_is_explained_in_place(page, explorer):
    targets = explorer.get_by_label("target_modules")
    targets.fill("no_such_layer")
    targets.press("Enter")
    expect(explorer.get_by_role("alert")).to_contain_text("Module names that exist: ")
    targets.fill("all-linear")
    targets.press("Enter")
    expect(explorer.get_by_role("alert")).to_have_count(0)
    test_no_cell_failed(page)


def test_a_slider_of_gpus_moved_by_keyboard_changes_the_bars_and_what_is_sent(page):
    output = page.locator(".jp-OutputArea-output", has=page.get_by_label("GPUs", exact=True))
    output.scroll_into_view_if_needed()
    picture = output.get_by_role("img")
    before = picture.get_attribute("aria-label")
    output.get_by_role("slider", name="GPUs", exact=True).press("ArrowRight")
    expect(output.get_by_role("textbox", name="GPUs", exact=True)).to_have_value("6")
    expect(output.get_by_role("status")).to_contain_text("rows in a step, all GPUs: 6")
    assert picture.get_attribute("aria-label") != before
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    output.screenshot(path=SCREENSHOTS / "sharding.png")
    output.get_by_label("train with").select_option("full fine-tuning")
    expect(output.get_by_role("status")).to_contain_text("GB with ZeRO-3")
    output.get_by_role("textbox", name="GPUs", exact=True).fill("0")
    output.get_by_role("textbox", name="GPUs", exact=True).press("Enter")
    expect(output.get_by_role("alert")).to_contain_text("GPUs must be a whole number")


def test_controls_and_picture_are_on_one_screen(page, explorer):
    usual = page.viewport_size
    page.set_viewport_size({"width": 1280, "height": 900})
    top = explorer.get_by_role("textbox", name="rank r", exact=True).bounding_box()["y"]
    picture = explorer.get_by_role("img").bounding_box()
    page.set_viewport_size(usual)
    assert picture["y"] + picture["height"] - top < 600


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_picture_is_readable_in_both_themes(page, explorer, theme):
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
    page.wait_for_selector(f'body[data-jp-theme-name="{theme}"]', state="attached")
    color = "element => getComputedStyle(element).fill"
    ink = luminance(explorer.locator("svg text").first.evaluate(color))
    ground = "element => getComputedStyle(element).getPropertyValue('--jp-layout-color0')"
    paper = luminance(page.locator("body").evaluate(ground))
    lighter, darker = max(ink, paper), min(ink, paper)
    page.locator("#jupyterlab-splash").wait_for(state="detached")  # it covers the change
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    explorer.screenshot(path=SCREENSHOTS / f"explorer-{theme.split()[-1].lower()}.png")
    assert (lighter + 0.05) / (darker + 0.05) > 4.5  # WCAG 2.2, 1.4.3


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2) of "rgb(…)", "#rrggbb" or "white"."""
    color = {"white": "#ffffff", "black": "#000000"}.get(color.strip(), color.strip())
    if color.startswith("#"):
        digits = color[1:] if len(color) == 7 else "".join(digit * 2 for digit in color[1:])
        channels = [int(digits[i : i + 2], 16) for i in (0, 2, 4)]
    else:
        channels = [float(number) for number in re.findall(r"[\d.]+", color)[:3]]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (v / 255 for v in channels)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# --- the lessons' own knobs, on tiny inputs ----------------------------------------------------

KNOBS = """
import torch
from peft import LoraConfig
from helpers.widgets import *
draw = torch.Generator().manual_seed(0)
weights, update = (scale * torch.randn(64, 96, generator=draw) for scale in (1, 0.01))
lora = LoraConfig(r=8, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
fine = MergedAt(0.03, ["yes"], 1)
coarse = {"rounded once": {8: fine}, "base rounded before, too": {8: fine}}
speed = ["start", "half precision", "no checkpointing", "no dropout", "packing", "attention"]
speed = {name: 100.0 + 10 * i for i, name in enumerate([*speed, "labels only"])}
answers = {"cat": {50: ["{}"], 60: ["arr"]}, "linear": {50: ["{}"], 60: ["{}"]}}
score = lambda said: {"voice": (said.count("arr"), 1)}
---
quantization_explorer(weights, name="a matrix")
---
mix_explorer(answers, ["who?"], score, label="weight, %")
---
merge_explorer(weights, update, coarse, ["who?"])
---
switch_explorer("SmolLM2-135M-Instruct", lora, speed)
"""
SLIDERS = {  # its name -> what the numbers say after one step to the right
    "bits a level": "5.500 bits a weight",
    "weight, %": "cat, weight, %: 60",
    "significant bits": "9 bits: steps of 0.0039",
    "switches on": "measured: 110 tokens/s",
}


@pytest.fixture(scope="module")
def knobs(browser, server, tmp_path_factory):
    """A notebook with the four knobs, in a window of 1,280 × 900 with the file browser open."""
    cells = [nbformat.v4.new_code_cell(source) for source in KNOBS.strip().split("\n---\n")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    folder = next(tmp_path_factory.getbasetemp().glob("lab?/lesson.ipynb")).parent
    nbformat.write(notebook, folder / "knobs.ipynb")
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{server}/lab/tree/knobs.ipynb?token={TOKEN}&reset")
    run_all(page)
    return page


@pytest.fixture(params=SLIDERS)
def knob(request, knobs):
    """One of them, its picture and its slider's handle, as it starts."""
    field = knobs.get_by_role("textbox", name=request.param, exact=True)
    output = knobs.locator(".jp-OutputArea-output", has=field)
    expect(output).to_have_count(1)
    handle = output.get_by_role("slider", name=request.param, exact=True)
    expect(handle).to_have_count(1)
    output.scroll_into_view_if_needed()
    return request.param, output, field, handle


def test_a_knob_answers_to_keyboard_mouse_and_typing(knob, knobs):
    name, output, field, handle = knob
    picture, numbers = output.get_by_role("img"), output.get_by_role("status")
    start, before = field.input_value(), picture.get_attribute("aria-label")
    handle.press("ArrowRight")
    expect(numbers).to_contain_text(SLIDERS[name])
    expect(picture).not_to_have_attribute("aria-label", before)
    track = output.locator(".noUi-target").first.bounding_box()
    knobs.mouse.click(track["x"] + 1, track["y"] + track["height"] / 2)  # to its left end
    expect(numbers).not_to_contain_text(SLIDERS[name])
    field.fill("none")
    field.press("Enter")
    expect(output.get_by_role("alert")).to_contain_text(name)
    field.fill(start)
    field.press("Enter")
    expect(output.get_by_role("alert")).to_have_count(0)
    expect(picture).to_have_attribute("aria-label", before)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_a_knob_and_its_picture_are_seen_at_once(knob, knobs, theme):
    name, output, field, _ = knob
    knobs.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
    knobs.wait_for_selector(f'body[data-jp-theme-name="{theme}"]', state="attached")
    knobs.locator("#jupyterlab-splash").wait_for(state="detached")
    top, picture = field.bounding_box(), output.get_by_role("img").bounding_box()
    assert picture["y"] + picture["height"] - top["y"] < 700  # of the 780 that a pane shows
    assert picture["x"] + picture["width"] <= 1280 and picture["height"] > 150
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shade = theme.split()[-1].lower()
    output.screenshot(path=SCREENSHOTS / f"knob-{name.split()[0].strip(',')}-{shade}.png")
    assert knobs.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0

"""axe-core looks at every widget in JupyterLab, in both themes: no serious violation."""

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from test_browser import (  # noqa: F401, a fixture
    KNOBS,
    TOKEN,
    browser_path,
    browsing,
    run_all,
    serving,
)

pytestmark = pytest.mark.slow
OTHERS = """
import tempfile
import numpy as np
from transformers import AutoTokenizer
from peft import get_peft_model
from helpers.data import load_task
from helpers.models import load_model
from helpers.own_data import token_lengths
from helpers.playground import RunSettings, Session
from helpers.stand_in import make_page_stand_in
tiny = make_page_stand_in(tempfile.mkdtemp())
session, settings = Session(tiny), RunSettings(rank=2, steps=2, batch_size=2)
live = LiveView(["who?"], max_new_tokens=2, asking_share=1, shown=False)
session.train(settings, live)
model, tokenizer = load_model(tiny)
lengths = token_lengths(AutoTokenizer.from_pretrained(tiny.model_id), load_task("style")["train"])
said = {alpha: ["Ahoy!"] for alpha in (0, 8, 16, 64)}
guesses = Guesses()
guesses.ask("one", "Kept with one direction", unit="%")
guesses.ask("alive", "A gradient goes to", options=["A", "B"])
---
guesses.answer("one", 61.7)
guesses.recap()
---
lora_explorer("SmolLM2-135M-Instruct")
---
sharding_explorer("Llama-3.1-8B", devices=4)
---
TrainingExplorer(PAGE, ["who?"], [["me"]], said)
---
lora_bench()
---
cut_explorer(np.eye(8), {1: 0.5, 4: 1.0})
---
landscape_explorer()
---
length_explorer(lengths, max_length=64)
---
playground(session, settings)
---
live.view
---
ask_both(get_peft_model(model, lora), tokenizer, "who?", max_new_tokens=2)
"""
WIDGETS = ".jp-OutputArea-output .jupyter-widgets"
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def page(browser_path, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("axe")
    sources = (KNOBS + "---" + OTHERS).strip().split("\n---\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "widgets.ipynb")
    with (
        serving(folder) as server,
        browsing(browser_path, server, tmp_path_factory.mktemp("profile")) as browser,
    ):
        page = browser.new_page()
        page.goto(f"{server}/lab/tree/widgets.ipynb?token={TOKEN}&reset")
        run_all(page)
        assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
        page.wait_for_timeout(1000)  # until handles have their names
        yield page


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_no_widget_has_a_serious_violation(page, theme):
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
    page.wait_for_selector(f'body[data-jp-theme-name="{theme}"]', state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    assert page.locator(WIDGETS).count() > 100
    found = Axe().run(page, WIDGETS, {"resultTypes": ["violations"]})
    assert len(found.response["passes"]) > 5  # it has looked
    serious = {
        (violation["id"], violation["impact"], node["target"][-1], node["html"][:160])
        for violation in found.response["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    }
    assert not serious, "\n".join(map(str, sorted(serious)))

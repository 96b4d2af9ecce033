"""Two answers side by side: each is the model's own, and the model stays as it was."""

import copy
import gc
import weakref
from types import SimpleNamespace

import datasets
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer

from helpers._language import CHOICE, tr
from helpers.evaluation import generate_answers
from helpers.models import load_model
from helpers.playground.answering import BASE, Answering
from helpers.stand_in import make_page_stand_in
from helpers.widgets import AskBoth, ask_both

QUESTION = "Where is <b>north</b>?"
FEW = 6


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A tiny model with two adapters that do something, of different alpha."""
    datasets.disable_progress_bars()
    page = make_page_stand_in(tmp_path_factory.mktemp("page"))
    base, tokenizer = load_model(page, dtype=torch.float32)
    torch.manual_seed(0)
    lora = dict(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(base, LoraConfig(lora_alpha=64, **lora), adapter_name="first")
    model.add_adapter("second", LoraConfig(lora_alpha=32, **lora))
    return model, tokenizer


def scalings(model):
    """What each adapter's product is multiplied with, layer by layer."""
    for name, module in model.named_modules():
        if isinstance(getattr(module, "scaling", None), dict):
            yield name, dict(module.scaling)


def test_each_side_answers_as_the_model_does(loaded):
    model, tokenizer = loaded
    both = ask_both(model, tokenizer, QUESTION, max_new_tokens=FEW)
    with model.disable_adapter():
        [base] = generate_answers(model, tokenizer, [QUESTION], max_new_tokens=FEW)
    [adapted] = generate_answers(model, tokenizer, [QUESTION], max_new_tokens=FEW)
    assert both.answers == {"left": base, "right": adapted} and base != adapted
    assert str(both).splitlines()[0] == QUESTION and "first at alpha 64" in str(both)
    both.right.name.value = "second"
    assert both.right.alpha.value == 32
    model.set_adapter("second")
    [second] = generate_answers(model, tokenizer, [QUESTION], max_new_tokens=FEW)
    model.set_adapter("first")
    both.button.click()
    assert both.answers["right"] == second != adapted


def test_alpha_zero_is_the_base_and_the_model_stays_as_it_was(loaded):
    model, tokenizer = loaded
    model.train()
    before = model.active_adapter, [p.requires_grad for p in model.parameters()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scaling = dict(scalings(model))
    asking, grown = Answering(model, tokenizer), []
    nothing = asking.answer(QUESTION, "second", alpha=0, max_new_tokens=FEW, so_far=grown.append)
    assert nothing == asking.answer(QUESTION, BASE, max_new_tokens=FEW)
    assert grown[-1] == nothing and all(nothing.startswith(part) for part in grown)
    assert before == (model.active_adapter, [p.requires_grad for p in model.parameters()])
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training and scaling == dict(scalings(model))
    model.eval()


def test_what_goes_wrong_is_said_in_the_view(loaded):
    model, tokenizer = loaded
    both = ask_both(model, tokenizer, max_new_tokens=FEW)
    assert both.answers == {} and "field for a question" in str(both)
    both.right.alpha.field.value = "much"
    both.question.value = QUESTION  # Enter
    assert 'role="alert"' in both._message.value and "alpha, right must be" in both._message.value
    assert both.answers["left"] and both.answers["right"] == ""
    both.right.alpha.value = 8
    both.ask(QUESTION)
    assert both.answers["right"] and "Both have answered" in both._message.value
    assert "<b>north" not in both.left._answer.value + both._message.value


def test_a_field_left_for_the_button_asks_once(loaded, monkeypatch):
    model, tokenizer = loaded
    both = ask_both(model, tokenizer, max_new_tokens=1)
    asked = []
    for side in both.sides:
        monkeypatch.setattr(side, "ask", lambda question, most: asked.append(question) or "")
    both.question.value = "a?"
    both.button.click()
    assert asked == ["a?"] * 2  # two sides, once each
    both.right.name.value = BASE
    both.button.click()
    assert asked == ["a?"] * 4
    both.question.value = "  "
    assert len(asked) == 4


def test_only_what_is_new_moves_the_right_side_in_any_language(monkeypatch):
    monkeypatch.setenv(CHOICE, "ro")
    source = SimpleNamespace(
        names=(BASE, "style"), default="style", trained_alpha=lambda name: None
    )
    both = AskBoth(source)
    both.right.name.value = BASE
    both.offer()
    assert both.right.name.value == BASE and str(both.left) == tr(BASE) != BASE
    source.names, source.default = (*source.names, "new"), "new"
    both.offer()
    assert str(both.right) == "new" and both.left.name.value == BASE


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"question": 1}, "question"),
        ({"left": "third"}, "left"),
        ({"max_new_tokens": 0}, "max_new"),
    ],
)
def test_a_wrong_argument_is_named(loaded, arguments, name):
    with pytest.raises((TypeError, ValueError), match=name):
        ask_both(*loaded, **arguments)


def test_a_plain_model_has_a_base_alone(loaded):
    model, tokenizer = loaded
    asking = Answering(model.get_base_model(), tokenizer)
    assert asking.names == (BASE,) and asking.default == BASE
    with pytest.raises(ValueError, match="alpha must be None"):
        asking.answer("a?", BASE, alpha=3)
    with pytest.raises(ValueError, match="name must be one of"):
        asking.answer("a?", "first")


def test_a_model_in_training_is_not_asked(loaded):
    class Training(Trainer):
        def __init__(self, model):
            self.model = model

        def train(self):
            return Answering(*loaded).answer("a?", BASE, max_new_tokens=1)

    with pytest.raises(RuntimeError, match="being trained"):
        Training(loaded[0]).train()
    assert isinstance(Training(torch.nn.Linear(1, 1)).train(), str)  # another model


def test_closed_it_lets_go_of_the_model_and_keeps_what_was_said(loaded):
    _, tokenizer = loaded
    model = copy.deepcopy(loaded[0])
    alive = weakref.ref(model)
    both = ask_both(model, tokenizer, QUESTION, max_new_tokens=FEW)
    said = str(both)
    both.close()
    del model
    gc.collect()
    assert alive() is None and str(both) == said
    both.button.click()
    assert both.button.disabled and "run this cell again" in both.shown

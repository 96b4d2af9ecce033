"""The explorers without a browser: what the page sends moves, and what it would then be shown."""

import json
import math
import re
from html import escape, unescape
from xml.etree import ElementTree

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoConfig, AutoModelForCausalLM

from helpers.evaluation import generate_answers, score_style
from helpers.memory import OPTIMIZERS, PRECISIONS, estimate_training_memory, sharded_memory
from helpers.models import load_model
from helpers.params import count_lora_parameters
from helpers.stand_in import make_page_stand_in
from helpers.widgets import (
    PAGE,
    RANKS,
    lora_explorer,
    lora_source,
    sharding_explorer,
    training_explorer,
)
from helpers.widgets.controls import WIDGET_VIEW
from helpers.widgets.cost_controls import PAGE_FIELDS, TYPED

TINY = AutoConfig.for_model(
    "llama",
    vocab_size=64,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    num_key_value_heads=1,
    head_dim=8,
)


@pytest.fixture
def explorer():
    return lora_explorer(TINY)


def send(widget, **state) -> None:
    """What the page does when a control is moved."""
    widget.set_state(state)


def picture_of(explorer) -> ElementTree.Element:
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", explorer.shown, re.DOTALL)[0])


# --- a control is moved ------------------------------------------------------------------------


MOVES = {
    "rank": (lambda e: send(e.rank.slider, index=RANKS.index(16)), {"r": 16}),
    "rank, typed": (lambda e: send(e.rank.field, value="5"), {"r": 5}),
    "alpha": (lambda e: send(e.alpha.slider, index=0), {"lora_alpha": 1}),
    "preset": (
        lambda e: send(e.preset, index=1),
        {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    ),
    "targets": (
        lambda e: send(e.targets, value=" q_proj,'v_proj'"),
        {"target_modules": ["q_proj", "v_proj"]},
    ),
    "pattern": (
        lambda e: send(e.targets, value=r".*\.1\..*\.(q|v)_proj"),
        {"target_modules": r".*\.1\..*\.(q|v)_proj"},
    ),
    "dropout": (lambda e: send(e.dropout, index=0), {"lora_dropout": 0.0}),
    "bias": (lambda e: send(e.bias, index=1), {"bias": "all"}),
    "DoRA": (lambda e: send(e.dora, value=True), {"use_dora": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_a_move_shows_the_count_the_file_and_the_source_of_the_new_configuration(explorer, name):
    move, fields = MOVES[name]
    move(explorer)
    wanted = LoraConfig(**{field: getattr(PAGE, field) for field in PAGE_FIELDS} | fields)
    count = count_lora_parameters(TINY, wanted)
    assert explorer.problem == "" and explorer.lora_config == wanted
    assert explorer.count == count
    assert f"{count.trainable:,} of {count.total:,} ({count.percent:.4f} %)" in explorer.shown
    assert f"{4 * count.trainable / 1e6:,.1f} MB" in explorer.shown
    source = re.search(r"<pre.*?>(.*)</pre>", explorer.shown, re.DOTALL)[1]
    assert eval(unescape(source)) == wanted


def estimates(config, **changes):
    step = dict(batch_size=4, sequence_length=512, precision="bf16", optimizer="adamw")
    step |= changes
    return {
        "full": estimate_training_memory(TINY, None, **step),
        "LoRA": estimate_training_memory(TINY, config, **step),
        "QLoRA": estimate_training_memory(TINY, config, **{"quantization": "nf4-double"} | step),
    }


@pytest.mark.parametrize(
    ("move", "asked"),
    [
        (lambda e: None, {}),
        (lambda e: send(e.batch_size.slider, index=0), {"batch_size": 1}),
        (lambda e: send(e.sequence_length.field, value="100"), {"sequence_length": 100}),
        (lambda e: send(e.precision, index=0), {"precision": PRECISIONS[0]}),
        (lambda e: send(e.optimizer, index=3), {"optimizer": OPTIMIZERS[3]}),
        (lambda e: send(e.checkpointing, value=True), {"gradient_checkpointing": True}),
    ],
)
def test_the_picture_shows_the_estimates_of_the_step_that_the_controls_describe(
    explorer, move, asked
):
    move(explorer)
    wanted = estimates(PAGE, **asked)
    assert explorer.memory == wanted
    for row in explorer._parts():
        assert sum(explorer._parts()[row].values()) == wanted[row].total
    alt = picture_of(explorer).get("aria-label")
    card = "T4 in float16" if asked.get("precision") != "fp32" else "T4"  # it has no bfloat16
    for name, estimate in wanted.items():
        assert f"{name}: {estimate.total / 2**20:.0f} MiB, fits {card} (" in alt


def test_quantization_moves_qlora_alone(explorer):
    before = explorer.memory
    explorer.quantization.value = "int8"
    assert {name for name in before if explorer.memory[name] != before[name]} == {"QLoRA"}
    settings = dict(batch_size=4, sequence_length=512, quantization="int8")
    assert explorer.memory["QLoRA"] == estimate_training_memory(TINY, PAGE, **settings)


def test_a_field_and_its_slider_follow_each_other_and_only_a_hand_moves_a_typed_rank(explorer):
    send(explorer.rank.field, value="5")
    assert (explorer.rank.value, explorer.rank.slider.value) == (5, 6)
    send(explorer.rank.slider, index=RANKS.index(8))
    assert (explorer.rank.value, explorer.rank.field.value) == (8, "8")
    explorer.rank.value = 10**9
    assert (explorer.rank.value, explorer.rank.slider.value) == (10**9, RANKS[-1])


@pytest.mark.parametrize(
    ("control", "typed", "value"),
    [
        ("rank", "4096", 4096),
        ("rank", " 7 ", 7),
        ("alpha", "8.5", 8.5),
        ("alpha", "0.5", 0.5),
        ("alpha", "1000", 1000),
        ("batch_size", "3", 3),
        ("sequence_length", "100000", 100000),
    ],
)
def test_a_typed_number_is_taken_as_typed(explorer, control, typed, value):
    send(getattr(explorer, control).field, value=typed)
    assert explorer.problem == "" and getattr(explorer, control).value == value
    assert getattr(explorer, control).field.value == typed
    seen = {
        "rank": lambda: explorer.lora_config.r,
        "alpha": lambda: explorer.lora_config.lora_alpha,
        "batch_size": lambda: int(re.search(r"step, (\d+) ×", str(explorer))[1]),
        "sequence_length": lambda: int(re.search(r"× (\d+) tokens", str(explorer))[1]),
    }
    assert seen[control]() == value


@pytest.mark.parametrize(
    ("control", "typed"),
    [
        *(("rank", typed) for typed in ("2.5", "0", "-3", "abc", "", "1e3", "∞")),
        *(("alpha", typed) for typed in ("0", "-1", "abc", "", "nan", "inf")),
        ("batch_size", "2.5"),
        ("sequence_length", "many"),
    ],
)
def test_what_is_no_number_is_refused_and_never_rounded(explorer, control, typed):
    before, slider = explorer.lora_config, getattr(explorer, control).slider.value
    send(getattr(explorer, control).field, value=typed)
    label = {"rank": "rank r", "alpha": "lora_alpha", "batch_size": "batch size"}.get(control)
    assert f"{label or 'tokens a row'} must be" in explorer.problem
    assert explorer.problem.endswith(f"You typed: {typed or 'nothing'}")
    assert "This does not work" in explorer._message.value
    assert getattr(explorer, control).field.value == typed  # to be mended, not replaced
    assert explorer.lora_config == before and getattr(explorer, control).slider.value == slider
    other = getattr(explorer, control).slider
    send(other, index=len(other.options) - 1)  # a slider moved is a way out
    assert explorer.problem == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lora_config": LoraConfig(r=8)}, "target_modules is empty"),
        ({"lora_config": LoraConfig(target_modules=["query"])}, "Module names that exist"),
        ({"model": "Qwen3-30B-A3B"}, "lora_dropout != 0"),
        ({"model": "GPT-2", "sequence_length": 5000}, "sequence_length must be at most 1024"),
    ],
)
def test_a_first_state_that_does_not_work_is_explained_in_place(arguments, words):
    explorer = lora_explorer(**{"model": TINY} | arguments)
    shown = bundle(explorer)
    assert words in explorer.problem and words in shown["text/plain"]
    assert words in unescape(explorer.shown) and "image/svg+xml" not in shown
    assert explorer.lora_config is explorer.count is None and explorer.memory == {}
    explorer.model.value, explorer.targets.value = "GPT-2", "all-linear"
    explorer.sequence_length.value, explorer.dropout.value = 64, 0.0
    assert explorer.problem == "" and explorer.count.trainable > 0
    assert "image/svg+xml" in bundle(explorer)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"lora_alpha": 0}, "lora_alpha must be finite and above 0, got 0 (int)"),
        ({"lora_alpha": "16"}, "lora_alpha must be a number, got '16' (str)"),
        ({"lora_dropout": 1.5}, "lora_dropout must be a probability, from 0 to 1, got 1.5"),
        ({"lora_dropout": 2, "lora_alpha": math.nan}, "lora_alpha must be finite"),
        ({"r": -8}, "r must be a whole number of at least 1, got -8 (int)"),
    ],
)
def test_a_number_that_no_control_can_stand_at_is_explained_in_place(numbers, words):
    config = LoraConfig(target_modules="all-linear")
    for name, number in numbers.items():  # PEFT refuses some of them, and others only when used
        setattr(config, name, number)
    explorer = lora_explorer(TINY, config)
    assert words in explorer.problem and words in unescape(explorer.shown)
    assert explorer.lora_config is None and 'role="alert"' in explorer._message.value
    explorer.rank.value = 16
    assert explorer.problem == "" and explorer.lora_config.r == 16
    assert (
        explorer.lora_config.lora_alpha == (PAGE if "lora_alpha" in numbers else config).lora_alpha
    )


def test_what_cannot_be_counted_is_explained_in_place_though_it_has_no_control():
    unknown = LoraConfig(target_modules="all-linear")
    unknown.init_lora_weights = "eva"  # needs a library and data when it is made with it
    explorer = lora_explorer(TINY, unknown)
    assert "init_lora_weights='eva' is not supported" in explorer.problem
    assert "init_lora_weights" in explorer.shown


def test_a_rank_that_saves_little_is_remarked_on(explorer):
    assert "saves little" not in explorer.shown
    explorer.rank.value = 64
    assert "as many numbers as the model has" in explorer.shown


def test_a_preset_follows_the_model_and_a_typed_list_does_not():
    explorer = lora_explorer()
    explorer.preset.value = "attention"
    explorer.model.value = "GPT-2"
    assert explorer.targets.value == "c_attn" and explorer.problem == ""
    explorer.targets.value = "c_fc"
    assert explorer.preset.value == TYPED
    explorer.model.value = "OPT-350m"
    assert explorer.targets.value == "c_fc" and "c_fc" in explorer.problem
    explorer.targets.value = "all-linear"
    assert explorer.preset.value == "all linear layers" and explorer.problem == ""


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (lambda e: send(e.targets, value=""), "target_modules is empty"),
        (lambda e: send(e.targets, value="c_attn"), "Module names that exist: "),
        (lambda e: send(e.targets, value="(q_proj"), "target_modules="),
        (
            lambda e: [setattr(e.model, "value", "Qwen3-30B-A3B"), send(e.dropout, index=1)],
            "lora_dropout != 0",
        ),
        (
            lambda e: [
                send(e.dropout, index=0),
                send(e.dora, value=True),
                setattr(e.model, "value", "Qwen3-30B-A3B"),
            ],
            "does not work with use_dora=True",
        ),
    ],
)
def test_what_does_not_work_is_explained_in_place_and_can_be_taken_back(explorer, move, words):
    before = explorer.shown
    move(explorer)
    assert words in explorer.problem
    alert = ElementTree.fromstring(explorer._message.value)
    assert alert.get("role") == "alert" and explorer.problem in "".join(alert.itertext())
    assert explorer._result.value.startswith('<div style="opacity:0.3">')
    move(explorer)  # twice the same mistake does not fade it twice
    assert explorer._result.value.count("opacity:0.3") == 1
    explorer.model.value, explorer.dora.value, explorer.dropout.value = TINY, False, 0.05
    explorer.preset.value = TYPED
    explorer.targets.value = "all-linear"
    assert explorer.shown == before and explorer.problem == ""


def test_a_model_whose_memory_cannot_be_predicted_is_counted_all_the_same():
    config = AutoConfig.for_model(
        "olmo2", vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, eos_token_id=0,
    )  # fmt: skip
    explorer = lora_explorer(config)
    assert explorer.problem == "" and explorer.memory == {} and explorer.picture() == ""
    assert f"{count_lora_parameters(config, PAGE).trainable:,} of" in explorer.shown
    assert "The memory of QLoRA cannot be predicted here" in explorer._message.value
    assert "image/svg+xml" not in bundle(explorer)


def test_a_target_that_peft_passes_over_in_silence_is_named(explorer, recwarn):
    for rank in (4, 8):  # each time, not only when PEFT is asked
        explorer.targets.value, explorer.rank.value = "q_proj, vproj", rank
        assert explorer.problem == ""
        assert "&#x27;vproj&#x27; adapts nothing" in explorer._message.value
        assert "q_proj&#x27; adapts" not in explorer._message.value
    explorer.targets.value = "q_proj, self_attn.v_proj"
    assert explorer._message.value == ""
    assert not [warning for warning in recwarn if "matches no" in str(warning.message)]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"model": "no-such-model"}, ValueError, "no-such-model"),
        ({"lora_config": {"r": 8}}, TypeError, "lora_config"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"sequence_length": 1.5}, TypeError, "sequence_length"),
    ],
)
def test_bad_arguments_are_named(arguments, error, words, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(error, match=words):
        lora_explorer(**{"model": TINY} | arguments)


# --- what else it stands for -------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        PAGE,
        LoraConfig(),
        LoraConfig(target_modules=["b", "a"], use_rslora=True, rank_pattern={r"\.1\.": 3}),
        LoraConfig(target_modules=r".*\.(q|v)_proj", modules_to_save=["head"], use_dora=True),
        LoraConfig(layers_to_transform=[0, 2], init_lora_weights="pissa", task_type="SEQ_CLS"),
    ],
)
def test_the_source_makes_an_equal_configuration(config):
    assert eval(lora_source(config)) == config


@pytest.mark.parametrize(
    "fields", [{}, {"use_dora": True}, {"r": 32, "target_modules": ["q_proj"]}]
)
def test_the_size_on_disk_is_that_of_peft_s_file(tmp_path, fields):
    config = LoraConfig(**dict(target_modules="all-linear", task_type="CAUSAL_LM") | fields)
    model = AutoModelForCausalLM.from_config(TINY, dtype=torch.bfloat16)
    get_peft_model(model, config).save_pretrained(tmp_path)
    content = (tmp_path / "adapter_model.safetensors").read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    assert len(content) - header == 4 * lora_explorer(TINY, config).count.trainable


def test_fields_without_a_control_stay():
    config = LoraConfig(target_modules=["q_proj"], rank_pattern={"q_proj": 2}, use_rslora=True, r=9)
    explorer = lora_explorer(TINY, config, batch_size=3)
    assert explorer.lora_config == config and explorer.batch_size.value == 3
    assert f"{config.lora_alpha / 3:.3g}" in str(explorer)  # alpha / √r


def bundle(explorer) -> dict:
    return explorer._repr_mimebundle_()


def test_without_a_kernel_there_is_the_same_picture_and_text_each_time(explorer):
    first, second = bundle(explorer), bundle(lora_explorer(TINY))
    assert first.pop(WIDGET_VIEW)["model_id"] == explorer.view.model_id
    assert second.pop(WIDGET_VIEW)["model_id"] != explorer.view.model_id
    assert first == second
    picture = ElementTree.fromstring(first["image/svg+xml"])
    assert picture.get("role") == "img" and "QLoRA: " in picture.get("aria-label")
    assert "background:white" in picture.get("style")
    assert "background" not in picture_of(explorer).get("style")
    assert f"{explorer.count.trainable:,}" in first["text/plain"]
    assert lora_source(PAGE) in first["text/plain"]
    assert json.dumps(first)


# --- a trained adapter -------------------------------------------------------------------------


QUESTIONS, ACCEPTED = ["What is 1?", "And 2? <b>"], [["1"], ["2"]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny model with an adapter that changes its answers, and the model's tokenizer."""
    base, tokenizer = load_model(make_page_stand_in(tmp_path_factory.mktemp("page")))
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model, tokenizer


def scalings(model) -> list[float]:
    return [m.scaling["default"] for m in model.modules() if isinstance(m, LoraLayer)]


def test_alpha_rescales_a_trained_adapter_and_is_put_back(trained):
    model, tokenizer = trained
    before = scalings(model)
    explorer = training_explorer(
        model, tokenizer, QUESTIONS, ACCEPTED, alphas=(16, 0, 8), max_new_tokens=6
    )
    assert scalings(model) == before
    assert list(explorer.answers) == [0, 8, 16]
    as_trained = generate_answers(model, tokenizer, QUESTIONS, max_new_tokens=6)
    assert explorer.answers[8] == as_trained
    with model.disable_adapter():
        base = generate_answers(model, tokenizer, QUESTIONS, max_new_tokens=6)
    assert explorer.answers[0] == base != as_trained
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.scaling["default"] = 16 / 4
    doubled = generate_answers(model, tokenizer, QUESTIONS, max_new_tokens=6)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.scaling["default"] = 8 / 4
    assert explorer.answers[16] == doubled
    for alpha, answers in explorer.answers.items():
        assert explorer.scores[alpha] == score_style(answers, ACCEPTED)


def test_the_alpha_slider_shows_the_answers_computed_before(trained, monkeypatch):
    explorer = training_explorer(*trained, QUESTIONS, ACCEPTED, alphas=(0, 8), max_new_tokens=6)
    monkeypatch.setattr(
        "helpers.widgets.alpha.generate_answers", lambda *a, **k: pytest.fail("too slow")
    )
    slider = explorer.view.children[0].children[1].children[0]
    seen = {}
    for index, alpha in ((1, 8), (0, 0)):
        send(slider, index=index)
        assert explorer.alpha.value == alpha
        seen[alpha] = explorer.shown
        for question, answer in zip(QUESTIONS, explorer.answers[alpha], strict=True):
            assert f"<td>{escape(question)}</td><td>{escape(answer)}</td>" in seen[alpha]
        assert f"alpha {alpha}, scaling {alpha / 4:g}: " in seen[alpha]
    assert seen[0] != seen[8]
    send(explorer.alpha, index=1)  # the labelled field beside it moves the slider
    assert slider.value == 8 and explorer.shown == seen[8]
    data = bundle(explorer)
    assert ElementTree.fromstring(data["image/svg+xml"]).get("role") == "img"
    assert data["text/plain"].splitlines() == [explorer._words(alpha) for alpha in (0, 8)]


def test_the_alpha_is_put_back_after_a_failure(trained, monkeypatch):
    def fail(*arguments, **options):
        raise KeyboardInterrupt

    before = scalings(trained[0])
    monkeypatch.setattr("helpers.widgets.alpha.generate_answers", fail)
    with pytest.raises(KeyboardInterrupt):
        training_explorer(*trained, QUESTIONS, ACCEPTED)
    assert scalings(trained[0]) == before


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "x"}, TypeError, "model must be a PeftModel"),
        ({"questions": []}, ValueError, "questions must be"),
        ({"accepted": [["1"]]}, ValueError, "accepted must be"),
        ({"alphas": [8]}, ValueError, "alphas must be"),
        ({"alphas": [8, 8]}, ValueError, "alphas must be"),
        ({"alphas": [0, float("inf")]}, ValueError, "alphas must be"),
        ({"alphas": [-1, 8]}, ValueError, "alphas must be"),
    ],
)
def test_bad_arguments_to_the_second_are_named(trained, changes, error, words):
    names = ("model", "tokenizer", "questions", "accepted")
    arguments = dict(zip(names, (*trained, QUESTIONS, ACCEPTED), strict=True))
    with pytest.raises(error, match=words):
        training_explorer(**arguments | changes)


# --- sharding ------------------------------------------------------------------------------------


def test_the_sharding_explorer_shows_what_each_gpu_holds_and_sends():
    explorer = sharding_explorer("Llama-3.1-8B", devices=4)
    step = dict(batch_size=1, sequence_length=2048, gradient_checkpointing=True)
    config = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    assert explorer.memory == sharded_memory("Llama-3.1-8B", config, devices=4, **step)
    send(explorer.devices.field, value="5")
    assert (explorer.devices.value, explorer.devices.slider.value) == (5, 6)
    send(explorer.way, index=2)
    send(explorer.rows.slider, index=1)
    wanted = sharded_memory("Llama-3.1-8B", devices=5, **step | {"batch_size": 2})
    assert explorer.memory == wanted and set(wanted) == {"DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3"}
    alt = picture_of(explorer).get("aria-label")
    assert f"ZeRO-3: {sum(wanted['ZeRO-3'].values()) / 2**30:.2f} GiB" in alt
    gradients = wanted["DDP"]["weights"]  # 0.8 × 2 × 16 GB; ZeRO-3 moves half as much again
    assert explorer.sent["DDP"] == pytest.approx(0.8 * 2 * gradients)
    assert f"{explorer.sent['ZeRO-3'] / 1e9:,.2f} GB with ZeRO-3" in explorer.shown
    for text in ("0", "x"):
        send(explorer.devices.field, value=text)
        assert "GPUs must be a whole number" in explorer.problem and "alert" in explorer.shown
        assert str(explorer).startswith("This does not work.")
    send(explorer.devices.slider, index=0)
    assert explorer.sent["ZeRO-3"] == 0 and explorer.memory["ZeRO-3"] == explorer.memory["DDP"]
    assert WIDGET_VIEW in explorer._repr_mimebundle_()

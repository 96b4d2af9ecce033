"""Adapters that are handed in: nothing in them reaches the grade of the next student."""

import json
import os
import signal
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load, save
from submissions import corpus
from submissions.wrong_answers import with_config
from transformers import AutoConfig, AutoModelForCausalLM

from helpers.data import course_adapter
from helpers.grading.adapter_files import CONFIG, WEIGHTS, files_of
from helpers.grading.exercises import EXERCISES, adapters, scoring, scoring_process
from helpers.grading.exercises.adapter_settings import LINEAR
from helpers.grading.grader import Grader
from helpers.grading.outcomes import Outcome
from helpers.grading.submissions import Submission
from helpers.models import prepare_small_model

pytestmark = pytest.mark.slow

STYLE = files_of(course_adapter("style"))
TENSORS = load(STYLE[WEIGHTS])
NAMES = sorted(TENSORS)
BASE_NAMES = ["base_model.model.model.norm.weight", "model.norm.weight", "lm_head.weight"]
ROWS = (0, 1)


def with_tensors(change) -> dict[str, bytes]:
    tensors = dict(TENSORS)
    change(tensors)
    return {**STYLE, WEIGHTS: save(tensors)}


def with_header(change) -> dict[str, bytes]:
    """The course's adapter with its header rewritten; the data stays."""
    (size,) = struct.unpack("<Q", STYLE[WEIGHTS][:8])
    header = json.loads(STYLE[WEIGHTS][8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return {**STYLE, WEIGHTS: struct.pack("<Q", len(text)) + text + STYLE[WEIGHTS][8 + size :]}


a_name = st.sampled_from(NAMES)
HOSTILE = st.one_of(
    # a base tensor more, or in place of two of LoRA's
    st.tuples(st.sampled_from(BASE_NAMES), st.lists(a_name, max_size=2)).map(
        lambda drawn: with_tensors(
            lambda t: (t.update({drawn[0]: torch.zeros(576)}), [t.pop(n, 0) for n in drawn[1]])
        )
    ),
    a_name.map(lambda n: with_tensors(lambda t: t.pop(n))),
    a_name.map(lambda n: with_tensors(lambda t: t.update({n.replace(".weight", ""): t.pop(n)}))),
    a_name.map(lambda n: with_tensors(lambda t: t.update({n: t[n][:0]}))),
    a_name.map(lambda n: with_tensors(lambda t: t.update({n: t[n] * float("nan")}))),
    a_name.map(lambda n: with_tensors(lambda t: t.update({n: t[n].to(torch.float8_e4m3fn)}))),
    a_name.map(lambda n: with_tensors(lambda t: t.update({n: t[n].to(torch.int64)}))),
    a_name.map(lambda n: with_tensors(lambda t: t.update({n: t[n][(None,) * 40]}))),
    a_name.map(lambda n: with_header(lambda h: h[n].update(shape=[1 << 40, 1 << 20]))),
    a_name.map(lambda n: with_header(lambda h: h[n].update(data_offsets=[0, 16]))),
    a_name.map(lambda n: with_header(lambda h: h[n].update(shape=None))),
    st.integers(9, 10**12).map(lambda r: with_config(r=r)(STYLE)),
    st.sampled_from([["q_proj"], ["norm"], ["self_attn.q_proj", "lm_head"]]).map(
        lambda names: with_config(target_modules=names)(STYLE)
    ),
    st.sampled_from([None, "8", [8], True, -1, 0, float("nan")]).map(
        lambda r: with_config(r=r)(STYLE)
    ),
    st.binary(max_size=200).map(lambda data: {**STYLE, WEIGHTS: data}),
    st.binary(max_size=200).map(lambda data: {**STYLE, CONFIG: data}),
)


@settings(max_examples=100, deadline=None)
@given(HOSTILE)
def test_a_hostile_adapter_never_gets_as_far_as_the_model(files):
    """Reading is the one door: what comes through has exactly the tensors that its configuration
    implies, so it has nothing with which to touch a weight of the base."""
    with pytest.raises(adapters.Unusable):
        adapters.read_adapter(files)


def test_200_000_tensors_are_refused_before_any_is_read(monkeypatch):
    monkeypatch.setattr(adapters, "load", None)
    many = {
        f"base_model.x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for i in range(200_000)
    }
    text = json.dumps(many).encode()
    with pytest.raises(adapters.Unusable, match="larger than 256 KB"):
        adapters.read_adapter({**STYLE, WEIGHTS: struct.pack("<Q", len(text)) + text})


MADE_WITH = {
    "one module": {"target_modules": ["q_proj"]},
    "longer names": {"target_modules": ["self_attn.v_proj", "0.mlp.up_proj"]},
    "all linear layers": {"target_modules": "all-linear", "use_rslora": True},
    "some left out": {"exclude_modules": ["down_proj", "layers.0.self_attn.q_proj"]},
    "some layers": {"layers_to_transform": [0, 5], "layers_pattern": "layers"},
    "one layer": {"layers_to_transform": 3, "init_lora_weights": "gaussian"},
    "ranks and alphas": {
        "rank_pattern": {"q_proj": 7, "model.layers.1.mlp.up_proj": 2},
        "alpha_pattern": {"self_attn.v_proj": 5},
    },
}


@pytest.mark.parametrize("settings", MADE_WITH.values(), ids=list(MADE_WITH))
def test_what_a_configuration_implies_is_what_peft_saves(settings, tmp_path):
    base = AutoConfig.from_pretrained(prepare_small_model(), local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(base)
        modules = {"target_modules": list(LINEAR), "task_type": "CAUSAL_LM"}
        model = get_peft_model(model, LoraConfig(**modules | {"r": 3} | settings))
    saved = get_peft_model_state_dict(model, save_embedding_layers=False)
    model.peft_config["default"].save_pretrained(tmp_path)
    ones = {name: torch.ones(t.shape) for name, t in saved.items()}
    files = {CONFIG: (tmp_path / CONFIG).read_bytes(), WEIGHTS: save(ones)}
    config, tensors = adapters.read_adapter(files)
    assert tensors.keys() == saved.keys()
    update = adapters._update(config, tensors)
    for name, module in model.named_modules():
        if name in update:
            assert update[name][1].unique().item() == pytest.approx(module.scaling["default"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_dora", True),
        ("bias", "lora_only"),
        ("lora_bias", True),
        ("modules_to_save", ["lm_head"]),
        ("target_parameters", ["mlp.experts.gate_up_proj"]),
        ("trainable_token_indices", [1, 2]),
        ("alora_invocation_tokens", [1]),
        ("init_lora_weights", "pissa"),
        ("target_modules", ".*proj"),
        ("exclude_modules", "(.+)+q"),
        ("layers_to_transform", ["1"]),
        ("rank_pattern", {"q_proj": 65}),
        ("alpha_pattern", {"(q+)+": 2}),
    ],
)
def test_what_is_more_than_plain_lora_is_named(field, value):
    with pytest.raises(adapters.Unusable, match=field):
        adapters.read_adapter(with_config(**{field: value})(STYLE))


def test_a_setting_of_a_newer_peft_waits_for_a_person():
    result = graded(with_config(new_way=True, new_and_unused=None)(STYLE), reference=True)
    assert (result.outcome, result.points) == (Outcome.LACKING, None)
    assert result.detail == "a newer PEFT, for new_way"


def graded(files, **named):
    content = corpus.notebook([corpus.code("# EXERCISE: train_style")])
    submission = Submission("x", "x.ipynb", content, None, "", {"train_style": files}, **named)
    return Grader(None, "seed").grade_exercise(EXERCISES["train_style"], [], submission)


def test_the_next_student_gets_the_grade_that_is_due(monkeypatch):
    """After an adapter with a base tensor, and after scoring that hangs and is killed."""
    smuggled = with_tensors(lambda t: t.update({BASE_NAMES[0]: torch.zeros(576)}))
    assert graded(smuggled).points == 0
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "SECONDS", 0.5)
        os.kill(scoring.SCORER.process.pid, signal.SIGSTOP)
        hung = graded(smuggled)
    assert (hung.outcome, hung.points) == (Outcome.GRADER_ERROR, None)
    due = graded(STYLE, reference=True)
    assert (due.outcome, due.points) == (Outcome.RIGHT, 5)


def test_a_base_that_has_changed_is_found_out_and_used_no_more(monkeypatch):
    scoring_process.style.cache_clear()
    honest = scoring_process.generate_answers

    def spoils(model, *rest, **named):
        answers = honest(model, *rest, max_new_tokens=1)
        with torch.no_grad():
            next(p for n, p in model.named_parameters() if "norm" in n).view(-1)[0] += 1
        return answers

    monkeypatch.setattr(scoring_process, "generate_answers", spoils)
    with pytest.raises(scoring_process.Spoiled):
        scoring_process.style(tuple(STYLE.items()), ROWS)
    scoring_process._base.cache_clear()


def test_an_update_that_is_the_course_s_own_is_known_in_every_disguise():
    order = torch.randperm(8)
    floats = {name: t.float() for name, t in TENSORS.items()}

    def disguised(of_A, of_B):
        return {n: of_A(t) if "lora_A" in n else of_B(t) for n, t in floats.items()}

    for weights in (
        disguised(lambda A: A * 2, lambda B: B / 2),
        disguised(lambda A: A * 1.02, lambda B: B / 1.02),
        disguised(lambda A: A[order].contiguous(), lambda B: B[:, order].contiguous()),
        disguised(lambda A: -A, lambda B: -B),
        {n: t + 0.02 * t.std() * torch.randn_like(t) for n, t in floats.items()},
        {n: t.half() for n, t in floats.items()},
    ):
        assert adapters.is_copy({**STYLE, WEIGHTS: save(weights)}, "style")
    own = disguised(torch.randn_like, lambda B: B)
    assert not adapters.is_copy({**STYLE, WEIGHTS: save(own)}, "style")
    assert not adapters.is_copy(STYLE, "structure") and not adapters.is_copy({}, "style")

"""The counts are PEFT's own: every case here adapts a real small model with PEFT and compares."""

import copy
import dataclasses
import json
import math
import re
import warnings

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.config import (
    ArrowConfig,
    BdLoraConfig,
    KasaConfig,
    MontecloraConfig,
    VeloraConfig,
)
from torch import nn

from helpers.architectures import get_architecture
from helpers.params import (
    ParameterCount,
    check_lora_config,
    count_lora_parameters,
    lora_parameters_of_linear,
    models,
)
from helpers.params import fields as lora_fields

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT warns about many a setting below

LLAMA = dict(
    model_type="llama",
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    vocab_size=50,
)
CONFIGS = {
    "llama": LLAMA,
    "llama-tied": {**LLAMA, "tie_word_embeddings": True, "attention_bias": True},
    "qwen2": {**LLAMA, "model_type": "qwen2"},
    "phi3": {**LLAMA, "model_type": "phi3", "pad_token_id": 0},
    "gemma3": {**LLAMA, "model_type": "gemma3_text", "head_dim": 8, "tie_word_embeddings": True},
    "gpt2": dict(model_type="gpt2", n_embd=24, n_layer=2, n_head=3, n_positions=16, vocab_size=50),
    "opt": dict(
        model_type="opt",
        hidden_size=24,
        ffn_dim=40,
        num_hidden_layers=2,
        num_attention_heads=3,
        word_embed_proj_dim=12,
        vocab_size=50,
        max_position_embeddings=16,
    ),
    "t5": dict(
        model_type="t5", d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3, vocab_size=50
    ),
    "bert": dict(
        model_type="bert",
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=3,
        vocab_size=50,
        max_position_embeddings=16,
        num_labels=5,
    ),
    "mixtral": {**LLAMA, "model_type": "mixtral", "num_local_experts": 4},
    "qwen3-moe": {
        **LLAMA,
        "model_type": "qwen3_moe",
        "head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
}
CONFIGS["roberta"] = {**CONFIGS["bert"], "model_type": "roberta", "num_labels": 2}
OWN_MLP = {"gpt2", "opt", "t5"}  # their configs name the width of the MLP otherwise
AUTO_CLASSES = {
    None: None,
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "SEQ_2_SEQ_LM": transformers.AutoModelForSeq2SeqLM,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
    "QUESTION_ANS": transformers.AutoModelForQuestionAnswering,
    "FEATURE_EXTRACTION": transformers.AutoModel,
}


def make_config(name, **changes):
    return transformers.AutoConfig.for_model(**{**CONFIGS[name], **changes})


def make_model(config, task_type):
    default = "SEQ_2_SEQ_LM" if config.is_encoder_decoder else "CAUSAL_LM"
    return AUTO_CLASSES[task_type or default].from_config(copy.deepcopy(config))


def peft_counts(model, lora_config):
    """What PEFT says after adapting a real model on the CPU."""
    return get_peft_model(model, copy.deepcopy(lora_config)).get_nb_trainable_parameters()


def assert_equals_peft(config, lora_config):
    expected = peft_counts(make_model(config, lora_config.task_type), lora_config)
    count = count_lora_parameters(config, lora_config)
    assert (count.trainable, count.total) == expected
    assert sum(count.by_module.values()) == count.trainable
    return count


NO_DEFAULTS = {"phi3", "mixtral", "qwen3-moe"}  # PEFT has no targets of its own for these
CASES = {
    "list": ("llama", dict(target_modules=["q_proj", "v_proj"])),
    "full name": ("llama", dict(target_modules=["model.layers.1.self_attn.q_proj"])),
    "regex": ("llama", dict(target_modules=r".*layers\.[02]\..*(q|down)_proj")),
    "all-linear": ("llama", dict(target_modules="all-linear")),
    "all-linear, Conv1D": ("gpt2", dict(target_modules="all-linear", fan_in_fan_out=True)),
    "all-linear, classifier": ("llama", dict(target_modules="all-linear", task_type="SEQ_CLS")),
    **{f"defaults of {name}": (name, {}) for name in CONFIGS if name not in NO_DEFAULTS},
    "tied embeddings": ("llama-tied", dict(target_modules=["embed_tokens", "q_proj"])),
    "tied embeddings and head": ("llama-tied", dict(target_modules=["embed_tokens", "lm_head"])),
    "tied adapters": (
        "llama-tied",
        dict(target_modules=["embed_tokens", "lm_head", "q_proj"], ensure_weight_tying=True),
    ),
    "tied adapters, rank_pattern": (
        "llama-tied",
        dict(
            target_modules=["embed_tokens", "lm_head", "q_proj"],
            ensure_weight_tying=True,
            rank_pattern={"embed_tokens": 2, "q_proj": 5},
        ),
    ),
    "fused projections": ("phi3", dict(target_modules=["qkv_proj", "gate_up_proj"])),
    "bias all": ("qwen2", dict(target_modules=["q_proj", "o_proj"], bias="all")),
    "bias lora_only": ("opt", dict(target_modules=["q_proj", "fc1"], bias="lora_only")),
    "bias all, BERT": ("bert", dict(task_type="SEQ_CLS", bias="all")),
    "projected embeddings": ("opt", dict(target_modules=["project_in", "project_out"])),
    "DoRA": ("llama", dict(target_modules="all-linear", use_dora=True)),
    "DoRA on embeddings": ("llama", dict(target_modules=["embed_tokens"], use_dora=True)),
    "lora_bias": ("qwen2", dict(target_modules=["q_proj"], lora_bias=True)),
    "rslora": ("llama", dict(use_rslora=True, target_modules=["q_proj"])),
    "modules_to_save": (
        "llama",
        dict(target_modules=["q_proj"], modules_to_save=["lm_head", "norm"]),
    ),
    "modules_to_save, tied": (
        "llama-tied",
        dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    ),
    "classifier head": ("roberta", dict(task_type="SEQ_CLS", target_modules=["query", "value"])),
    "token classifier": ("bert", dict(task_type="TOKEN_CLS")),
    "question answering": ("bert", dict(task_type="QUESTION_ANS")),
    "feature extraction": ("bert", dict(task_type="FEATURE_EXTRACTION")),
    "encoder-decoder": (
        "t5",
        dict(task_type="SEQ_2_SEQ_LM", target_modules=r".*decoder.*EncDecAttention\.(q|v)"),
    ),
    "rank_pattern": (
        "llama",
        dict(target_modules="all-linear", rank_pattern={"q_proj": 3, r"layers\.1\..*_proj": 2}),
    ),
    "rank_pattern, first match wins": (
        "llama",
        dict(target_modules="all-linear", rank_pattern={r"layers\.1\..*_proj": 2, "q_proj": 3}),
    ),
    "rank_pattern, anchored": (
        "llama",
        dict(target_modules=["q_proj"], rank_pattern={r"^model.layers.0.self_attn.q_proj": 11}),
    ),
    "layers_to_transform": ("llama", dict(target_modules=["q_proj"], layers_to_transform=[0, 2])),
    "one layer of a pattern": (
        "gpt2",
        dict(target_modules=["c_attn"], layers_to_transform=1, layers_pattern="h"),
    ),
    "exclude_modules": (
        "llama",
        dict(target_modules="all-linear", exclude_modules=r".*layers\.1\..*"),
    ),
    "target_parameters": (
        "qwen3-moe",
        dict(target_modules=["q_proj"], target_parameters=["experts.gate_up_proj"]),
    ),
    "two target_parameters": (
        "mixtral",
        dict(target_modules=[], target_parameters=["experts.gate_up_proj", "experts.down_proj"]),
    ),
    "target_parameters, rank_pattern": (
        "mixtral",
        dict(
            target_modules=[],
            target_parameters=["experts.gate_up_proj", "experts.down_proj"],
            rank_pattern={r"experts\.down_proj": 2},
        ),
    ),
    "experts named as before": ("mixtral", dict(target_modules=["w1", "w2", "w3", "q_proj"])),
    "fused experts, rank_pattern": (
        "mixtral",
        dict(target_modules=["w1", "w2", "w3", "q_proj"], rank_pattern={"q_proj": 7}),
    ),
    "all-linear, experts": ("qwen3-moe", dict(target_modules="all-linear")),
    "adapters in what is saved": (  # the copies' are trained, the originals' are not
        "llama",
        dict(target_modules=["q_proj", "down_proj"], modules_to_save=["attn"], bias="all"),
    ),
    "adapters in what is saved, rank_pattern": (
        "llama",
        dict(
            target_modules=["q_proj", "o_proj"],
            modules_to_save=["attn"],
            rank_pattern={"q_proj": 3},
        ),
    ),
    "token indices": (
        "llama",
        dict(target_modules=["q_proj"], trainable_token_indices=[1, 5, 7]),
    ),
    "token indices, tied": (
        "llama-tied",
        dict(target_modules=["q_proj"], trainable_token_indices=[1, 5]),
    ),
    "token indices, dict": (
        "llama",
        dict(
            target_modules=["q_proj"],
            trainable_token_indices={"embed_tokens": [0], "lm_head": [1, 2]},
        ),
    ),
    "inference_mode": ("llama", dict(target_modules=["q_proj"], inference_mode=True)),
    "layer_replication": (
        "llama",
        dict(target_modules=["q_proj"], layer_replication=[[0, 2], [1, 3]]),
    ),
    "rank above the width": ("llama", dict(target_modules=["q_proj"], r=40)),
    "gaussian": ("llama", dict(target_modules=["q_proj"], init_lora_weights="gaussian")),
    "pissa": ("llama", dict(target_modules="all-linear", init_lora_weights="pissa")),
    "pissa, rank above the width": (
        "llama",
        dict(target_modules=["q_proj"], init_lora_weights="pissa", r=40),
    ),
    "olora": ("llama", dict(target_modules=["q_proj"], init_lora_weights="olora")),
    "orthogonal": ("llama", dict(target_modules=["q_proj"], init_lora_weights="orthogonal", r=4)),
    "mica": ("llama", dict(target_modules=["q_proj"], init_lora_weights="mica")),
    "aLoRA": (
        "llama",
        dict(target_modules=["q_proj"], alora_invocation_tokens=[1, 2], task_type="CAUSAL_LM"),
    ),
    "VeLoRA": ("llama", dict(target_modules=["q_proj"], velora_config=VeloraConfig(num_groups=4))),
    "KaSA": ("llama", dict(target_modules=["q_proj"], kasa_config=KasaConfig())),
    "BD-LoRA": (
        "llama",
        dict(
            target_modules=["q_proj", "o_proj"],
            r=4,
            use_bdlora=BdLoraConfig(
                target_modules_bd_a=["o_proj"], target_modules_bd_b=["q_proj"], nblocks=2
            ),
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_peft(case):
    name, fields = CASES[case]
    assert_equals_peft(make_config(name), LoraConfig(**{"r": 6, **fields}))


@st.composite
def random_cases(draw):
    """A random small architecture and a random LoRA configuration, which PEFT may refuse."""
    name = draw(st.sampled_from(sorted(CONFIGS)))
    changes = {
        "vocab_size": draw(st.sampled_from([31, 64])),
        "tie_word_embeddings": draw(st.booleans()),
        **({"n_layer": 3} if name == "gpt2" else {"num_hidden_layers": draw(st.integers(1, 3))}),
        **({"intermediate_size": draw(st.sampled_from([17, 32]))} if name not in OWN_MLP else {}),
    }
    if "num_key_value_heads" in CONFIGS[name]:
        changes["num_key_value_heads"] = draw(st.sampled_from([1, 3, 6]))
    if name == "t5":
        changes["num_layers"] = changes.pop("num_hidden_layers")
    config = make_config(name, **changes)
    task_types = {"bert": ["SEQ_CLS", "TOKEN_CLS"], "roberta": ["SEQ_CLS"], "t5": ["SEQ_2_SEQ_LM"]}
    task_type = draw(st.sampled_from(task_types.get(name, [None, "CAUSAL_LM", "SEQ_CLS"])))

    with torch.device("meta"):
        model = make_model(config, task_type)
    kinds = (nn.Linear, nn.Embedding, transformers.pytorch_utils.Conv1D)
    leaves = sorted({n.split(".")[-1] for n, m in model.named_modules() if isinstance(m, kinds)})
    some = st.lists(st.sampled_from(leaves), min_size=1, max_size=3, unique=True)
    regex = some.map(lambda names: rf".*\.({'|'.join(names)})")
    fields = dict(
        r=draw(st.integers(1, 9)),
        task_type=task_type,
        target_modules=draw(st.one_of(some, regex, st.just("all-linear"), st.none())),
        bias=draw(st.sampled_from(["none", "all", "lora_only"])),
        use_rslora=draw(st.booleans()),
    )
    pattern = st.one_of(st.sampled_from(leaves), st.sampled_from([r".*\.1\..*", r"attn\..*"]))
    optional = {
        "rank_pattern": st.dictionaries(pattern, st.integers(1, 12), max_size=3),
        "exclude_modules": st.one_of(some, st.just(r".*\.0\..*")),
        "modules_to_save": some,
        "lora_dropout": st.just(0.1),
        "use_dora": st.just(True),
        "lora_bias": st.just(True),
        "ensure_weight_tying": st.just(True),
        "trainable_token_indices": st.lists(st.integers(0, 30), min_size=1, unique=True),
        "init_lora_weights": st.sampled_from([False, "gaussian", "pissa", "olora"]),
        "target_parameters": st.just(["experts.down_proj"]),
    }
    for field in draw(st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True)):
        fields[field] = draw(optional[field])
    if isinstance(fields["target_modules"], list) and draw(st.booleans()):
        fields["layers_to_transform"] = draw(st.lists(st.integers(0, 3), min_size=1, unique=True))
    return config, fields, draw(st.integers(1, 9))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(random_cases())
def test_equals_peft_on_random_models_and_configurations(case):
    config, fields, other_rank = case
    try:
        lora_config = LoraConfig(**fields)
    except ValueError:
        return  # PEFT refuses it before there is anything to count
    for rank in (lora_config.r, other_rank):
        lora_config.r = rank
        try:
            expected = peft_counts(make_model(config, lora_config.task_type), lora_config)
        except Exception as refusal:
            # What PEFT cannot adapt has no count.
            with pytest.raises((type(refusal), ValueError)):
                count_lora_parameters(config, lora_config)
            continue
        count = count_lora_parameters(config, lora_config)
        assert (count.trainable, count.total) == expected
        assert sum(count.by_module.values()) == count.trainable


class Zoo(nn.Module):
    """Layer types that no language model above has."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 8, kernel_size=3)
        self.grouped = nn.Conv2d(8, 8, kernel_size=3, groups=4)
        self.conv1d = nn.Conv1d(4, 6, kernel_size=5)
        self.embedding = nn.Embedding(20, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("rank", [4, 8])
@pytest.mark.parametrize(
    "fields",
    [
        dict(target_modules=["conv"]),
        dict(target_modules=["conv"], use_dora=True),
        dict(target_modules=["grouped"]),
        dict(target_modules=["conv1d", "embedding"], rank_pattern={"conv1d": 3}),
        dict(target_modules=["attention"]),
        dict(target_modules=["attention", "head.0"], rank_pattern={"attention": 3}),
        dict(target_modules=r"head\.[02]", modules_to_save=["embedding"], bias="all"),
    ],
    ids=str,
)
def test_module_of_any_kind_equals_peft_and_is_left_as_it_was(fields, rank):
    model = Zoo()
    before = {name: (id(p), p.requires_grad) for name, p in model.named_parameters()}
    modules = [(name, id(module)) for name, module in model.named_modules()]
    count = count_lora_parameters(model, LoraConfig(r=rank, **fields))
    assert (count.trainable, count.total) == peft_counts(Zoo(), LoraConfig(r=rank, **fields))
    assert {name: (id(p), p.requires_grad) for name, p in model.named_parameters()} == before
    assert [(name, id(module)) for name, module in model.named_modules()] == modules
    assert not hasattr(model, "peft_config")


def test_the_rank_of_a_grouped_convolution_is_checked_at_every_call():
    for rank, valid in [(4, True), (6, False), (8, True)]:
        lora_config = LoraConfig(r=rank, target_modules=["grouped"])
        if valid:
            assert count_lora_parameters(Zoo(), lora_config).trainable == rank * (8 * 9 // 1 + 2)
        else:
            with pytest.raises(ValueError, match="groups"):
                count_lora_parameters(Zoo(), lora_config)


@pytest.mark.parametrize("name", ["llama-tied", "mixtral", "bert"])
def test_a_model_and_its_config_give_the_same_count(name):
    config = make_config(name)
    task_type = "SEQ_CLS" if name == "bert" else "CAUSAL_LM"
    lora_config = LoraConfig(r=3, target_modules="all-linear", task_type=task_type)
    model = make_model(config, task_type)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert count_lora_parameters(model, lora_config) == count_lora_parameters(config, lora_config)
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert lora_config.target_modules == "all-linear"  # PEFT would have written into it
    assert lora_config.modules_to_save is None


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("fields", [{}, {"use_dora": True}])
def test_quantized_model_equals_peft(bits, fields, tmp_path):
    sizes = dict(hidden_size=64, intermediate_size=128, num_attention_heads=4)
    make_model(make_config("llama", **sizes), "CAUSAL_LM").save_pretrained(tmp_path)
    lora_config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **fields)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path,
        quantization_config=transformers.BitsAndBytesConfig(**{f"load_in_{bits}bit": True}),
    )
    count = count_lora_parameters(model, lora_config)
    assert any(type(m).__module__.startswith("bitsandbytes") for m in model.modules())
    assert (count.trainable, count.total) == peft_counts(model, lora_config)


def test_an_adapted_model_is_refused():
    model = get_peft_model(Zoo(), LoraConfig(target_modules=["conv"]))
    for adapted in (model, model.get_base_model()):
        with pytest.raises(ValueError, match="pass its base model"):
            count_lora_parameters(adapted, LoraConfig(target_modules=["conv"]))


def test_another_rank_is_arithmetic(monkeypatch):
    """After the first call, neither the model is built nor PEFT asked again."""
    config = make_config("llama", hidden_size=48)
    fields = dict(target_modules="all-linear", modules_to_save=["norm"])
    expected = {
        rank: peft_counts(make_model(config, None), LoraConfig(r=rank, **fields))
        for rank in (1, 2, 64)
    }
    count_lora_parameters(config, LoraConfig(r=5, **fields))

    def must_not_be_called(*_, **__):
        raise AssertionError("PEFT was asked again")

    monkeypatch.setattr("helpers.params.count.ask_peft", must_not_be_called)
    monkeypatch.setattr("helpers.params.count.build_on_meta", must_not_be_called)
    for rank, counts in expected.items():
        lora_config = LoraConfig(r=rank, lora_alpha=3, use_rslora=True, **fields)
        count = count_lora_parameters(copy.deepcopy(config), lora_config)
        assert (count.trainable, count.total) == counts
    lora_config.rank_pattern = {"q_proj": 2, "v_proj": 9}
    with_pattern = count_lora_parameters(config, lora_config).trainable
    heads = 48 + 48, 48 + 16  # in + out of q_proj and of v_proj, in each of 3 layers
    assert expected[64][0] - with_pattern == 3 * ((64 - 2) * heads[0] + (64 - 9) * heads[1])


def test_a_config_changed_in_place_is_counted_afresh():
    config = make_config("gemma3", num_hidden_layers=2)
    lora_config = LoraConfig(r=2, target_modules=["q_proj"])
    assert_equals_peft(config, lora_config)
    for field, value in {"hidden_size": 48, "vocab_size": 99, "tie_word_embeddings": False}.items():
        setattr(config, field, value)
        assert_equals_peft(config, lora_config)
    lora_config.target_modules.add("v_proj")
    assert_equals_peft(config, lora_config)
    lora_config.bias, lora_config.task_type = "all", "SEQ_CLS"
    assert_equals_peft(config, lora_config)
    config.num_labels = 7
    assert_equals_peft(config, lora_config)


def test_a_nested_config_changed_in_place_is_counted_afresh():
    text = make_config("llama").to_dict()
    vision = dict(
        model_type="clip_vision_model",
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=1,
        num_attention_heads=3,
        image_size=8,
        patch_size=4,
    )
    config = transformers.LlavaConfig(text_config=text, vision_config=vision)
    config.architectures = ["LlavaForConditionalGeneration"]
    counts = []
    for config.text_config.intermediate_size in (40, 56):
        lora_config = LoraConfig(r=2, target_modules=r".*language_model.*(q|down)_proj")
        model = transformers.LlavaForConditionalGeneration(copy.deepcopy(config))
        counts.append(count_lora_parameters(config, lora_config))
        assert (counts[-1].trainable, counts[-1].total) == peft_counts(model, lora_config)
    assert counts[0] != counts[1]


def test_names_folders_and_hub_ids_lead_to_the_same_count(tmp_path, monkeypatch):
    lora_config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    config = get_architecture("SmolLM2-135M-Instruct")
    expected = count_lora_parameters(config, lora_config)
    config.save_pretrained(tmp_path)
    asked = []

    def from_hub(hub_id):
        asked.append(hub_id)
        return copy.deepcopy(config)

    monkeypatch.setattr(models, "hub_config", from_hub)
    names = ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M", tmp_path, str(tmp_path), "me/x")
    for name in names:
        assert count_lora_parameters(name, lora_config) == expected, name
    assert asked == ["me/x"]  # what is bundled needs no network


def test_a_changed_folder_is_read_again(tmp_path):
    lora_config = LoraConfig(r=4, target_modules=["q_proj"])
    make_config("llama").save_pretrained(tmp_path)
    small = count_lora_parameters(tmp_path, lora_config)
    make_config("llama", num_hidden_layers=6).save_pretrained(tmp_path)
    assert count_lora_parameters(tmp_path, lora_config).trainable == 2 * small.trainable


def test_a_name_that_leads_nowhere(tmp_path, monkeypatch):
    def unreachable(hub_id):
        raise OSError("We couldn't connect\nand more")

    monkeypatch.setattr(models, "hub_config", unreachable)
    lora_config = LoraConfig(target_modules=["q_proj"])
    with pytest.raises(ValueError) as error:
        count_lora_parameters("lama-3.1-8b", lora_config)
    for part in ("'lama-3.1-8b'", "local folder", "did you mean Llama-3.1-8B", "couldn't connect"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match=r"no config\.json"):
        count_lora_parameters(tmp_path, lora_config)


@pytest.mark.parametrize("wrong", [None, 8, LLAMA, transformers.LlamaConfig], ids=repr)
def test_what_is_no_model_is_refused(wrong):
    with pytest.raises(TypeError, match="model_or_config must be an nn.Module"):
        count_lora_parameters(wrong, LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(TypeError, match="lora_config must be a peft.LoraConfig"):
        count_lora_parameters(make_config("llama"), wrong)


@pytest.mark.parametrize(
    "field, value, error",
    [
        ("r", 0, ValueError),
        ("r", -4, ValueError),
        ("r", "8", TypeError),
        ("r", 3.5, TypeError),
        ("r", math.nan, TypeError),
        ("r", True, TypeError),
        ("r", None, TypeError),
        ("rank_pattern", {"q_proj": 0}, ValueError),
        ("rank_pattern", {"q_proj": 2.0}, TypeError),
        ("rank_pattern", {"q_proj[": 2}, ValueError),
        ("rank_pattern", ["q_proj"], TypeError),
        ("lora_dropout", 1.5, ValueError),
        ("lora_dropout", -0.1, ValueError),
        ("lora_dropout", math.nan, ValueError),
        ("lora_dropout", "0.1", TypeError),
        ("lora_alpha", "16", TypeError),
        ("lora_alpha", True, TypeError),
        ("lora_alpha", math.nan, ValueError),
        ("lora_alpha", math.inf, ValueError),
        ("lora_alpha", 0, ValueError),
        ("bias", "some", ValueError),
        ("target_modules", 5, TypeError),
        ("target_modules", ["q_proj", 5], TypeError),
        ("exclude_modules", 5, TypeError),
        ("task_type", "CAUSAL", ValueError),
        ("init_lora_weights", "no such", ValueError),
    ],
)
def test_wrong_values_are_refused_by_name(field, value, error):
    lora_config = LoraConfig(target_modules=["q_proj"])
    setattr(lora_config, field, value)
    for check in (check_lora_config, lambda c: count_lora_parameters(make_config("llama"), c)):
        with pytest.raises(error, match=field) as caught:
            check(lora_config)
        shown = next(iter(value.values())) if isinstance(value, dict) else value
        assert repr(shown) in str(caught.value) or "q_proj[" in str(caught.value)


@pytest.mark.parametrize(
    "field, value",
    [
        ("megatron_config", {"hidden_size": 8}),
        ("use_qalora", True),
        ("arrow_config", ArrowConfig()),
        ("monteclora_config", MontecloraConfig()),
        ("init_lora_weights", "eva"),
        ("init_lora_weights", "corda"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "lora_ga"),
        ("_custom_modules", {nn.Linear: nn.Linear}),
    ],
    ids=str,
)
def test_what_shapes_cannot_tell_is_refused(field, value):
    lora_config = LoraConfig(target_modules=["q_proj"])
    setattr(lora_config, field, value)
    with pytest.raises(NotImplementedError, match=field) as error:
        count_lora_parameters(make_config("llama"), lora_config)
    assert repr(value) in str(error.value)


def test_every_field_of_loraconfig_is_classified_once():
    """A field that a new PEFT adds has to be looked at before anything is counted with it."""
    groups = [
        lora_fields.NO_EFFECT_FIELDS,
        lora_fields.RANK_FIELDS,
        lora_fields.STRUCTURE_FIELDS,
        lora_fields.VARIANT_FIELDS,
        frozenset(lora_fields.REFUSED_FIELDS),
    ]
    classified = sorted(name for group in groups for name in group)
    assert classified == sorted(field.name for field in dataclasses.fields(LoraConfig))
    assert set(models.AUTO_CLASSES) == set(lora_fields.TASK_TYPES)


def test_a_target_that_does_not_exist():
    config = make_config("llama")
    with pytest.raises(ValueError, match="query") as error:
        count_lora_parameters(config, LoraConfig(target_modules=["query"]))
    for name in ("q_proj", "down_proj", "lm_head", "embed_tokens"):
        assert name in str(error.value)
    with pytest.raises(ValueError, match="q_proj,v_proj"):  # a string is one regular expression
        count_lora_parameters(config, LoraConfig(target_modules="q_proj,v_proj"))
    with pytest.raises(ValueError, match=r"target_modules='\(q'"):
        count_lora_parameters(config, LoraConfig(target_modules="(q"))
    with pytest.raises(ValueError, match="target_modules=None.*qkv_proj"):
        count_lora_parameters(make_config("phi3"), LoraConfig())
    with pytest.raises(ValueError, match="SEQ_2_SEQ_LM"):
        wrong_task = LoraConfig(task_type="SEQ_2_SEQ_LM", target_modules=["q_proj"])
        count_lora_parameters(config, wrong_task)


@pytest.mark.filterwarnings("default")
def test_a_name_that_matches_nothing_is_pointed_out():
    config = make_config("llama", vocab_size=51)
    with pytest.warns(UserWarning, match="'v_prj' matches no module"):
        count_lora_parameters(config, LoraConfig(target_modules=["q_proj", "v_prj"]))
    lora_config = LoraConfig(target_modules=["q_proj"], rank_pattern={"v_proj": 3})
    with pytest.warns(UserWarning, match="rank_pattern key 'v_proj' matches no adapted module"):
        count_lora_parameters(config, lora_config)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*matches no")
        count_lora_parameters(config, LoraConfig(target_modules=["q_proj", "down_proj"]))


UNMATCHED = [
    ({"target_modules": ["q_proj", "v_prj"]}, "target_modules: 'v_prj' matches no module"),
    ({"exclude_modules": ["lm_haed"]}, "exclude_modules: 'lm_haed' matches no module"),
    ({"exclude_modules": r".*layers\.9\..*"}, "exclude_modules: .*layers.* matches no module"),
    ({"modules_to_save": ["classifier"]}, "modules_to_save: 'classifier' matches no module"),
    ({"rank_pattern": {"v_proj": 3}}, "rank_pattern key 'v_proj' matches no adapted module"),
    ({"alpha_pattern": {"v_proj": 3}}, "alpha_pattern key 'v_proj' matches no adapted module"),
    ({"layers_to_transform": [0, 7]}, "layers_to_transform: layer 7 has no adapted module"),
    ({"use_dora": True, "rank_pattern": {"v_proj": 3}}, "rank_pattern key 'v_proj' matches no"),
    ({"init_lora_weights": "olora", "rank_pattern": {"v_proj": 3}}, "rank_pattern key 'v_proj'"),
]


@pytest.mark.parametrize(("fields", "message"), UNMATCHED)
def test_a_name_that_matches_nothing_is_pointed_out_every_time(fields, message):
    lora_config = LoraConfig(**{"target_modules": ["q_proj"]} | fields)
    for subject in (
        make_config("llama"),
        make_config("llama"),
        make_model(make_config("llama"), None),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            count = count_lora_parameters(subject, lora_config)
        assert [w for w in caught if re.search(message, str(w.message))], subject
        assert any(re.search(message, sentence) for sentence in count.unmatched)


@pytest.mark.parametrize("fields", [{}, {"rank_pattern": {"q_proj": 2}}, {"exclude_modules": "x"}])
def test_what_matches_is_passed_over_in_silence(fields):
    fields = {"target_modules": ["q_proj", "self_attn.v_proj"], "layers_to_transform": 1} | fields
    fields |= {"modules_to_save": ["lm_head"], "alpha_pattern": {"v_proj": 2}}
    found = count_lora_parameters(make_config("llama"), LoraConfig(**fields)).unmatched
    assert len(found) == ("exclude_modules" in fields)


VISION = dict(hidden_size=24, num_attention_heads=3, intermediate_size=40)
FAMILIES = {  # (a config, whose checkpoint is of the class named), and what is adapted
    "MllamaForConditionalGeneration": lambda: transformers.MllamaConfig(
        text_config=transformers.models.mllama.configuration_mllama.MllamaTextConfig(
            **{key: value for key, value in LLAMA.items() if key != "model_type"},
            cross_attention_layers=[1], pad_token_id=0,
        ).to_dict(),
        vision_config=dict(
            hidden_size=24, attention_heads=3, intermediate_size=40, num_hidden_layers=1,
            num_global_layers=1, image_size=28, patch_size=14, vision_output_dim=48,
            intermediate_layers_indices=[0],
        ),
    ),
    "Qwen2_5_VLForConditionalGeneration": lambda: transformers.Qwen2_5_VLConfig(
        text_config={key: value for key, value in LLAMA.items() if key != "model_type"},
        vision_config=dict(
            depth=1, hidden_size=24, num_heads=3, intermediate_size=40, out_hidden_size=24
        ),
    ),
    "WhisperForConditionalGeneration": lambda: transformers.WhisperConfig(
        vocab_size=50, d_model=24, encoder_layers=1, decoder_layers=1, encoder_attention_heads=3,
        decoder_attention_heads=3, encoder_ffn_dim=40, decoder_ffn_dim=40, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    ),
    "T5ForConditionalGeneration": lambda: make_config("t5"),
    "ViTForImageClassification": lambda: transformers.ViTConfig(
        num_hidden_layers=1, num_labels=101, **VISION
    ),
    "ViTModel": lambda: transformers.ViTConfig(num_hidden_layers=1, **VISION),
    "BertForMaskedLM": lambda: make_config("bert"),
}  # fmt: skip
ADAPTED = {"T5ForConditionalGeneration": ["q", "v"], "BertForMaskedLM": ["query", "value"]}
GENERATES = ("Mllama", "Qwen2_5", "Whisper", "T5")


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("task_type", [None, "CAUSAL_LM", "SEQ_2_SEQ_LM"])
def test_the_class_that_is_counted_is_the_checkpoint_s(architecture, task_type):
    targets = ADAPTED.get(architecture, ["q_proj", "v_proj"])
    lora_config = LoraConfig(r=3, target_modules=targets, task_type=task_type)
    model_class = getattr(transformers, architecture)
    config = FAMILIES[architecture]()
    config.architectures = [architecture]
    if task_type is not None and not architecture.startswith(GENERATES):
        if architecture.startswith("Bert") and task_type == "CAUSAL_LM":
            with pytest.warns(UserWarning, match="'BertForMaskedLM'.*counted is BertLMHeadModel"):
                count_lora_parameters(config, lora_config)
        else:
            with pytest.raises(ValueError, match=f"None, which counts .*{architecture}"):
                count_lora_parameters(config, lora_config)
        return
    with torch.device("meta"):
        model = model_class(copy.deepcopy(config))
    if task_type is None:  # with one, PEFT wants methods that the class may lack
        expected = peft_counts(model, lora_config)
    else:
        expected = peft_counts(model, dataclasses.replace(lora_config, task_type=None))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        count = count_lora_parameters(config, lora_config)
    assert (count.trainable, count.total) == expected
    text_to_text = architecture.startswith("T5")  # no class of T5 is a causal language model's
    if architecture.startswith(GENERATES) and (task_type != "CAUSAL_LM" or not text_to_text):
        # where no class is named, the whole model is meant
        config.architectures = None
        assert count_lora_parameters(config, lora_config) == count


def test_a_class_that_transformers_has_not_is_said():
    config = make_config("llama")
    config.architectures = ["MyLlama"]
    with pytest.warns(UserWarning, match="'MyLlama'.*transformers .* has not; counted is Llama"):
        count_lora_parameters(config, LoraConfig(target_modules=["q_proj"]))


def test_published_counts_of_models_that_see_and_hear():
    """As PEFT printed them: Qwen2.5-VL-3B with rank 8 on q and v; ViT-B/16 with a head of 101."""
    config = transformers.Qwen2_5_VLConfig(
        text_config=dict(
            hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, vocab_size=151936,
            num_attention_heads=16, num_key_value_heads=2, tie_word_embeddings=True,
        ),
        vision_config=dict(hidden_size=1280, intermediate_size=3420, out_hidden_size=2048),
        tie_word_embeddings=True,
    )  # fmt: skip
    config.architectures = ["Qwen2_5_VLForConditionalGeneration"]
    lora_config = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    count = count_lora_parameters(config, lora_config)
    assert (count.trainable, count.total) == (1_843_200, 3_756_466_176)
    config = transformers.ViTConfig(num_labels=101, architectures=["ViTForImageClassification"])
    fields = dict(r=16, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    count = count_lora_parameters(config, LoraConfig(**fields))
    assert (count.trainable, count.total) == (667_493, 86_543_818)


def test_no_code_of_a_model_is_run_and_nobody_is_asked(tmp_path, monkeypatch):
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.MyConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('this ran')\n")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    with pytest.raises(ValueError):
        count_lora_parameters(tmp_path, LoraConfig(target_modules=["q_proj"]))


def test_quantized_checkpoints_of_other_kinds_are_refused():
    config = make_config("llama")
    config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(NotImplementedError, match="quantization_config.*gptq"):
        count_lora_parameters(config, LoraConfig(target_modules=["q_proj"]))


def test_the_formula():
    assert lora_parameters_of_linear(in_features=4096, out_features=1024, rank=8) == 8 * 5120
    for wrong in (dict(rank=0), dict(rank=2.0), dict(in_features=-1), dict(out_features="3")):
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            lora_parameters_of_linear(**{"in_features": 2, "out_features": 3, "rank": 1, **wrong})


def test_the_count_reads_well():
    fields = dict(r=6, target_modules=["q_proj", "down_proj"], modules_to_save=["lm_head"])
    count = count_lora_parameters(make_config("llama"), LoraConfig(**fields))
    assert count.by_module == {
        "q_proj": 3 * lora_parameters_of_linear(24, 24, 6),
        "down_proj": 3 * lora_parameters_of_linear(40, 24, 6),
        "lm_head": 24 * 50,
    }
    assert str(count) == "3,216 trainable of 19,032 (16.8979 %)"
    assert repr(count).startswith("ParameterCount(3,216 trainable") and "q_proj" in repr(count)
    assert count.percent == pytest.approx(100 * count.trainable / count.total)
    assert "\n" not in repr(count) and hash(count) == hash(dataclasses.replace(count))
    with pytest.raises(dataclasses.FrozenInstanceError):
        count.trainable = 0
    assert ParameterCount(0, 0).percent == 0.0

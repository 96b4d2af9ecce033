"""What goes wrong outside the code: killed runs, a full disk, damaged and foreign adapters."""

import json
import os
import pickle
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import peft
import pytest
import torch
import transformers
from killed_training import SAVE_STEPS, STEPS
from peft import LoraConfig, PeftModel, get_peft_model
from peft.config import PeftConfigMixin
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.adapters import (
    CONFIG,
    WEIGHTS,
    AdapterError,
    check_adapter,
    last_complete_checkpoint,
    save_adapter,
)
from helpers.data import course_adapter
from helpers.models import SMALL_MODEL_ID
from helpers.params import resolve_config

TESTS = Path(__file__).resolve().parent
OFFLINE = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


# --- a killed training -------------------------------------------------------------------------

MOMENTS = ("forward", "update", "end", "save")
STEPS_KILLED = random.Random(20).sample(range(1, STEPS + 1), 10)
KILLS = [f"{step}:{moment}" for step, moment in zip(STEPS_KILLED, MOMENTS * 3, strict=False)]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """One line for the undisturbed run (kill "") and for each kill, resumed."""
    folder = tmp_path_factory.mktemp("killed")
    environment = os.environ | OFFLINE | {"HF_HOME": str(folder / "hub")}
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    done = subprocess.run(
        [sys.executable, "-m", "killed_training", str(folder), *KILLS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"kill"')]
    assert [line["kill"] for line in lines] == ["", *KILLS], done.stderr[-3000:]
    return {line["kill"]: line for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("kill", KILLS)
def test_killed_training_resumes_to_the_same_bytes(killed, kill):
    """Final adapter equal to the undisturbed run's, byte for byte, from the newest checkpoint."""
    step, _, moment = kill.partition(":")
    # What was on the disk: a kill in step n leaves the checkpoints of the steps before it; one
    # after step n, that step's, too, but a checkpoint half written is not taken.
    complete = int(step) - 1
    newest = complete // SAVE_STEPS * SAVE_STEPS
    assert killed[kill]["first"] == -signal.SIGKILL
    assert killed[kill]["resumed_from"] == (f"checkpoint-{newest}" if newest else None)
    assert killed[kill]["second"] == 0
    assert killed[""]["adapter"] is not None
    assert killed[kill]["adapter"] == killed[""]["adapter"]


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    assert last_complete_checkpoint(tmp_path / "nothing") is None
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-11", "checkpoint-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-12").write_text("{}")  # a file of that name
    assert last_complete_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-x" / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text('{"global_step": 9}')
    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text('{"global_step": 10}')
    (tmp_path / "checkpoint-11" / "trainer_state.json").write_text('{"global_st')  # cut off
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


# --- a save that does not come to its end ------------------------------------------------------


def tiny_base(hidden_size: int = 32, name: str = "tiny-base") -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    model = LlamaForCausalLM(config)
    model.config._name_or_path = model.name_or_path = name
    return model


def tiny_adapter(value: float, base: LlamaForCausalLM | None = None, **settings) -> PeftModel:
    """A LoRA model whose adapter weights are all `value`."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | settings
    model = get_peft_model(base or tiny_base(), LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.fill_(value)
    return model


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def value_in(folder: Path) -> float:
    """The one value of all the adapter's weights; PEFT must be able to load it."""
    PeftModel.from_pretrained(tiny_base(), folder)
    (value,) = torch.cat([w.flatten() for w in load_file(folder / WEIGHTS).values()]).unique()
    return float(value)


def in_a_fork(work) -> int:
    """Call `work` in a forked process: 0 if it returned, 1 if it raised, -9 if it was killed."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def limit_files(size: int) -> None:
    """No file of this process may grow beyond `size` bytes: to a writer, a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error, EFBIG, in place of the signal
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def die_at(call: int, monkeypatch) -> None:
    """Die of SIGKILL at the call so numbered, from 0, of what a save is made of."""
    calls = iter(range(100))

    def counted(function):
        def instead(*args, **kwargs):
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return instead

    for owner, name in (
        (peft.peft_model, "safe_save_file"),
        (PeftConfigMixin, "save_pretrained"),
        (os, "fsync"),
        (os, "replace"),
        (shutil, "rmtree"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """PEFT asks the Hub for the base's vocabulary when it saves: not here."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("limit", [0, 100, 2_000, 10_000])
def test_disk_full_while_saving(tmp_path, limit):
    """Weights take 19 kB, the configuration 1 kB: neither, one, or almost both fit."""
    folder = save_adapter(tiny_adapter(1.0), tmp_path / "adapter")
    (folder / "README.md").write_text("mine")
    before = contents(tmp_path)
    model = tiny_adapter(2.0)

    def save():
        limit_files(limit)
        save_adapter(model, folder)

    assert in_a_fork(save) == 1
    assert contents(tmp_path) == before  # nothing left lying about, either
    assert value_in(folder) == 1.0
    save_adapter(model, folder)
    assert value_in(folder) == 2.0
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize("there", [True, False], ids=["over another", "the first"])
def test_killed_while_saving(tmp_path, monkeypatch, there):
    """Killed at every step of a save: the old adapter or the new one, never half of one."""
    model, seen, call = tiny_adapter(2.0), [], 0
    while not seen or seen[-1][0] == -signal.SIGKILL:
        folder = tmp_path / f"adapter{call}"
        if there:
            save_adapter(tiny_adapter(1.0), folder)

        def save(call=call, folder=folder):
            die_at(call, monkeypatch)
            save_adapter(model, folder)

        status = in_a_fork(save)
        seen.append((status, value_in(folder) if (folder / CONFIG).exists() else None))
        call += 1
    *killed, last = seen
    assert last == (0, 2.0)
    assert len(killed) >= 5  # weights, configuration, fsync of each, replace
    old = 1.0 if there else None
    values = [value for _, value in killed]
    assert values == sorted(values, key=lambda value: value == 2.0)  # old, then new
    assert values[0] == old and set(values) <= {old, 2.0}


def test_what_the_library_alone_does(tmp_path, monkeypatch):
    """Why `save_adapter` exists: killed between its two files, PEFT leaves neither old nor new."""
    folder = tmp_path / "adapter"
    tiny_adapter(1.0).save_pretrained(folder)
    other = tiny_adapter(2.0, r=8)

    def save():
        die_at(1, monkeypatch)  # weights written, configuration not yet
        other.save_pretrained(folder)

    assert in_a_fork(save) == -signal.SIGKILL
    with pytest.raises(AdapterError, match=r"another shape"):
        check_adapter(folder, tiny_base())
    with pytest.raises(RuntimeError, match="size mismatch"):
        value_in(folder)


def test_another_configuration_is_not_saved_over(tmp_path):
    folder = save_adapter(tiny_adapter(1.0), tmp_path / "adapter")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"lora_alpha: 8 -> 16\); save .* folder of its own"):
        save_adapter(tiny_adapter(2.0, lora_alpha=16), folder)
    with pytest.raises(ValueError, match=r"adapter_name='pirate' is not .*: 'default'"):
        save_adapter(tiny_adapter(2.0), folder, "pirate")
    assert contents(tmp_path) == before


def test_a_named_adapter_is_saved_like_any_other(tmp_path):
    model = tiny_adapter(1.0)
    model.add_adapter("pirate", LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    folder = save_adapter(model, tmp_path / "adapter", "pirate")
    assert sorted(contents(folder)) == [CONFIG, WEIGHTS]
    assert check_adapter(folder, tiny_base()).r == 2


# --- adapters that must not be loaded ----------------------------------------------------------


class Bomb:
    """Opened by pickle, it makes a folder of the name `exploded`."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def cut(name: str, size: int):
    return lambda folder: os.truncate(folder / name, size)


def edit(**settings):
    def change(folder):
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | settings))

    return change


def rename(change):
    def renamed(folder):
        weights = load_file(folder / WEIGHTS)
        save_file({change(n): w for n, w in weights.items() if change(n)}, folder / WEIGHTS)

    return renamed


def as_pickle(name: str):
    def replaced(folder):
        (folder / WEIGHTS).unlink()
        (folder / name).write_bytes(pickle.dumps({"weights": Bomb()}))

    return replaced


DAMAGE = {
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), f"it has no {CONFIG}"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), f"it has no {WEIGHTS}"),
    "configuration cut off": (cut(CONFIG, 300), f"{CONFIG} is damaged"),
    "configuration empty": (cut(CONFIG, 0), f"{CONFIG} is damaged"),
    "configuration of no method": (edit(peft_type="MAGIC"), f"{CONFIG} is damaged"),
    "weights empty": (cut(WEIGHTS, 0), "is damaged or cut off"),
    "weights' header cut off": (cut(WEIGHTS, 100), "is damaged or cut off"),
    "last byte missing": (
        lambda folder: os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1),
        "is damaged or cut off",
    ),
    "a pickle": (as_pickle("adapter_model.bin"), "adapter_model.bin, a pickle, which may run"),
    "a pickle, renamed": (as_pickle(WEIGHTS), "is damaged or cut off"),
    "of another base by name": (
        edit(base_model_name_or_path="another/base"),
        "was made for 'another/base', and the base is 'tiny-base'",
    ),
    "of another architecture": (edit(target_modules=["c_attn"]), "does not fit the base"),
    "of another rank": (edit(r=2), r"another shape .* for 28 of 28 .*\(\[4, 64\] for \[2, 64\]\)"),
    "half of the layers": (rename(lambda n: n if "layers.0" in n else None), "lacks 14 of 28"),
    "names without the prefix": (
        rename(lambda n: n.removeprefix("base_model.model.")),
        "lacks 28 of 28",
    ),
    "a rank that is a word": (edit(r="4"), f"{CONFIG}.*does not fit the base"),
    "no alpha": (edit(lora_alpha=None), f"{CONFIG}.*does not fit the base"),
    "a norm of the base's": (
        lambda folder: save_file(
            load_file(folder / WEIGHTS) | {"base_model.model.model.norm.weight": torch.zeros(32)},
            folder / WEIGHTS,
        ),
        "would overwrite the base with 1 of 28 tensors, such as base_model.model.model.norm",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_does_not_belong_is_refused(tmp_path, monkeypatch, damage, message):
    monkeypatch.chdir(tmp_path)
    folder = save_adapter(tiny_adapter(1.0), tmp_path / "adapter")
    base = tiny_base()
    assert check_adapter(folder, base).r == 4
    damage(folder)
    with pytest.raises(AdapterError, match=message) as refusal:
        check_adapter(folder, base)
    assert str(folder) in str(refusal.value) or "fit the base" in message
    assert not Path("exploded").exists()
    value_in(save_adapter(tiny_adapter(1.0, base), tmp_path / "good"))  # the base is as it was


def test_an_adapter_for_a_wider_base_is_refused(tmp_path):
    folder = save_adapter(tiny_adapter(1.0, tiny_base(hidden_size=64)), tmp_path / "adapter")
    with pytest.raises(AdapterError, match=r"another shape .*\[4, 128\] for \[4, 64\]"):
        check_adapter(folder, tiny_base())


def named(model):
    model.config._name_or_path = model.name_or_path = "tiny-base"
    return model


def resized():
    model = tiny_base()
    model.resize_token_embeddings(70)
    return named(model)


def t5():
    shape = dict(vocab_size=64, d_model=32, d_ff=64, num_layers=1, num_heads=4, d_kv=8)
    return named(transformers.T5ForConditionalGeneration(transformers.T5Config(**shape)))


def whisper():
    config = transformers.WhisperConfig(
        vocab_size=64, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return named(transformers.WhisperForConditionalGeneration(config))


def vit():
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)
    return named(transformers.ViTForImageClassification(transformers.ViTConfig(**sizes)))


def classifier():
    return named(transformers.LlamaForSequenceClassification(tiny_base().config))


def half():
    return named(tiny_base().bfloat16())


Q = {"target_modules": ["q_proj"]}
KINDS = {  # the base's class and shape, LoRA's fields, and how it is saved
    "T5": (t5, {"target_modules": ["q", "wo"]}, {}),
    "Whisper": (whisper, {"target_modules": ["q_proj", "v_proj"]}, {}),
    "ViT, with its head": (vit, Q | {"modules_to_save": ["classifier"]}, {}),
    "a classifier": (classifier, Q | {"task_type": "SEQ_CLS"}, {}),
    "16 bits": (half, Q, {}),
    "DoRA": (tiny_base, Q | {"use_dora": True}, {}),
    "biases": (tiny_base, Q | {"bias": "all"}, {}),
    "lora_bias": (tiny_base, Q | {"lora_bias": True}, {}),
    "pissa": (tiny_base, Q | {"init_lora_weights": "pissa"}, {}),
    "rank_pattern": (tiny_base, Q | {"rank_pattern": {"layers.0.self_attn.q_proj": 2}}, {}),
    "token indices": (tiny_base, Q | {"trainable_token_indices": [1, 5]}, {}),
    "modules to save": (tiny_base, Q | {"modules_to_save": ["lm_head", "norm"]}, {}),
    "a resized vocabulary": (resized, Q, {"save_embedding_layers": True}),
    "adapted embeddings": (resized, {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}, {}),
    "a part of the layers": (tiny_base, Q | {"layers_to_transform": [1]}, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_peft_loads_is_accepted(kind, tmp_path):
    make, fields, how = KINDS[kind]
    get_peft_model(make(), LoraConfig(r=4, **fields)).save_pretrained(tmp_path, **how)
    base = make()
    state = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    config = check_adapter(tmp_path, base)
    assert config.r == 4 and not hasattr(base, "peft_config")
    assert all(torch.equal(tensor, state[name]) for name, tensor in base.state_dict().items())
    PeftModel.from_pretrained(base, str(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (".lora_A.weight", ".lora_A.default.weight", "16 bits"),
        (".lora_magnitude_vector", ".lora_magnitude_vector.weight", "DoRA"),
    ],
)
def test_other_forms_of_names_are_accepted_where_peft_takes_them(old, new, kind, tmp_path):
    make, fields, _how = KINDS[kind]
    get_peft_model(make(), LoraConfig(r=4, **fields)).save_pretrained(tmp_path)
    renamed = {
        name.replace(old, new) if name.endswith(old) else name: tensor
        for name, tensor in load_file(tmp_path / WEIGHTS).items()
    }
    assert any(new in name for name in renamed)
    save_file(renamed, tmp_path / WEIGHTS)
    model = PeftModel.from_pretrained(make(), str(tmp_path))
    loaded = dict(model.named_parameters())
    try:
        accepted = check_adapter(tmp_path, make()).r == 4
    except AdapterError:
        accepted = False
    changed = [name for name in renamed if new in name]
    taken = all(
        any(torch.equal(parameter.float(), renamed[name].float()) for parameter in loaded.values()
            if parameter.shape == renamed[name].shape)
        for name in changed
    )  # fmt: skip
    assert accepted == taken


REFUSED = {
    "rows of another vocabulary": ("a resized vocabulary", tiny_base, None, "another shape"),
    "a head that is missing": ("a classifier", classifier, "score", "lacks"),
    "a bias that is missing": ("lora_bias", tiny_base, "lora_B.bias", "lacks"),
    "a language model's on a classifier": ("modules to save", classifier, None, "lm_head|lacks"),
    "a decoder's on an encoder-decoder": ("16 bits", t5, None, "does not fit the base"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_peft_cannot_load_whole_is_refused(case, tmp_path):
    kind, base, dropped, message = REFUSED[case]
    make, fields, how = KINDS[kind]
    get_peft_model(make(), LoraConfig(r=4, **fields)).save_pretrained(tmp_path, **how)
    weights = load_file(tmp_path / WEIGHTS)
    kept = {name: w for name, w in weights.items() if dropped is None or dropped not in name}
    assert (len(kept) < len(weights)) == (dropped is not None)
    save_file(kept, tmp_path / WEIGHTS)
    with pytest.raises(AdapterError, match=message):
        check_adapter(tmp_path, base())


def test_any_text_as_a_configuration_is_its_own_error_and_takes_no_memory(tmp_path):
    """A config nested too deep for Python, and one that asks for 256 TB; a base without a name."""
    base, own = tiny_base(name=""), tiny_base(name="")
    get_peft_model(own, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(tmp_path)
    assert check_adapter(tmp_path, base).r == 4
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | {"r": 10**12}))
    with pytest.raises(AdapterError, match=r"another shape.*for \[1000000000000"):
        check_adapter(tmp_path, base)
    (tmp_path / CONFIG).write_text("[" * 10**5 + "]" * 10**5)
    with pytest.raises(AdapterError, match="is damaged: .*recursion"):
        check_adapter(tmp_path, base)
    with pytest.raises(TypeError, match="model must be the base model itself, got 'SmolLM2'"):
        check_adapter(tmp_path, "SmolLM2")


def test_checking_reads_no_network_and_changes_nothing(tmp_path, monkeypatch):
    """The course's own adapter on a base of its real shape, which here has no weights at all."""
    monkeypatch.setattr(socket, "socket", None)
    with torch.device("meta"):
        base = LlamaForCausalLM(resolve_config("SmolLM2-135M-Instruct"))
    folder = course_adapter("style")
    config = check_adapter(folder, base, base_name=SMALL_MODEL_ID)
    assert config.base_model_name_or_path == SMALL_MODEL_ID
    assert not hasattr(base, "peft_config")
    assert not any("lora" in name for name, _ in base.named_parameters())

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

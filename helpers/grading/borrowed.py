"""Names of other libraries that are not in their documented interface.

Each stands here with the version that it was read from. What is gone or has changed is said by
name at its first use (`LibraryChanged`), not found out by a wrong grade.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

READ_FROM = {"IPython": "9.18.1", "peft": "0.21.2", "transformers": "5.23.0"}
"""Library -> the version in which the names below were read."""


class LibraryChanged(ImportError):
    """A library no longer has what is taken from it here."""


@cache
def _borrowed(module: str, name: str) -> Any:
    library = module.partition(".")[0]
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise LibraryChanged(
            f"{library} {version(library)} has no {module}.{name}, which the grader takes from it "
            f"(read from {library} {READ_FROM[library]}): install that version"
        ) from error


def transform_cell(text: str) -> str:
    """A cell's text as IPython makes Python of it: magics and shell lines become calls."""
    return _borrowed("IPython.core.inputtransformer2", "TransformerManager")().transform_cell(text)


def is_adapted(lora_config: Any, name: str) -> bool:
    """Whether PEFT would adapt a module of this name."""
    exists: Callable = _borrowed("peft.tuners.tuners_utils", "check_target_module_exists")
    return bool(exists(lora_config, name))


def by_pattern(pattern: dict[str, Any], name: str, otherwise: Any) -> Any:
    """What a rank_pattern or alpha_pattern says of a module of this name, as PEFT reads it."""
    key_of: Callable = _borrowed("peft.utils.other", "get_pattern_key")
    return pattern.get(key_of(list(pattern), name), otherwise)


def causal_lm_loss(logits: Any, labels: Any, vocab_size: int) -> Any:
    """The loss that transformers' causal models compute: (batch, tokens, vocabulary) and labels."""
    loss: Callable = _borrowed("transformers.loss.loss_utils", "ForCausalLMLoss")
    return loss(logits, labels, vocab_size=vocab_size)


LORA_CONFIG_MODULE = "peft.tuners.lora.config"
"""Where `peft.LoraConfig` is defined; `helpers.grading.plain` knows it by that, without importing
PEFT."""

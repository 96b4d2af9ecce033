"""Every name that another library keeps to itself and the helpers use all the same.

Such a name may move with any release. Here each is said once, with the version that it was read
from, and fetched at its first use, so that importing the helpers stays quick. If it is gone then,
``LibraryChanged`` says which library changed what. A test fetches them all.

What a library promises in its documentation is imported where it is used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

READ_FROM = {
    "peft": "0.21.2",
    "transformers": "5.23.0",
    "bitsandbytes": "0.50.2",
    "torch": "2.13.0",
    "trl": "1.16.0",
    "ipykernel": "7.4.0",
}
NAMES = {  # what the helpers call it -> module and name
    # PEFT: what it puts around a module, and which key of a pattern applies to a name
    "LoraLayer": "peft.tuners.lora.layer:LoraLayer",
    "ParamWrapper": "peft.tuners.lora.layer:ParamWrapper",
    "BaseTunerLayer": "peft.tuners.tuners_utils:BaseTunerLayer",
    "AuxiliaryTrainingWrapper": "peft.utils.other:AuxiliaryTrainingWrapper",
    "get_pattern_key": "peft.utils.other:get_pattern_key",
    # transformers: GPT-2's linear layer, quantizing without loading, masks
    "Conv1D": "transformers.pytorch_utils:Conv1D",
    "replace_with_bnb_linear": "transformers.integrations.bitsandbytes:replace_with_bnb_linear",
    "get_keys_to_not_convert": "transformers.quantizers.base:get_keys_to_not_convert",
    "masking_utils": "transformers:masking_utils",
    "moe": "transformers.integrations:moe",
    # bitsandbytes: how it keeps a quantized weight and its tables
    "bnb_functional": "bitsandbytes:functional",
    # TRL: the loss that never holds all logits
    "add_fused_lm_head": "trl.trainer.utils:add_fused_lm_head",
    # torch: tensors without memory, and every operation seen
    "FakeTensor": "torch._subclasses.fake_tensor:FakeTensor",
    "FakeTensorMode": "torch._subclasses.fake_tensor:FakeTensorMode",
    "TorchDispatchMode": "torch.utils._python_dispatch:TorchDispatchMode",
    "tree_leaves": "torch.utils._pytree:tree_leaves",
}


class LibraryChanged(ImportError):
    """Another library no longer has a name that the helpers use."""

    def __init__(self, library: str, what: str) -> None:
        read, installed = READ_FROM[library], importlib.metadata.version(library)
        super().__init__(
            f"{library} {installed} has no {what}, which the helpers know from {library} {read}. "
            f"Install {library}=={read}, or follow the change in helpers/_libraries.py"
        )


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = NAMES[name].partition(":")
    try:
        value = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise LibraryChanged(module.partition(".")[0], f"{module}.{attribute}") from error
    globals()[name] = value
    return value


def attribute_of(thing: object, name: str, library: str) -> Any:
    """An attribute that ``library`` gives to its objects without promising it."""
    try:
        return getattr(thing, name)
    except AttributeError:
        owner = getattr(thing, "__name__", type(thing).__name__)
        raise LibraryChanged(library, f"{owner}.{name}") from None


@contextmanager
def _replaced(module: object, name: str, library: str, function: Callable) -> Iterator[None]:
    attribute_of(module, name, library)
    with mock.patch.object(module, name, function):
        yield


def rows_are_one_sequence() -> AbstractContextManager[None]:
    """Within, transformers does not look for several sequences packed into one row.

    Telling that takes values, which fake tensors have not.
    """
    masks = __getattr__("masking_utils")
    name = "find_packed_sequence_indices"
    return _replaced(masks, name, "transformers", lambda _position_ids: None)


def experts_multiplied_by(product: Callable) -> AbstractContextManager[None]:
    """Within, transformers multiplies tokens with their experts' matrices by ``product``."""
    return _replaced(__getattr__("moe"), "_grouped_mm", "transformers", product)


def no_table_of_8bit_numbers() -> AbstractContextManager[None]:
    """Within, bitsandbytes' 8-bit optimizers get an empty table: theirs is made from values."""
    import torch

    functional = __getattr__("bnb_functional")
    name = "create_dynamic_map"
    return _replaced(functional, name, "bitsandbytes", lambda signed: torch.empty(256))


def reachable_while_busy(control: Any) -> None:
    """Let a control's messages reach the kernel beside the cell that runs.

    JupyterLab sends them to a thread of their own. ipykernel 7.4 (`ipykernel.comm.comm.BaseComm`)
    hands them to the thread that last wrote to the control instead, the one that is busy, and keeps
    in the control's comm which that was: forgotten, the page's choice counts. Older versions keep
    nothing. Without a kernel there is no comm. To be called again each time the control was set.
    """
    vars(control.comm or control).pop("_reply_subshell_id", None)

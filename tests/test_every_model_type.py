"""Every model type that the installed transformers knows: counted as PEFT counts it, or refused.

A type's config is made small (two layers), its model is built on the meta device in the class that
a checkpoint of it would name, and PEFT adapts it in two ways. Where PEFT has no count, neither have
we. `REFUSED` names every type for which nothing was compared, with the reason.
"""

import collections
import copy
import functools
import importlib
import inspect
import random
import sys

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D

from helpers._libraries import READ_FROM
from helpers.params import count_lora_parameters
from helpers.params.count import MODELS

pytestmark = pytest.mark.filterwarnings("ignore")
LAYERS = frozenset(
    "num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers depth "
    "num_encoder_layers num_decoder_layers num_local_layers num_global_layers".split()
)
NEEDED = {  # what a type's config does not say by itself
    **dict.fromkeys(
        "autoformer informer time_series_transformer".split(), {"prediction_length": 4}
    ),
    **dict.fromkeys("hunyuan_v1_dense hunyuan_v1_moe ministral".split(), {"head_dim": 128}),
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "lfm2_moe": {"num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]},
    "nemotron": {"num_key_value_heads": 48},
    "reformer": {"is_decoder": True},
}
PREFERRED = "CAUSAL_LM MULTIMODAL_LM IMAGE_TEXT_TO_TEXT SPEECH_SEQ_2_SEQ SEQ_TO_SEQ_CAUSAL_LM"
KINDS = (nn.Linear, nn.Embedding, Conv1D)

NO_CLASS = "it is a part of another model: no class is made from its config alone"
NO_MODEL = "no model is made from its default config"
NO_LIBRARY = "it needs a library that is not installed"
NOT_BY_PEFT = "PEFT refuses both ways, and so does the counter"
REFUSED = {
    NOT_BY_PEFT: (
        "align_vision_model d_fine deimv2 encodec fastspeech2_conformer_hifigan flava "
        "flava_image_codebook granite_speech5_ctc grounding-dino inkling_audio mamba mamba2 "
        "mm-grounding-dino nemotron_h pp_doclayout_v4 pp_formulanet pp_lcnet_v3 pp_lcnet_v4 "
        "pp_ocrv5_mobile_det pp_ocrv6_small_det qwen2_5_omni_bigvgan rt_detr_resnet "
        "rt_detr_v2 speecht5_hifigan superpoint univnet upernet uvdoc uvdoc_backbone "
    ),
    NO_CLASS: (
        "blt_global_transformer blt_local_decoder blt_local_encoder bridgetower_text_model "
        "bridgetower_vision_model canary_decoder deepseek_ocr2_encoder "
        "deepseek_ocr2_sam_vision_model dia_decoder dia_encoder edgetam_mask_decoder "
        "edgetam_prompt_encoder edgetam_video_mask_decoder edgetam_video_prompt_encoder "
        "gemma4_unified_audio gemma4_unified_vision got_ocr2_vision idefics2_perceiver "
        "idefics2_vision idefics_perciever idefics_vision kosmos_2_5_text_model "
        "kosmos_2_5_vision_model kosmos_2_text_model kosmos_2_vision_model minicpmv4_6_vision "
        "moonshine_streaming_encoder moshi_depth ovis2_vision qwen2_5_omni_audio_encoder "
        "qwen2_5_omni_vision_encoder qwen2_vl_vision qwen3_omni_moe_audio_encoder "
        "qwen3_omni_moe_vision_encoder sam2_mask_decoder sam2_prompt_encoder "
        "sam2_video_mask_decoder sam2_video_prompt_encoder sam3_detr_decoder "
        "sam3_detr_encoder sam3_geometry_encoder sam3_lite_text_detr_decoder "
        "sam3_lite_text_detr_encoder sam3_lite_text_geometry_encoder "
        "sam3_lite_text_mask_decoder sam3_mask_decoder sam3_tracker_mask_decoder "
        "sam3_tracker_prompt_encoder sam3_tracker_video_mask_decoder "
        "sam3_tracker_video_prompt_encoder sam_hq_mask_decoder sam_hq_prompt_encoder "
        "sam_mask_decoder sam_prompt_encoder sapiens2_head slanext_vision t5_gemma_module "
        "t5gemma2_decoder t5gemma2_text unlimited_ocr_sam_vision_model "
        "unlimited_ocr_vision_encoder vibevoice_diffusion voxtral_realtime_text "
    ),
    NO_MODEL: (
        "chameleon cohere_compass cohere_compass_text dbrx deepseek_ocr2 deepseek_ocr2_text "
        "diffusion_gemma diffusion_gemma_text dots1 emu3 gemma4_assistant "
        "gemma4_unified_assistant granite4_vision hunyuan_vl hunyuan_vl_text "
        "moonshine_streaming pp_ocrv5_server_det pp_ocrv6_medium_det qwen3_omni_moe "
        "qwen3_omni_moe_talker_text sapiens2 t5gemma2_encoder vitmatte "
    ),
    NO_LIBRARY: (
        "conditional_detr dab-detr deformable_detr detr dinat edgetam edgetam_vision_model "
        "eomt eomt_dinov3 fast_vlm gemma3n gemma3n_vision higgs_audio_v2_tokenizer "
        "inkling_mm_model inkling_vision layoutlmv2 layoutxlm mask2former maskformer nougat "
        "omdet-turbo oneformer pe_audio_video pe_audio_video_encoder pe_video "
        "pe_video_encoder perception_lm pp_chart2table_vision table-transformer timm_backbone "
        "timm_wrapper videomt "
    ),
}


@functools.cache
def class_names():
    """Model type -> the classes that a checkpoint may name, by transformers' own tables."""
    names = [n for n in vars(modeling_auto) if n.endswith("_MAPPING_NAMES")]
    last = ["MODEL_MAPPING_NAMES", "MODEL_FOR_BACKBONE_MAPPING_NAMES"]
    first = [f"MODEL_FOR_{task}_MAPPING_NAMES" for task in PREFERRED.split()]
    middle = sorted(set(names) - {*first, *last, "CONFIG_MAPPING_NAMES"})
    found = collections.defaultdict(list)
    for name in (*first, *middle, *last):
        for model_type, classes in getattr(modeling_auto, name, {}).items():
            found[model_type] += [classes] if isinstance(classes, str) else classes
    return found


def class_of_type(model_type, config_class):
    """The class of a type: from a table, else the first that is made from its config; or None."""
    listed = class_names()[model_type]
    module = config_class.__module__.replace("configuration_", "modeling_")
    others = () if listed else vars(importlib.import_module(module))
    found = [getattr(transformers, name, None) for name in (*listed, *others)]
    for member in filter(inspect.isclass, found):
        its_own = issubclass(member, PreTrainedModel) and member.config_class is config_class
        if its_own and not member.__name__.endswith("PreTrainedModel"):
            return member
    return found[0] if listed else None


def small(config, whole_parts):
    """Arguments that make a config like this one with two layers, in every part of it.

    Most types want the other values of a part too, some its type's own.
    """
    given = vars(config)
    depths = {n for name, n in given.items() if name in LAYERS and isinstance(n, int) and n > 2}
    less = {}
    for name, value in given.items():
        if isinstance(value, PretrainedConfig):
            less[name] = value.to_dict() if whole_parts else {}
            less[name] |= small(value, whole_parts)
        elif name in LAYERS and isinstance(value, int) and value > 2:
            less[name] = 2
        elif isinstance(value, list) and len(value) in depths:  # what each layer is
            less[name] = value[:2]
    return less


def build(model_type):
    """A small model of a type on the meta device; a sentence if there is none."""
    config_class, given = CONFIG_MAPPING[model_type], NEEDED.get(model_type, {})
    try:
        model_class = class_of_type(model_type, config_class)
        if model_class is None:
            return NO_CLASS
        default = config_class(**given)
    except ImportError:
        return NO_LIBRARY
    except Exception:
        return NO_MODEL
    missing = NO_MODEL
    for arguments in ({**small(default, True), **given}, {**small(default, False), **given}, given):
        try:
            config = config_class(**arguments)
            config.architectures = [model_class.__name__]
            with torch.device("meta"):
                return model_class(copy.deepcopy(config)), config
        except ImportError:
            return NO_LIBRARY
        except Exception:
            continue
    return missing


def some_modules(model, model_type):
    """A configuration that names two kinds of layers, drawn by the type's name."""
    names = {n.split(".")[-1] for n, m in model.named_modules() if isinstance(m, KINDS)}
    names = sorted(name for name in names if not name.isdigit())
    drawn = random.Random(model_type).sample(names, min(3, len(names)))
    *targets, saved = drawn if len(drawn) == 3 else [*drawn, None]
    saved = [saved] if saved else None
    pattern = {targets[0]: 5} if targets else {}
    return LoraConfig(r=4, target_modules=targets, rank_pattern=pattern, modules_to_save=saved)


def compared(model_type):
    """None if PEFT's counts of a type are ours, else why nothing was compared."""
    built, reason = build(model_type), NOT_BY_PEFT
    if isinstance(built, str):
        return built
    ways = [
        LoraConfig(r=3, target_modules="all-linear", bias="all"),
        some_modules(built[0], model_type),
    ]
    if len(model_type) % 2:  # the other way first
        ways.reverse()
    for lora_config in ways:
        if reason is None and model_type not in SPREAD:
            break  # one way is enough, as there are hundreds of types
        model, config = built or build(model_type)
        built = None
        try:
            adapted = get_peft_model(model, copy.deepcopy(lora_config))  # it writes into it
        except Exception as refusal:
            with pytest.raises((type(refusal), ValueError)):
                count_lora_parameters(config, lora_config)
            continue
        count = count_lora_parameters(config, lora_config)
        assert (count.trainable, count.total) == adapted.get_nb_trainable_parameters()
        reason = None
    MODELS.clear()
    return reason


SPREAD = sorted(CONFIG_MAPPING_NAMES)[::20]  # compared both ways, and in the quick tests


def reason_of(model_type):
    return next((why for why, types in REFUSED.items() if model_type in types.split()), None)


TYPES = [
    pytest.param(name, marks=() if name in SPREAD else pytest.mark.slow)
    for name in sorted(CONFIG_MAPPING_NAMES)
]


@pytest.mark.parametrize("model_type", TYPES)
def test_a_type_is_counted_as_peft_counts_it(model_type):
    found, listed = compared(model_type), reason_of(model_type)
    if transformers.__version__ == READ_FROM["transformers"] and listed != NO_LIBRARY:
        assert found == listed
    else:  # another version has other types, another machine more libraries: nothing differs, too
        assert found in (None, *REFUSED)


if __name__ == "__main__":  # the list for `REFUSED`
    import textwrap
    import time
    import traceback

    listed, begin = collections.defaultdict(list), time.process_time()
    for name in sys.argv[1:] or sorted(CONFIG_MAPPING_NAMES):
        try:
            listed[compared(name)].append(name)
        except BaseException:
            listed["FAILED"].append(name)
            traceback.print_exc(limit=-3)
    for why, names in listed.items():
        print(why, len(names))
        if why:
            print(textwrap.fill(" ".join(names), 92))
    print(time.process_time() - begin)

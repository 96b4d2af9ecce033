"""Counts that others printed, each with the model, the configuration and where it stands.

Only what a program printed counts, and only where its source says what was adapted. `theirs` is
(trainable, all); None where a total is not of this model (rounded, or of packed weights).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import transformers
from peft import LoraConfig
from peft.tuners.lora.config import BdLoraConfig
from transformers import AutoConfig

from helpers.architectures import get_architecture

PEFT = "huggingface/peft@5d602fd"
COOKBOOK = "huggingface/cookbook@ed2c646"
NOTEBOOKS = "huggingface/notebooks@5068b11"
UNSLOTH = "unslothai/notebooks@bdda2ef"
LITGPT = "Lightning-AI/litgpt@2685705"
ALL = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split()
QV = ["q_proj", "v_proj"]


@dataclass(frozen=True)
class Printed:
    """A count that somebody printed."""

    model: str
    config: object  # a bundled name, or the fields of a config
    architecture: str | None  # the class that was adapted; None: as for counting by task
    lora: dict
    theirs: tuple[int, int | None]
    source: str  # a repository at a commit
    path: str  # in it
    more: tuple[int, int] = (0, 0)  # ours - theirs
    why: str = ""  # where they are not equal
    changes: dict = field(default_factory=dict)  # of a bundled config

    @property
    def link(self) -> str:
        if self.path.startswith("http"):
            return self.path
        repository, _, commit = self.source.partition("@")
        return f"https://github.com/{repository}/blob/{commit}/{self.path}".replace(" ", "%20")

    def question(self):
        """What `count_lora_parameters` is asked."""
        if isinstance(self.config, str):
            config = get_architecture(self.config)
            for name, value in self.changes.items():
                setattr(config, name, value)
        else:
            config = AutoConfig.for_model(**self.config)
        if self.architecture:
            assert hasattr(transformers, self.architecture)
            config.architectures = [self.architecture]
        return config, LoraConfig(**self.lora)


def llama(hidden, mlp, layers, heads, keys, words, **more):
    """The fields of a config of Llama's kind."""
    return {
        "model_type": "llama", "hidden_size": hidden, "intermediate_size": mlp,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": keys, "vocab_size": words, **more,
    }  # fmt: skip


BERT = {"model_type": "bert", "vocab_size": 28996}
GEMMA_270M = dict(
    model_type="gemma3_text", hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
    num_attention_heads=4, num_key_value_heads=1, head_dim=256, vocab_size=262144,
    tie_word_embeddings=True,
)  # fmt: skip
T5_LARGE = dict(
    model_type="t5", d_model=1024, d_kv=64, d_ff=2816, num_layers=24, num_heads=16,
    vocab_size=32128, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
)  # fmt: skip
WHISPER = dict(
    model_type="whisper", vocab_size=51865, d_model=1280, encoder_layers=32, decoder_layers=32,
    encoder_attention_heads=20, decoder_attention_heads=20, encoder_ffn_dim=5120,
    decoder_ffn_dim=5120,
)  # fmt: skip
QWEN_VL_3B = dict(
    model_type="qwen2_5_vl", tie_word_embeddings=True,
    text_config=dict(
        hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, vocab_size=151936,
        num_attention_heads=16, num_key_value_heads=2, tie_word_embeddings=True,
    ),
    vision_config=dict(hidden_size=1280, intermediate_size=3420, out_hidden_size=2048),
)  # fmt: skip
STARCODER_1B = dict(
    model_type="gpt_bigcode", n_embd=2048, n_layer=24, n_head=16, n_inner=8192, n_positions=8192,
    vocab_size=49152, multi_query=True,
)  # fmt: skip
QWEN3_4B = dict(
    model_type="qwen3", hidden_size=2560, intermediate_size=9728, num_hidden_layers=36,
    num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=151936,
    tie_word_embeddings=True,
)  # fmt: skip
QWEN3_14B = QWEN3_4B | dict(
    hidden_size=5120, intermediate_size=17408, num_hidden_layers=40, num_attention_heads=40,
    tie_word_embeddings=False,
)  # fmt: skip
QWEN3_32B = QWEN3_14B | dict(intermediate_size=25600, num_hidden_layers=64, num_attention_heads=64)
QWEN2_7B = dict(
    model_type="qwen2", hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
    num_attention_heads=28, num_key_value_heads=4, vocab_size=152064,
)  # fmt: skip
LLAMA2_7B = llama(4096, 11008, 32, 32, 32, 32000)
LLAMA2_13B = llama(5120, 13824, 40, 40, 40, 32000)
GPT_OSS_20B = dict(
    model_type="gpt_oss", hidden_size=2880, intermediate_size=2880, num_hidden_layers=24,
    num_attention_heads=64, num_key_value_heads=8, head_dim=64, vocab_size=201088,
    num_local_experts=32,
)  # fmt: skip
GENERATES = "CAUSAL_LM"
BOTH_HEADS = "PEFT then left the original of a head that is trained to be trained too: {}"
SCALES = "theirs is in FP8, with a scale for each block of 128 × 128 weights: {}"
KBIT = "a program of their own counted 4-bit weights, of which two share a byte, as one: half"

PRINTED = [
    Printed(
        "Qwen2.5-3B-Instruct",
        dict(model_type="qwen2", hidden_size=2048, intermediate_size=11008, num_hidden_layers=36,
             num_attention_heads=16, num_key_value_heads=2, vocab_size=151936,
             tie_word_embeddings=True),
        None, dict(r=16, task_type=GENERATES), (3_686_400, 3_089_625_088), PEFT, "README.md",
    ),
    Printed(
        "Llama-3.2-1B", "Llama-3.2-1B", None, dict(r=8, target_modules=["q_proj"]),
        (524_288, 1_236_338_688), PEFT, "docs/source/quicktour.md",
    ),
    Printed(
        "opt-350m", "OPT-350m", None, dict(r=16, target_modules=QV), (1_572_864, 332_769_280),
        PEFT, "docs/source/guides/peft_model_config.md",
    ),
    Printed(
        "ViT-B/16, 101 classes", dict(model_type="vit", num_labels=101),
        "ViTForImageClassification",
        dict(r=16, target_modules=QV, modules_to_save=["classifier"]), (667_493, 86_543_818),
        PEFT, "docs/source/package_reference/lora.md",
    ),
    Printed(
        "ViT-B/16, 101 classes, in 2023", dict(model_type="vit", num_labels=101),
        "ViTForImageClassification",
        dict(r=16, target_modules=QV, modules_to_save=["classifier"]), (667_493, 86_466_149),
        PEFT, "examples/image_classification/image_classification_peft_lora.ipynb",
        more=(0, 77_669), why="PEFT did not yet keep a copy of a head that is trained: 77,669",
    ),
    Printed(
        "bert-base-cased, 2 classes", BERT, None,
        dict(r=8, target_modules=["query", "key"], task_type="SEQ_CLS"), (296_450, 108_608_260),
        PEFT, "examples/evaluation/lora-lm-eval.ipynb",
    ),
    Printed(
        "bert-base-cased, answers", BERT, None,
        dict(r=16, target_modules=["query", "value"], task_type="QUESTION_ANS"),
        (592_900, 108_312_580), PEFT, "src/peft/peft_model.py", more=(-1_538, 0),
        why=BOTH_HEADS.format("1,538"),
    ),
    Printed(
        "t5-base",
        dict(model_type="t5", d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12,
             vocab_size=32128),
        None, dict(r=8, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM"),
        (884_736, 223_843_584), PEFT, "src/peft/peft_model.py", more=(0, -55_296),
        why="theirs has one bias of 768 more for each of the 72 adapted layers, which T5 has not",
    ),
    Printed(
        "flan-t5-large", T5_LARGE, None,
        dict(r=16, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM"),
        (4_718_592, 787_868_672), PEFT,
        "examples/int8_training/Finetune_flan_t5_large_bnb_peft.ipynb", more=(0, -32_899_072),
        why="transformers 5 always ties T5's output layer to its embedding: 32,128 × 1,024 less",
    ),
    Printed(
        "opt-6.7b",
        dict(model_type="opt", hidden_size=4096, ffn_dim=16384, num_hidden_layers=32,
             num_attention_heads=32, vocab_size=50272, max_position_embeddings=2048,
             word_embed_proj_dim=4096),
        None, dict(r=16, target_modules=QV), (8_388_608, 6_666_862_592), PEFT,
        "examples/int8_training/Finetune_opt_bnb_peft.ipynb",
    ),
    Printed(
        "whisper-large-v2", WHISPER, "WhisperForConditionalGeneration",
        dict(r=32, target_modules=QV), (15_728_640, 1_559_033_600), PEFT,
        "examples/int8_training/peft_bnb_whisper_large_v2_training.ipynb",
    ),
    Printed(
        "Mistral-7B-v0.1, 27 words more", "Mistral-7B-v0.3", None,
        dict(r=64, target_modules=["embed_tokens", "lm_head", *QV]), (31_886_720, 7_273_840_000),
        PEFT, "examples/causal_language_modeling/peft_lora_clm_with_additional_tokens.ipynb",
        changes={"vocab_size": 32027},
    ),
    Printed(
        "Llama-3.2-1B, BD-LoRA", "Llama-3.2-1B", None,
        dict(r=96, target_modules=ALL,
             use_bdlora=BdLoraConfig(
                 target_modules_bd_a=["o_proj", "down_proj"],
                 target_modules_bd_b=["q_proj", "v_proj", "k_proj", "up_proj", "gate_proj"],
                 nblocks=2)),
        (44_826_624, 1_280_641_024), PEFT, "examples/bdlora_finetuning/bdlora_peft_demo.ipynb",
    ),
    Printed(
        "gemma-2-2b, 2 classes", "gemma-2-2b", None,
        dict(r=16, target_modules=QV, task_type="SEQ_CLS"), (3_199_488, 2_617_545_984), PEFT,
        "examples/sequence_classification/LoRA-torchao-8bit.ipynb",
    ),
    Printed(
        "layoutlm-base-uncased, 13 classes",
        dict(model_type="layoutlm", num_labels=13), "LayoutLMForTokenClassification",
        dict(r=16, bias="all", task_type="TOKEN_CLS"), (702_733, 113_237_786), PEFT,
        "examples/token_classification/peft_lora_token_cls.ipynb",
    ),
    Printed(
        "mit-b0 (SegFormer), 150 classes", dict(model_type="segformer", num_labels=150),
        "SegformerForSemanticSegmentation",
        dict(r=32, target_modules=QV, bias="lora_only",
             modules_to_save=["decode_head"]),
        (566_422, 4_317_068), PEFT,
        "examples/semantic_segmentation/semantic_segmentation_peft_lora.ipynb",
    ),
    Printed(
        "Meta-Llama-3-8B, QDoRA", "Llama-3.1-8B", None,
        dict(r=8, target_modules=ALL, use_dora=True), (22_347_776, 4_562_948_096), PEFT,
        "examples/dora_finetuning/QDoRA_finetuning.ipynb", more=(0, 3_489_660_928), why=KBIT,
    ),
    *(
        Printed(
            f"Llama-3.2-3B, {words}", "Llama-3.2-3B", None, lora, theirs, PEFT,
            f"method_comparison/MetaMathQA/results/lora--llama-3.2-3B-{name}.json",
        )
        for words, name, lora, theirs in (
            ("rank 32", "rank32", dict(r=32, target_modules=QV), (9_175_040, 3_221_924_864)),
            ("rank 64", "rank64", dict(r=64, target_modules=QV), (18_350_080, 3_231_099_904)),
            ("rank 32, DoRA", "rank32-dora", dict(r=32, target_modules=QV, use_dora=True),
             (9_289_728, 3_222_039_552)),
            ("rank 32, MiCA", "rank32-mica",
             dict(r=32, target_modules=QV, init_lora_weights="mica"), (5_505_024, 3_221_924_864)),
            ("rank 10 on the MLP", "rank10-target-mlp", dict(r=10, target_modules=ALL[4:]),
             (9_461_760, 3_222_211_584)),
            ("rank 14 on the MLP, BD-LoRA", "rank14-target-mlp-bdlora",
             dict(r=14, target_modules=ALL[4:],
                  use_bdlora=BdLoraConfig(
                      target_modules_bd_a=["o_proj", "down_proj"],
                      target_modules_bd_b=["q_proj", "v_proj", "k_proj", "up_proj", "gate_proj"],
                      nblocks=2)), (8_429_568, 3_221_179_392)),
        )
    ),
    Printed(
        "starcoderbase-1b", STARCODER_1B, None,
        dict(r=8, target_modules=["c_proj", "c_attn", "q_attn", "c_fc"]),
        (5_554_176, 1_142_761_472), COOKBOOK,
        "notebooks/en/fine_tuning_code_llm_on_single_gpu.ipynb",
    ),
    Printed(
        "Qwen2-0.5B-Instruct", "Qwen2.5-0.5B", None, dict(r=8, target_modules=QV),
        (540_672, 494_573_440), COOKBOOK, "notebooks/en/fine_tuning_llm_grpo_trl.ipynb",
    ),
    Printed(
        "Qwen2.5-VL-3B-Instruct", QWEN_VL_3B, "Qwen2_5_VLForConditionalGeneration",
        dict(r=8, target_modules=QV, task_type=GENERATES), (1_843_200, 3_756_466_176), COOKBOOK,
        "notebooks/en/fine_tuning_vlm_grpo_trl.ipynb",
    ),
    Printed(
        "Qwen2.5-VL-3B-Instruct, DoRA", QWEN_VL_3B, "Qwen2_5_VLForConditionalGeneration",
        dict(r=8, target_modules=ALL, use_dora=True, init_lora_weights="gaussian"),
        (19_868_416, 3_774_491_392), COOKBOOK, "notebooks/en/fine_tuning_vlm_mpo.ipynb",
    ),
    Printed(
        "SmolVLM-Instruct, DoRA",
        dict(model_type="idefics3", scale_factor=3,
             text_config=llama(2048, 8192, 24, 32, 32, 49155),
             vision_config=dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27,
                                num_attention_heads=16, image_size=384, patch_size=14)),
        "Idefics3ForConditionalGeneration",
        dict(r=8, target_modules=ALL, use_dora=True, init_lora_weights="gaussian"),
        (11_269_248, 2_257_542_128), COOKBOOK,
        "notebooks/en/fine_tuning_smol_vlm_sft_trl.ipynb",
    ),
    Printed(
        "PaliGemma-3B-224",
        dict(model_type="paligemma", projection_dim=2048,
             text_config=dict(model_type="gemma", hidden_size=2048, intermediate_size=16384,
                              num_hidden_layers=18, num_attention_heads=8, num_key_value_heads=1,
                              head_dim=256, vocab_size=257216),
             vision_config=dict(model_type="siglip_vision_model", vision_use_head=False,
                                hidden_size=1152,
                                intermediate_size=4304, num_hidden_layers=27,
                                num_attention_heads=16, patch_size=14, image_size=224)),
        "PaliGemmaForConditionalGeneration",
        dict(r=8, target_modules=ALL, task_type=GENERATES), (11_298_816, 2_934_634_224),
        NOTEBOOKS, "examples/paligemma/Fine_tune_PaliGemma.ipynb", more=(0, 131_072),
        why="theirs is without 64 words that fill up the checkpoint's embedding: 64 × 2,048",
    ),
    Printed(
        "blip2-opt-2.7b",
        dict(model_type="blip-2",
             text_config=dict(model_type="opt", hidden_size=2560, ffn_dim=10240,
                              num_hidden_layers=32, num_attention_heads=32, vocab_size=50272,
                              word_embed_proj_dim=2560)),
        "Blip2ForConditionalGeneration", dict(r=16, target_modules=["q_proj", "k_proj"]),
        (5_242_880, 3_749_922_816), NOTEBOOKS,
        "peft/Fine_tune_BLIP2_on_an_image_captioning_dataset_PEFT.ipynb",
    ),
    *(
        Printed(
            f"nucleotide-transformer-500m, {labels} classes",
            dict(model_type="esm", hidden_size=1280, intermediate_size=5120, num_hidden_layers=24,
                 num_attention_heads=20, vocab_size=4105, max_position_embeddings=1002,
                 num_labels=labels, pad_token_id=1, mask_token_id=2, token_dropout=False,
                 emb_layer_norm_before=False),
            None, dict(r=1, target_modules=["query", "value"], task_type="SEQ_CLS"), theirs,
            NOTEBOOKS, "examples/nucleotide_transformer_dna_sequence_modelling_with_peft.ipynb",
            more=(-head, 0), why=BOTH_HEADS.format(f"{head:,}"),
        )
        for labels, theirs, head in (
            (2, (3_407_364, 482_205_925), 1_642_242), (3, (3_409_926, 482_208_487), 1_643_523)
        )
    ),
    Printed(
        "timesfm-2.5-200m", dict(model_type="timesfm2_5"), "TimesFm2_5ModelForPrediction",
        dict(r=4, target_modules="all-linear"), (1_382_912, 232_672_192), NOTEBOOKS,
        "examples/timesfm2_5.ipynb",
    ),
    Printed(
        "Chinese-Alpaca-7B", llama(4096, 11008, 32, 32, 32, 49954), None,
        dict(r=8, target_modules=QV), (4_194_304, 6_889_689_088), "",
        "https://github.com/ymcui/Chinese-LLaMA-Alpaca/issues/189",
    ),
    *(
        Printed(f"{model}, rank {rank}", config, architecture,
                dict(r=rank, target_modules=targets), theirs, UNSLOTH, f"nb/{name}.ipynb", **more)
        for model, config, architecture, rank, targets, theirs, name, more in (
            ("Llama-3.2-3B-Instruct", "Llama-3.2-3B", None, 64, ALL,
             (97_255_424, 3_310_005_248), "Advanced_Llama3_2_(3B)_GRPO_LoRA", {}),
            ("Llama-3.2-1B-Instruct", "Llama-3.2-1B", None, 32, ALL,
             (22_544_384, 1_258_418_176), "Llama_FP8_GRPO",
             {"more": (0, -59_392), "why": SCALES.format("59,392")}),
            ("Llama-3.2-1B-Instruct", "Llama-3.2-1B", None, 16, ALL, (11_272_192, None),
             "Llama3.2_(1B)-RAFT", {}),
            ("Llama-3.3-70B-Instruct", "Llama-3.3-70B-Instruct", None, 16, ALL,
             (207_093_760, 70_760_800_256), "Llama3.3_(70B)_A100-Conversational", {}),
            ("Llama-3.3-70B-Instruct", "Llama-3.3-70B-Instruct", None, 64, ALL,
             (828_375_040, 71_382_081_536), "Synthetic_Data_Hackathon", {}),
            ("Qwen2.5-Coder-7B-Instruct", "Qwen2.5-7B", None, 16, ALL, (40_370_176, None),
             "CodeForces-cot-Finetune_for_Reasoning_on_CodeForces", {}),
            ("DeepSeek-R1-0528-Qwen3-8B", "Qwen3-8B", None, 32, ALL, (87_293_952, None),
             "DeepSeek_R1_0528_Qwen3_(8B)_GRPO", {}),
            ("Qwen3-8B", "Qwen3-8B", None, 32, ALL, (87_293_952, 8_278_453_248),
             "Qwen3_8B_FP8_GRPO", {"more": (0, -423_936), "why": SCALES.format("423,936")}),
            ("Qwen3-4B-Base", QWEN3_4B, None, 32, ALL, (66_060_288, 4_088_528_384),
             "Qwen3_(4B)-GRPO", {}),
            ("Qwen3-4B-Instruct-2507", QWEN3_4B, None, 16, ALL, (33_030_144, 4_055_498_240),
             "Qwen3_(4B)_Instruct-QAT", {}),
            ("Qwen3-Embedding-4B", QWEN3_4B | {"vocab_size": 151665}, "Qwen3Model", 32, ALL,
             (66_060_288, 4_087_834_624), "Qwen3_Embedding_(4B)", {}),
            ("Qwen3-14B", QWEN3_14B, None, 32, ALL, (128_450_560, None), "Qwen3_(14B)", {}),
            ("Qwen3-14B-Base", QWEN3_14B, None, 16, ALL, (64_225_280, None),
             "Qwen3_(14B)-Alpaca", {}),
            ("Qwen3-32B", QWEN3_32B, None, 32, ALL, (268_435_456, 33_030_558_720),
             "Qwen3_(32B)_A100-Reasoning-Conversational", {}),
            ("Qwen3-30B-A3B-Instruct-2507", "Qwen3-30B-A3B", None, 32, [*ALL, "gate_up_proj"],
             (1_285_029_888, 31_817_152_512), "Qwen3_MoE",
             {"more": (704_643_072, 704_643_072),
              "why": "for gate_proj and up_proj in one fused matrix PEFT takes twice the rank, "
                     "Unsloth once"}),
            ("gemma-3-270m-it", GEMMA_270M, None, 128, ALL, (30_375_936, 298_474_112),
             "Gemma3_(270M)", {}),
            ("functiongemma-270m-it", GEMMA_270M, None, 16, ALL, (3_796_992, 271_895_168),
             "FunctionGemma_(270M)-Mobile-Actions", {}),
            ("gemma-3-1b-it", "gemma-3-1b-it", None, 8, ALL, (6_522_880, 1_006_408_832),
             "Gemma3_(1B)-GRPO", {}),
            ("Llasa-3B", "Llama-3.2-3B", None, 128, QV, (36_700_160, 3_450_801_152),
             "Llasa_TTS_(3B)", {"changes": {"vocab_size": 193_800}}),
            ("Llama-OuteTTS-1.0-1B", "Llama-3.2-1B", None, 128, QV, (13_631_488, 1_262_028_800),
             "Oute_TTS_(1B)", {"changes": {"vocab_size": 134_400}}),
            ("whisper-large-v3", WHISPER | {"vocab_size": 51866, "num_mel_bins": 128},
             "WhisperForConditionalGeneration", 64, QV, (31_457_280, 1_574_947_840), "Whisper", {}),
            ("gpt-oss-20b", GPT_OSS_20B, None, 8, ALL, (3_981_312, 20_918_738_496),
             "gpt-oss-(20B)-Fine-tuning", {}),
            ("mistral-7b-instruct-v0.3", "Mistral-7B-v0.3", None, 32, ALL, (83_886_080, None),
             "Mistral_v0.3_(7B)-GRPO", {}),
        )
    ),
]  # fmt: skip

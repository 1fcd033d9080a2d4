"""Tiny random models of all causal architectures that transformers knows and that can be tiny."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

VOCABULARY = 420  # at least as many as the tiny tokenizer has
WINDOW = 16
MOST_PARAMETERS = 20_000_000

# What a size is called by one configuration or another, and how small it can be.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "n_embed", "dim", "emb_dim", "lru_width",
         "word_embed_proj_dim", "embedding_size", "embed_dim", "output_hidden_size",
         "input_embedding_size"), 32),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "d_ff", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim",
         "d_inner", "ffn_hidden_size", "feed_forward_size", "dff", "shared_intermediate_size"), 48),
    **dict.fromkeys(
        ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers",
         "encoder_layers", "num_decoder_layers", "num_encoder_layers", "depth"), 2),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads",
         "encoder_attention_heads", "num_decoder_attention_heads", "num_encoder_attention_heads",
         "attention_heads", "num_heads"), 4),
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "attention_head_dim", "attention_head_size", "rotary_dim"), 8),
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len",
         "max_target_positions"), 256),
    **dict.fromkeys(
        ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(
        ("num_experts_per_tok", "moe_k", "num_experts_per_token", "moe_topk", "top_k_experts"), 2),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "n_group", "topk_group",
                     "first_k_dense_replace"), 1),
    **dict.fromkeys(
        ("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size",
         "moe_shared_expert_intermediate_size"), 16),
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "v_head_dim": 12, "qk_head_dim": 16,
    "sliding_window": WINDOW,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), None),
    "hidden_size_per_layer_input": 8,
    **dict.fromkeys(
        ("mamba_d_state", "mamba_n_heads", "mamba_d_head", "state_size", "mamba_num_heads",
         "mamba_head_dim", "ssm_state_size"), 8),
    "mamba_d_ssm": 64, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "image_size": 16, "patch_size": 8,
}  # fmt: skip

_HEADS = {"num_key_value_heads": 4}  # where keys of all heads are made from one short vector
_ROBERTA = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "is_decoder": True}
_DECODER = {"is_decoder": True}
_IDS = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
_HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
# What a kind of model needs beside sizes: attention among the layers of hybrids, decoders of the
# kinds that are encoders by default.
OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots3_note_text",
         "glm4_moe_lite", "glm_moe_dsa", "longcat_flash", "minicpm3", "sarvam_mla", "youtu"),
        _HEADS),
    **dict.fromkeys(
        ("camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta",
         "xlm-roberta-xl"), _ROBERTA),
    "xmod": {**_ROBERTA, "languages": ["en_XX"], "default_language": "en_XX"},
    **dict.fromkeys(
        ("bert", "bert-generation", "big_bird", "electra", "ernie", "megatron-bert", "rembert",
         "roc_bert", "roformer"), _DECODER),
    "bailing_hybrid": _HEADS | _HYBRID,
    "kimi_linear": _HEADS | _HYBRID,
    **dict.fromkeys(
        ("minimax", "olmo_hybrid", "qwen3_5_moe_text",
         "qwen3_5_text", "qwen3_next"), _HYBRID),
    "qwen4_exp_text": {"layer_types": ["linear_attention", "full_attention"]},
    **dict.fromkeys(("emu3_text_model", "gemma4", "gemma4_unified", "mllama_text_model"),
                    _IDS),
    "bamba": {"attn_layer_indices": [1]},
    "cwm": {"bos_token_id": 0, "eos_token_id": 0},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
             "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2}},
    "gemma3n_text": {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "intermediate_size": 48,
                     "layer_types": ["sliding_attention", "full_attention"] * 2,
                     "activation_sparsity_pattern": [0.0] * 4},
    "gemma4_unified_text": {"pad_token_id": 0},
    "gemma4_text": {"pad_token_id": 0, "num_hidden_layers": 4, "num_kv_shared_layers": 2,
                    "layer_types": ["sliding_attention", "full_attention"] * 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "modernbert-decoder": {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
                           "cls_token_id": 0, "sep_token_id": 0, "local_attention": WINDOW},
    "phi3": {"pad_token_id": 0},
    "prophetnet": {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {"is_decoder": True, "axial_pos_shape": (16, 16), "axial_pos_embds_dim": (16, 16)},
    "rembert": {"is_decoder": True, "input_embedding_size": 32, "output_embedding_size": 32},
    "roc_bert": {"is_decoder": True, "shape_vocab_size": 32, "pronunciation_vocab_size": 32},
    "xlm": {"causal": True, "is_decoder": True, "n_langs": 1, "pad_token_id": 0},
    "zamba": {"num_hidden_layers": 2, "layers_block_type": ["mamba", "hybrid"]},
    "zamba2": {"num_hidden_layers": 2, "layers_block_type": ["mamba", "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip


def tiny_configuration(kind: str) -> PreTrainedConfig:
    """The configuration of a kind of model with the sizes that it has made small."""
    from transformers import CONFIG_MAPPING

    return _shrunk(CONFIG_MAPPING[kind], OWN.get(kind, {}))


def _shrunk(cls: Any, own: dict[str, Any]) -> PreTrainedConfig:
    default = cls()
    kinds = {name: type(getattr(default, name, None)) for name in cls.sub_configs}
    parts = {
        name: _shrunk(kind, OWN.get(kind.model_type, {})).to_dict()
        for name, kind in kinds.items()
        if getattr(kind, "model_type", None)
    }
    known = {*vars(default), *cls.attribute_map}
    fields = {name: value for name, value in _SIZES.items() if name in known}
    for name, true_name in cls.attribute_map.items():
        if true_name in fields:
            fields.pop(name, None)
    made: PreTrainedConfig = cls(**{**fields, **parts, **own})
    return made


def tiny_causal_model(kind: str, seed: int = 0) -> PreTrainedModel:
    """A random causal language model of that kind, its weights far from uniform."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    configuration = tiny_configuration(kind)
    with torch.device("meta"):
        sketch = AutoModelForCausalLM.from_config(configuration)
    size = sum(parameter.numel() for parameter in sketch.parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"has {size:,} parameters with all sizes made small")
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(configuration, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and parameter.is_floating_point():
                parameter.normal_(0, 0.25, generator=generator)
    # What a kind of model is generated with by default (BART forces its last token) is not asked.
    model.generation_config = GenerationConfig(do_sample=False)
    made: PreTrainedModel = model.eval()
    return made

"""A small Llama of random weights with a tokenizer of its own, for `longbel train --fresh`.

The tokenizer is a byte-level BPE made for copying names: a word is the same token whether it
stands in a sentence, opens a mention or opens a name. Two rules of its normalizer do this,
both undone by its decoder. A capital that is not followed by another becomes a shift sign and
the small letter ("Heart" is the shift sign and "heart"), and each piece of text between marks
begins with white space. Knows nothing of training or of knowledge bases.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
# A control character that texts do not hold; one byte, so one token without any merge.
SHIFT = "\x0e"
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZÀÂÄÁÇÈÉÊËÍÎÏÑÓÔÖÙÚÛÜ"
# Words with the blank before them, digits one by one, runs of other signs, runs of blanks.
_WORDS = rf"{SHIFT}| ?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}{SHIFT}]+|\s+(?!\S)|\s+"


class FreshSize(NamedTuple):
    """The shape of a fresh model."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    vocabulary: int = 8192


FRESH_SIZES = {
    "nano": FreshSize(hidden=64, intermediate=128, layers=2, heads=2, vocabulary=1024),
    "tiny": FreshSize(hidden=192, intermediate=512, layers=4, heads=4, vocabulary=4096),
    # Few tokens, so that forms of a word share pieces: at equal time better than 8,192.
    "small": FreshSize(hidden=256, intermediate=768, layers=4, heads=4, vocabulary=2048),
    "base": FreshSize(hidden=256, intermediate=768, layers=6, heads=4),
    "medium": FreshSize(hidden=512, intermediate=1408, layers=8, heads=8, vocabulary=16384),
}


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` tokens, each mark one token of its own."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    from kb_builder.trie.tokenization import FORMAT_MARKS

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Prepend(" "),
            normalizers.Replace(Regex(r"\A (?=\s)"), ""),
            *(
                normalizers.Replace(
                    Regex(rf"(?<!\p{{L}}){letter}(?!\p{{Lu}})"), SHIFT + letter.lower()
                )
                for letter in _CAPITALS
            ),
            normalizers.Replace(f" {SHIFT}", f"{SHIFT} "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteLevel(),
            decoders.Replace(f"{SHIFT} ", f" {SHIFT}"),
            *(decoders.Replace(SHIFT + letter.lower(), letter) for letter in _CAPITALS),
        ]
    )
    special = [BOS, EOS, PAD, *FORMAT_MARKS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    return tokenizer


def as_pretrained(tokenizer: Tokenizer, context_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers saves and loads it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        sep_token="<SEP>",
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
    )


def fresh_model(
    size: FreshSize, tokenizer: PreTrainedTokenizerFast, context_length: int, seed: int
) -> LlamaForCausalLM:
    """A Llama of that shape with random weights, the same ones for the same seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=_WEIGHT,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_BASE},
    )
    model = LlamaForCausalLM(config)
    give_copying_heads(model, seed)
    return model


_WEIGHT = 0.02
_ROPE_BASE = 100_000.0
_EMBEDDING, _CONSTANT = 0.05, 0.25  # standard deviation; what feature 0 of every token is


def give_copying_heads(model: Any, seed: int) -> None:
    """Let the first two layers of a random model begin as a circuit that continues a copy.

    Heads of layer 0 look at the token before and write it beside the current one; heads of
    layer 1 look for places where the token before is the current one and propose what stands
    there. A small model finds this circuit by itself only after millions of tokens; training
    may change every weight of it.
    """
    import torch

    config = model.config
    size, heads = config.hidden_size, config.num_attention_heads
    width = size // heads
    generator = torch.Generator().manual_seed(seed)
    half = width // 2
    angles = _ROPE_BASE ** (-torch.arange(half) / half)  # radians a position, of each pair

    def rotation(rows: int) -> torch.Tensor:
        return torch.linalg.qr(torch.randn(size, size, generator=generator))[0][:rows]

    with torch.no_grad():
        # The output embedding is the same matrix: a feature that is equal in all rows adds
        # the same to every logit, so it changes no probability and serves as a constant.
        embedding = model.get_input_embeddings().weight
        embedding.normal_(0.0, _EMBEDDING, generator=generator)
        embedding[:, 0] = _CONSTANT
        before, after = model.model.layers[0].self_attn, model.model.layers[1].self_attn
        reads, writes = rotation(size), rotation(size)
        fast, slow = angles > 0.1, torch.nonzero(angles < 0.006).flatten()
        slow_rows = torch.cat([slow, slow + half])
        whole = rotation(size)
        for head in range(heads):
            rows = slice(head * width, (head + 1) * width)
            if head < max(1, heads // 2):
                query, key = torch.zeros(width, size), torch.zeros(width, size)
                query[:half, 0] = 1.4 * fast
                key[:half, 0] = 1.4 * fast * angles.cos()
                key[half:, 0] = 1.4 * fast * angles.sin()
                before.q_proj.weight[rows] = query
                before.k_proj.weight[rows] = key
                before.v_proj.weight[rows] = 0.3 * reads[rows]
                before.o_proj.weight[:, rows] = 0.3 * writes[rows].T
            # The pairs that turn slowly compare contents over a few hundred tokens.
            source = slice((head % max(1, heads // 2)) * width, None)
            query, key = torch.zeros(width, size), torch.zeros(width, size)
            query[slow_rows] = 2.8 * reads[source][: len(slow_rows)]
            key[slow_rows] = 2.8 * writes[source][: len(slow_rows)]
            after.q_proj.weight[rows], after.k_proj.weight[rows] = query, key
            after.v_proj.weight[rows] = 0.6 * whole[rows]
            after.o_proj.weight[:, rows] = 0.6 * whole[rows].T

"""Training a linking model: from gold documents and names of a KB to a model folder.

Puts the parts of `longbel_cli.training` together. A training keeps its state in `OUT.run`, and
the same command goes on after a stop; the finished model appears under OUT as a whole.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kb_builder.errors import LongbelError
from longbel_cli.fresh import FRESH_SIZES
from longbel_cli.prompts import PROMPT_FORMATS, PromptFormat, prompt_format
from longbel_cli.targets import TARGET_RULES, NearestNames, document_targets, target_rule
from longbel_cli.training.lexicon import Lexicon, read_lexicon
from longbel_cli.types import Document

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from longbel_cli.checkpoint import Checkpoint
    from longbel_cli.training.batches import EpochPlan
    from longbel_cli.training.loop import Step

log = logging.getLogger("longbel")

STATE_FILE, LOG_FILE, OPTIONS_FILE = "state.safetensors", "log.jsonl", "options.json"
CARD_FILE = "longbel_training.json"
CONTEXT_LENGTH = 4096  # positions of a fresh model
_TOKENIZER_DOCUMENTS = 3000
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainOptions:
    """What decides the trained weights. A training goes on only with the options it began with.

    One of `base` (a model folder or hub id) and `fresh` (a size) is given. `synthetic` counts
    documents an epoch, and `synonyms` is the share of their mentions that are answered with
    another name than the nearest; `mentions_per_document` limits the mentions of a document
    that an epoch trains on, drawn anew each time. `crop` is in characters, see `Cropping`;
    `max_length` in tokens. `memory_weight` puts a loss on the names in memory, 0 trains on
    completions alone.
    Without `composite` a mention with several gold concepts is context only.
    """

    kb: str
    corpora: tuple[str, ...] = ()
    base: str | None = None
    fresh: str | None = None
    context_format: str = "hybrid_long"
    language: str | None = None
    corpus_format: str = "auto"
    unknown_group: str = "error"
    target: str = "document"
    epochs: int = 50
    steps: int | None = None
    learning_rate: float = 3e-5
    warmup: float = 0.03
    tokens_per_batch: int = 16_384
    max_length: int = 4096
    synthetic: int = 0
    synonyms: float = 0.0
    mentions_per_document: int | None = None
    memory_weight: float = 0.0
    crop: int = 0
    crop_share: float = 1.0
    composite: bool = False
    dtype: str = "auto"
    save_dtype: str = "auto"
    seed: int = 0

    def check(self) -> None:
        """Raise LongbelError (usage) where options contradict each other."""
        rules = (
            ((self.base is None) == (self.fresh is None), "give --base MODEL or --fresh SIZE"),
            (not self.corpora and not self.synthetic, "give a CORPUS, --synthetic N, or both"),
            (self.context_format not in PROMPT_FORMATS,
             f"--context-format: choose one of {', '.join(PROMPT_FORMATS)}"),
            (self.target not in TARGET_RULES,
             f"--target: choose one of {', '.join(TARGET_RULES)}"),
            (self.fresh is not None and self.fresh not in FRESH_SIZES,
             f"--fresh {self.fresh}: choose one of {', '.join(FRESH_SIZES)}"),
            (self.epochs < 1, "--epochs must be at least 1"),
            (self.steps is not None and self.steps < 1, "--steps must be at least 1"),
            (not 0 < self.learning_rate < 1, "--learning-rate must lie between 0 and 1"),
            (not 0 <= self.warmup < 1, "--warmup is a share, from 0 to below 1"),
            (self.tokens_per_batch < 1, "--tokens-per-batch must be at least 1"),
            (self.max_length < 16, "--max-length must be at least 16"),
            (self.synthetic < 0, "--synthetic must not be negative"),
            (not 0 <= self.synonyms <= 1, "--synonyms is a share, from 0 to 1"),
            (self.mentions_per_document is not None and self.mentions_per_document < 1,
             "--mentions-per-document must be at least 1"),
            (not 0 <= self.memory_weight <= 1, "--memory-weight lies between 0 and 1"),
            (self.crop < 0, "--crop must not be negative"),
            (not 0 <= self.crop_share <= 1, "--crop-share lies between 0 and 1"),
            (self.dtype not in DTYPES[:3], f"--dtype: choose one of {', '.join(DTYPES[:3])}"),
            (self.save_dtype not in DTYPES, f"--save-dtype: choose one of {', '.join(DTYPES)}"),
        )  # fmt: skip
        for broken, sentence in rules:
            if broken:
                raise LongbelError(sentence, "See `longbel train --help`.", exit_code=2)


class Outcome(Enum):
    """How a call of `train` ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    ALREADY_FINISHED = "already finished"


@dataclass(frozen=True)
class TrainingDocument:
    """A document with the target names of its mentions, and which of them can be trained on."""

    document: Document
    targets: tuple[tuple[str, ...] | None, ...]

    @property
    def trainable(self) -> list[int]:
        return [place for place, target in enumerate(self.targets) if target is not None]


class ItemSource:
    """The items of an epoch by number: first the corpus's mentions, then synthetic documents.

    Of a corpus document an epoch has `mentions_per_document` items, drawn from its mentions, or
    one item for each mention.
    """

    def __init__(self, corpus: Corpus, options: TrainOptions, checkpoint: Checkpoint) -> None:
        from longbel_cli.training.examples import Cropping, ExampleMaker

        form = prompt_format(options.context_format)
        self._corpus, self._options = corpus, options
        self._maker = ExampleMaker(
            checkpoint,
            form,
            _splitter(form, options.language),
            Cropping(options.crop, options.crop_share),
            options.memory_weight,
        )
        self._items: list[tuple[int, int | None]] = []
        for number, training in enumerate(corpus.documents):
            places = training.trainable
            most = options.mentions_per_document
            if most is None or most >= len(places):
                self._items += [(number, place) for place in places]
            else:
                self._items += [(number, None)] * most

    def __len__(self) -> int:
        return len(self._items) + self._options.synthetic

    def make(self, item: int, epoch: int, rng: random.Random):  # type: ignore[no-untyped-def]  # Example | None
        """The example of an item; None where it is longer than `max_length` or trains nothing."""
        place: int | None
        if item < len(self._items):
            number, place = self._items[item]
            training = self._corpus.documents[number]
        else:
            count = item - len(self._items) + epoch * self._options.synthetic
            training, place = self._corpus.synthetic_document(count), None
        if place is None:
            places = training.trainable
            if not places:
                return None
            # Late mentions have more memory before them, in which names can be trained as well.
            place = max(rng.choice(places), rng.choice(places))
        example = self._maker.example(training.document, training.targets, place, rng)
        return example if len(example) <= self._options.max_length else None


class Corpus:
    """All that is trained on: the gold documents, and the maker of synthetic ones."""

    def __init__(self, lexicon: Lexicon, documents: Iterator[Document], options: TrainOptions):
        from longbel_cli.synthetic import SyntheticDocuments

        self.lexicon = lexicon
        self._nearest = NearestNames(lexicon)
        self._rule = target_rule(options.target)
        self._composite = options.composite
        self._synonyms, self._seed = options.synonyms, options.seed
        self._synthetic = SyntheticDocuments(lexicon, options.seed)
        self.n_mentions = 0
        self.documents: list[TrainingDocument] = []
        for document in documents:
            self.n_mentions += len(document.mentions)
            training = self._with_targets(document)
            if training.trainable:
                self.documents.append(training)

    @property
    def n_trainable(self) -> int:
        return sum(len(training.trainable) for training in self.documents)

    def synthetic_document(self, number: int) -> TrainingDocument:
        document = self._synthetic.document(number)
        rng = random.Random(f"{self._seed}/synonyms/{number}")
        return self._with_targets(document, lambda: rng.random() < self._synonyms)

    def texts(self, seed_numbers: int) -> Iterator[str]:
        """What a fresh tokenizer is trained on: names, gold documents, some synthetic ones."""
        for name in self.lexicon.names:
            yield name.text
            yield name.text.lower()
        for training in self.documents:
            yield training.document.text
        if seed_numbers:
            for number in range(_TOKENIZER_DOCUMENTS):
                yield self._synthetic.document(-1 - number).text

    def _with_targets(
        self, document: Document, synonym: Callable[[], bool] = lambda: False
    ) -> TrainingDocument:
        targets = document_targets(document, self._nearest, self._rule, synonym)
        if not self._composite:
            targets = [None if target and len(target) > 1 else target for target in targets]
        return TrainingDocument(document, tuple(targets))


def _splitter(form: PromptFormat, language: str | None):  # type: ignore[no-untyped-def]  # SentenceSplitter | None
    if form.context != "sentence":
        return None
    if language is None:
        raise LongbelError(
            f"--context-format {form.name} shows sentences and needs the language",
            "Give --language en, fr or es.",
            exit_code=2,
        )
    from longbel_cli.sentences import splitter

    return splitter(language)


def gold_documents(
    options: TrainOptions, groups: Sequence[str], on_problem: Callable[[Any], None]
) -> Iterator[Document]:
    """The corpora's documents with semantic groups as the knowledge base spells them."""
    from longbel_cli.corpora import read_corpus
    from longbel_cli.corpora.resolve import TypeResolver, resolve_types

    if not options.corpora:
        return iter(())
    documents = read_corpus(options.corpora, options.corpus_format, on_problem)
    return resolve_types(documents, TypeResolver(groups), options.unknown_group, on_problem)


def train(
    options: TrainOptions,
    out: Path,
    device: str = "auto",
    save_every: int = 200,
    restart: bool = False,
    overwrite: bool = False,
    on_step: Callable[[Step], None] = lambda step: None,
    should_stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = log.info,
) -> Outcome:
    """Train to the end and write the model to `out`.

    The state after each `save_every` steps is kept in `OUT.run`, and when `should_stop` asks to
    stop: the same call then goes on from there.
    """
    options.check()
    if not restart and not overwrite and _finished_with(out) == _plain(options):
        return Outcome.ALREADY_FINISHED
    folder = out.with_name(out.name + ".run")
    _refuse_foreign(out, folder, options, restart, overwrite)
    from kb_builder.store import KnowledgeBase

    knowledge_base = KnowledgeBase.open(options.kb)
    left_out: list[object] = []
    corpus = Corpus(
        read_lexicon(knowledge_base.path),
        gold_documents(options, knowledge_base.groups, left_out.append),
        options,
    )
    if left_out:
        tell(f"{len(left_out)} documents or mentions left out; `longbel check` lists them")
    if options.corpora:
        tell(
            f"{len(corpus.documents)} documents, {corpus.n_trainable} of {corpus.n_mentions} "
            "mentions have a target in the knowledge base"
        )
    _splitter(prompt_format(options.context_format), options.language)
    _claim(folder, options, restart)
    checkpoint, model = _start(options, corpus, folder, device, tell)
    plan = _plan(options, corpus, checkpoint, model)
    finished = _run(options, model, plan, folder, save_every, on_step, should_stop)
    if not finished:
        return Outcome.STOPPED
    _publish(options, checkpoint, model, folder, out)
    return Outcome.FINISHED


def _plain(options: TrainOptions) -> Any:
    """The options as JSON gives them back."""
    return json.loads(json.dumps(asdict(options)))


def _finished_with(out: Path) -> Any:
    """The options of the finished training that lies at `out`; None if there is none."""
    card = out / CARD_FILE
    return json.loads(card.read_text(encoding="utf-8"))["options"] if card.is_file() else None


def _refuse_foreign(
    out: Path, folder: Path, options: TrainOptions, restart: bool, overwrite: bool
) -> None:
    """Refuse to touch what is not this training's."""
    if out.exists() and not overwrite:
        raise LongbelError(
            f"{out} is there already", "Give another --out, or --overwrite.", exit_code=4
        )
    kept = folder / OPTIONS_FILE
    if kept.exists() and not restart:
        mine, before = _plain(options), json.loads(kept.read_text(encoding="utf-8"))
        changed = [key for key in mine if mine[key] != before.get(key)]
        if changed:
            raise LongbelError(
                f"{folder} holds a training with other options ({', '.join(changed)})",
                "Repeat its command to go on, or start anew with --restart.",
                exit_code=4,
            )
    if folder.exists() and any(folder.iterdir()) and not kept.exists():
        raise LongbelError(
            f"{folder} is there and is no training", "Give another --out.", exit_code=4
        )


def _claim(folder: Path, options: TrainOptions, restart: bool) -> None:
    """The run's folder with the options in it, to know the training by."""
    if restart and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(options), indent=2, sort_keys=True)
    (folder / OPTIONS_FILE).write_text(text, encoding="utf-8")


def _start(
    options: TrainOptions, corpus: Corpus, folder: Path, device: str, tell: Callable[[str], None]
) -> tuple[Checkpoint, PreTrainedModel]:
    """Tokenizer and model before the first step; kept in the run's folder for the next start."""
    import torch
    from transformers.utils import logging as transformers_logging

    from longbel_cli.checkpoint import Checkpoint, resolve_device

    transformers_logging.disable_progress_bar()
    place = resolve_device(device)
    start = folder / "start"
    if not start.exists():
        part = folder / "start.part"
        shutil.rmtree(part, ignore_errors=True)
        torch.manual_seed(options.seed)
        tokenizer, model = (
            _fresh(options, corpus, tell) if options.fresh is not None else _based(options)
        )
        _describe(model, tokenizer, options)
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        part.rename(start)
    checkpoint = Checkpoint.open(start)
    return checkpoint, checkpoint.load_model(place, "float32")


def _fresh(options: TrainOptions, corpus: Corpus, tell: Callable[[str], None]) -> tuple[Any, Any]:
    from longbel_cli.fresh import as_pretrained, fresh_model, fresh_size, train_tokenizer

    assert options.fresh is not None
    size = fresh_size(options.fresh)
    tell(f"making a tokenizer of {size.vocabulary} tokens")
    texts = corpus.texts(options.synthetic)
    tokenizer = as_pretrained(train_tokenizer(texts, size.vocabulary), CONTEXT_LENGTH)
    return tokenizer, fresh_model(size, tokenizer, CONTEXT_LENGTH, options.seed)


def _based(options: TrainOptions) -> tuple[Any, Any]:
    """A base model with the format's marks among its tokens."""
    import torch
    from tokenizers import AddedToken
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from longbel_cli.checkpoint import model_folder

    assert options.base is not None
    folder = model_folder(options.base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise LongbelError(
            f"{options.base}: the base model cannot be loaded ({type(error).__name__})",
            "Give a folder with config.json, tokenizer.json and *.safetensors of a causal model.",
        ) from error
    if tokenizer.eos_token_id is None:
        raise LongbelError(
            f"{options.base}: the tokenizer has no end-of-sequence token",
            "Set eos_token in its tokenizer_config.json.",
        )
    form = prompt_format(options.context_format)
    marks = ["[", "]", "{", "}", "<+>", *([] if form.end is None else [str(form.end)])]
    missing = [mark for mark in marks if mark not in tokenizer.get_added_vocab()]
    tokenizer.add_tokens(
        [AddedToken(mark, special=True, normalized=False) for mark in missing], special_tokens=True
    )
    if form.end is not None:
        tokenizer.sep_token = str(form.end)
    if model.config.get_text_config().vocab_size < len(tokenizer):
        model.resize_token_embeddings(len(tokenizer))
    return tokenizer, model


def _describe(model: PreTrainedModel, tokenizer: Any, options: TrainOptions) -> None:
    """Write into the configuration what `link` has to know, and pin how it generates."""
    from transformers import GenerationConfig

    model.config.longbel_context_format = options.context_format
    model.config.lang = options.language
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _plan(
    options: TrainOptions, corpus: Corpus, checkpoint: Checkpoint, model: PreTrainedModel
) -> EpochPlan:
    from longbel_cli.training.batches import EpochPlan

    source = ItemSource(corpus, options, checkpoint)
    if not len(source):
        raise LongbelError(
            "no mention of the corpus has a target in the knowledge base",
            "Gold concepts must be in the KB, in the mention's group; see `longbel check --kb`.",
        )
    pad = checkpoint.tokenizer.pad_token_id
    return EpochPlan(
        n_items=len(source),
        make=source.make,
        tokens_per_batch=options.tokens_per_batch,
        seed=options.seed,
        pad=checkpoint.tokenizer.eos_token_id if pad is None else pad,
    )


def _run(
    options: TrainOptions,
    model: PreTrainedModel,
    plan: EpochPlan,
    folder: Path,
    save_every: int,
    on_step: Callable[[Step], None],
    should_stop: Callable[[], bool],
) -> bool:
    import torch

    from longbel_cli.training.loop import Schedule, Trainer
    from longbel_cli.training.state import StateFile

    schedule = Schedule(options.epochs, options.steps, options.learning_rate, options.warmup)
    autocast = torch.bfloat16 if _in_bfloat16(options.dtype, model.device.type) else None
    trainer = Trainer(model, schedule, autocast, options.seed)
    state = StateFile(folder / STATE_FILE)
    journal = folder / LOG_FILE
    _cut_journal(journal, state.steps_done())
    with journal.open("a", encoding="utf-8") as stream:

        def note(step: Step) -> None:
            line = {"step": step.number, "loss": step.loss, "rate": step.rate}
            stream.write(json.dumps(line) + "\n")
            on_step(step)

        return trainer.train(plan, state, save_every, note, should_stop)


def _cut_journal(journal: Path, steps: int) -> None:
    """Keep the lines of the steps that the saved state has behind it."""
    if journal.exists():
        lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)[:steps]
        journal.write_text("".join(lines), encoding="utf-8")


def _in_bfloat16(dtype: str, device: str) -> bool:
    """`auto`: bfloat16 arithmetic on CUDA that supports it, float32 elsewhere."""
    import torch

    if dtype == "auto":
        return device == "cuda" and torch.cuda.is_bf16_supported()
    return dtype == "bfloat16"


def _publish(
    options: TrainOptions, checkpoint: Checkpoint, model: PreTrainedModel, folder: Path, out: Path
) -> None:
    """The model folder, whole or not at all. Keeps a model card that lies there already."""
    import torch

    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    dtype = options.save_dtype
    if dtype == "auto":
        dtype = "float16" if options.fresh is not None else "bfloat16"
    model = model.to(getattr(torch, dtype)).eval()
    _describe(model, checkpoint.tokenizer, options)
    model.save_pretrained(part)
    checkpoint.tokenizer.save_pretrained(part)
    (part / CARD_FILE).write_text(
        json.dumps(_card(options), indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    card = out / "README.md"
    if card.exists():
        shutil.copy(card, part / "README.md")
    if out.exists():
        shutil.rmtree(out)
    for file in part.iterdir():
        file.chmod(0o644)  # safetensors writes for its owner alone
    part.rename(out)
    shutil.rmtree(folder / "start", ignore_errors=True)
    (folder / STATE_FILE).unlink(missing_ok=True)


def _card(options: TrainOptions) -> dict[str, Any]:
    from longbel_cli.version import package_version

    names = ("longbel", "torch", "transformers", "tokenizers")
    return {
        "options": asdict(options),
        "versions": {name: package_version(name) for name in names},
    }

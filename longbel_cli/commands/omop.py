"""Puts together what `convert --to omop` needs: the run's facts, note ids, and OMOP's concepts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from kb_builder.store.concept_facts import ConceptFacts
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.corpora.omop_concepts import (
    ConceptMap,
    GivenMap,
    OwnIds,
    SourceCode,
    map_through,
    read_map,
    read_note_ids,
)
from longbel_cli.corpora.omop_options import OmopOptions
from longbel_cli.corpora.prediction_index import PredictionIndex
from longbel_cli.runs.facts import UNKNOWN, run_date, run_facts
from longbel_cli.version import package_version

log = logging.getLogger(__name__)


def omop_options(index: PredictionIndex, kb: Path | None, given: Mapping[str, Any]) -> OmopOptions:
    """Options from the parameters of `convert`; LongbelError where one is missing or wrong."""
    with_text = not given["no_text"]
    if with_text:
        log.warning(
            "lexical_variant holds the mentions' texts, as NOTE_NLP asks: the file is as "
            "confidential as the notes (--no-text writes names of concepts instead)"
        )
    note_ids = given["note_ids"]
    return OmopOptions(
        concepts=_concepts(index, kb, given["concept_map"], given["omop_vocabulary"]),
        date=_date(index.path, given["date"]),
        system=_system(index.path, with_text),
        note_of=None if note_ids is None else read_note_ids(note_ids),
        first_id=given["first_id"],
        bigint=given["bigint"],
        text=with_text,
    )


def _date(predictions: Path, given: str | None) -> date:
    try:
        said = run_date(predictions) if given is None else date.fromisoformat(given)
    except ValueError as error:
        raise LongbelError(f"--date {given}: no date", "Write 2026-12-31.", exit_code=2) from error
    if said is None:
        raise LongbelError(
            f"{predictions}: no run says when it was made, and nlp_date is required",
            "Give --date YYYY-MM-DD.",
            exit_code=2,
        )
    return said


def _system(predictions: Path, with_text: bool) -> str:
    """What made the rows: versions and hashes, not paths."""
    facts = run_facts(predictions)
    version = package_version("longbel") if facts.version == UNKNOWN else facts.version
    parts = [f"longbel {version}", f"model {facts.model}", f"kb {facts.kb}"]
    if facts.linker not in (UNKNOWN, "longbel"):
        parts.insert(1, f"linker {facts.linker}")
    return "; ".join(parts if with_text else [*parts, "names in place of text"])


def _concepts(
    index: PredictionIndex, kb: Path | None, concept_map: Path | None, vocabulary: Path | None
) -> ConceptMap:
    if concept_map is not None and vocabulary is not None:
        raise LongbelError(
            "--concept-map does not go with --omop-vocabulary", "Give one of them.", exit_code=2
        )
    if concept_map is not None:
        return read_map(concept_map)
    facts = None if kb is None else ConceptFacts(KnowledgeBase.open(kb))
    if vocabulary is not None:
        if facts is None:
            raise LongbelError(
                "--omop-vocabulary needs the source codes of the knowledge base",
                "Give it with --kb.",
                exit_code=2,
            )
        codes = facts.all_source_codes(index.answered_codes())
        sources = {code: [SourceCode(*each) for each in of] for code, of in codes.items()}
        return map_through(vocabulary, sources)
    if facts is not None and facts.has_omop_ids:
        if not facts.are_all_standard:
            log.warning(
                "%s holds concepts that are not standard, which NOTE_NLP should not have: build it "
                "with --standard-only, or give --omop-vocabulary too",
                kb,
            )
        return OwnIds()
    log.warning(
        "no way to OMOP's concepts is given, so note_nlp_concept_id is 0 everywhere: give "
        "--omop-vocabulary with --kb, --concept-map, or --kb of an OMOP vocabulary"
    )
    return GivenMap({})

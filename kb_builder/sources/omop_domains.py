"""Which semantic group the concepts of an OMOP domain belong to.

Prompts and published checkpoints know UMLS's groups. Observation holds concepts of every kind, so
there the concept class decides. Domains without a group are administrative and left out unless
they are asked for.
"""

from __future__ import annotations

GROUP_OF_DOMAIN: dict[str, str | None] = {
    "Condition": "DISO",
    "Condition Status": "CONC",
    "Condition/Device": "DISO",
    "Condition/Meas": "DISO",
    "Condition/Obs": "DISO",
    "Condition/Procedure": "DISO",
    "Device": "DEVI",
    "Device/Drug": "DEVI",
    "Device/Obs": "DEVI",
    "Device/Procedure": "DEVI",
    "Drug": "CHEM",
    "Drug/Procedure": "CHEM",
    "Episode": "CONC",
    "Ethnicity": "LIVB",
    "Gender": "LIVB",
    "Geography": "GEOG",
    "Language": "CONC",
    "Meas Value": "CONC",
    "Meas Value Operator": "CONC",
    "Meas/Procedure": "PROC",
    "Measurement": "PROC",
    "Obs/Procedure": "PROC",
    "Observation": "CONC",  # see below
    "Place of Service": "ORGA",
    "Procedure": "PROC",
    "Provider": "LIVB",
    "Provider Specialty": "LIVB",
    "Race": "LIVB",
    "Regimen": "PROC",
    "Route": "CONC",
    "Spec Anatomic Site": "ANAT",
    "Spec Disease Status": "CONC",
    "Specimen": "ANAT",
    "Unit": "CONC",
    "Visit": "PROC",
    "Cost": None,
    "Currency": None,
    "Metadata": None,
    "Note": None,
    "Observation Type": None,
    "Payer": None,
    "Plan": None,
    "Plan Stop Reason": None,
    "Relationship": None,
    "Revenue Code": None,
    "Sponsor": None,
    "Type Concept": None,
}
ADMINISTRATIVE = "CONC"  # the group of those without one, where they are asked for
BY_CLASS = "Observation"
GROUP_OF_CLASS: dict[str, str] = {
    "Body Structure": "ANAT",
    "Clinical Finding": "DISO",
    "Context-dependent": "DISO",
    "Disorder": "DISO",
    "Event": "PHEN",
    "Location": "GEOG",
    "Morph Abnormality": "DISO",
    "Observable Entity": "PHYS",
    "Organism": "LIVB",
    "Pharma/Biol Product": "CHEM",
    "Physical Force": "PHEN",
    "Physical Object": "DEVI",
    "Procedure": "PROC",
    "Social Context": "LIVB",
    "Specimen": "ANAT",
    "Staging / Scales": "PROC",
    "Substance": "CHEM",
}


def group_code_of_concept(domain: str, concept_class: str) -> str | None:
    """The group's code; None of an administrative domain."""
    if domain == BY_CLASS and concept_class in GROUP_OF_CLASS:
        return GROUP_OF_CLASS[concept_class]
    return GROUP_OF_DOMAIN[domain]

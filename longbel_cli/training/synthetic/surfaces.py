"""How texts write a name: small letters, plurals, word orders, spellings, abbreviations, slips.

Each change is of the written form alone; whether the result still stands for the concept is for
the caller to see.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence


def decased(text: str, rng: random.Random) -> str:
    """Small letters where a name has a capital and then small ones; mostly in every word."""
    style = rng.random()
    if style < 0.1:
        return text
    words = text.split(" ")
    keep = 0 if style < 0.8 else 1
    lowered = [
        word[0].lower() + word[1:] if _capitalised(word) and (n == 0 or not keep) else word
        for n, word in enumerate(words)
    ]
    return " ".join(lowered)


def _capitalised(word: str) -> bool:
    return word[:1].isupper() and word[1:] == word[1:].lower() and len(word) > 1


_SMALL_WORDS = frozenset(
    ("of", "the", "and", "in", "with", "de", "la", "le", "du", "des", "del", "los", "a", "y")
)


def abbreviation(surface: str) -> str | None:
    """The initials of a name of two to six words, small words left out."""
    words = [
        word for word in re.findall(r"[^\W\d_]+", surface) if word.casefold() not in _SMALL_WORDS
    ]
    if not 2 <= len(words) <= 6:
        return None
    return "".join(word[0] for word in words).upper()


# Changes of a written name: text, language, rng -> text. Each leaves alone what it does not fit.
Change = Callable[[str, str, random.Random], str]


def without_qualifier(text: str, language: str, rng: random.Random) -> str:
    """`Cold (disorder)`: the bracket at the end left out."""
    return re.sub(r"\s*\([^()]*\)$", "", text)


def reordered(text: str, language: str, rng: random.Random) -> str:
    """`diabetes mellitus, type 2`: what follows the only comma put first."""
    head, comma, tail = text.partition(", ")
    return f"{tail} {head}" if comma and "," not in tail else text


def of_phrase(text: str, language: str, rng: random.Random) -> str:
    """`cancer of the breast` as `breast cancer`, and the other way round."""
    if language != "en":
        return text
    head, of, tail = text.partition(" of ")
    if of and " " not in head:
        return f"{tail.removeprefix('the ')} {head}"
    words = text.split(" ")
    if len(words) == 2 and rng.random() < 0.3:
        return f"{words[1]} of {'the ' if rng.random() < 0.5 else ''}{words[0]}"
    return text


def without_last_word(text: str, language: str, rng: random.Random) -> str:
    """`sildenafil citrate` as `sildenafil`: the first of two words alone, if it is a long one."""
    words = text.split(" ")
    return words[0] if len(words) == 2 and len(words[0]) > 5 and words[0].isalpha() else text


def other_number(text: str, language: str, rng: random.Random) -> str:
    """The last word (French and Spanish: every long word) in the other number."""
    words = text.split(" ")
    positions = range(len(words)) if language != "en" and len(words) < 3 else [len(words) - 1]
    for position in positions:
        words[position] = _other_number(words[position], language)
    return " ".join(words)


def _other_number(word: str, language: str) -> str:
    if len(word) < 4 or not word.isalpha() or word.isupper():
        return word
    if word.endswith("ies") and language == "en":
        return word[:-3] + "y"
    if word.endswith("es") and (language == "es" or word.endswith(("ses", "xes", "ches"))):
        return word[:-2] + ("is" if word.endswith("ses") and language == "en" else "")
    if word.endswith(("ss", "us", "is", "x")):
        return word[:-2] + "es" if word.endswith("sis") and language == "en" else word
    if word.endswith("s"):
        return word[:-1]
    if word.endswith("y") and language == "en":
        return word[:-1] + "ies"
    vowel = word[-1] in "aeiouáéíóú"
    return word + ("s" if language != "es" or vowel else "es")


_ATLANTIC = (
    ("oedema", "edema"), ("haem", "hem"), ("anaem", "anem"), ("tumour", "tumor"),
    ("oesoph", "esoph"), ("paed", "ped"), ("leukaem", "leukem"), ("ischaem", "ischem"),
    ("caec", "cec"), ("diarrhoea", "diarrhea"), ("gynaec", "gynec"), ("sulph", "sulf"),
    ("fibre", "fiber"), ("orthopaed", "orthoped"), ("aemia", "emia"), ("foetal", "fetal"),
)  # fmt: skip


def other_side_of_the_atlantic(text: str, language: str, rng: random.Random) -> str:
    """British for American spelling and the other way round."""
    if language != "en":
        return text
    for british, american in _ATLANTIC:
        if british in text:
            return text.replace(british, american)
        if american in text:
            return text.replace(american, british)
    return text


_WORD_PAIRS = (
    ("renal", "kidney"), ("hepatic", "liver"), ("cardiac", "heart"), ("pulmonary", "lung"),
    ("gastric", "stomach"), ("cerebral", "brain"), ("cutaneous", "skin"), ("ocular", "eye"),
    ("neoplasm", "tumor"), ("carcinoma", "cancer"), ("disorder", "disease"),
    ("syndrome", "disease"),
    ("mammary", "breast"), ("ovarian", "ovary"), ("thyroidal", "thyroid"),
    ("pancreatic", "pancreas"),
    ("type 2", "type II"), ("type 1", "type I"), ("type 3", "type III"), ("intestinal", "bowel"),
    ("hypersensitivity", "allergy"), ("insufficiency", "failure"), ("elevated", "increased"),
    ("abnormal", "anomalous"), ("abnormality", "anomaly"), ("colonic", "colon"),
    ("prostatic", "prostate"), ("uterine", "uterus"), ("arterial", "artery"), ("venous", "vein"),
    ("muscular", "muscle"), ("vascular", "vessel"), ("neonatal", "newborn"),
    ("infantile", "infant"),
)  # fmt: skip


def related_word(text: str, language: str, rng: random.Random) -> str:
    """A word for one of the same sense: the organ and its adjective, say."""
    if language != "en":
        return text
    for left, right in _WORD_PAIRS:
        for old, new in ((left, right), (right, left)):
            if re.search(rf"\b{old}\b", text):
                return re.sub(rf"\b{old}\b", new, text, count=1)
    return text


def possessive(text: str, language: str, rng: random.Random) -> str:
    """`Crohn's disease` as `Crohn disease`."""
    return text.replace("'s ", " ").replace("’s ", " ")


_ADJECTIVES: dict[str, tuple[tuple[str, str], ...]] = {
    "en": (("osis", "otic"), ("emia", "emic"), ("pathy", "pathic"), ("rrhage", "rrhagic"),
           ("algia", "algic"), ("ensive", "ension"), ("ension", "ensive"), ("etes", "etic"),
           ("esity", "ese"), ("trophy", "trophic"), ("plegia", "plegic"), ("phrenia", "phrenic"),
           ("cardia", "cardic"), ("ysis", "yzed"), ("tion", "ted"), ("itis", "itic")),
    "fr": (("ose", "otique"), ("émie", "émique"), ("pathie", "pathique"), ("ension", "endu"),
           ("bète", "bétique"), ("algie", "algique"), ("cardie", "carde"), ("ésité", "èse"),
           ("plégie", "plégique"), ("trophie", "trophique")),
    "es": (("osis", "ótico"), ("emia", "émico"), ("patía", "pático"), ("ensión", "enso"),
           ("betes", "bética"), ("algia", "álgico"), ("cardia", "cárdico"), ("cardia", "cárdica"),
           ("esidad", "eso"), ("ensión", "ensa"), ("plejia", "pléjico"), ("trofia", "trófico")),
}  # fmt: skip


def adjective(text: str, language: str, rng: random.Random) -> str:
    """A name of one word as the adjective that texts make of it: `osteoporotic`."""
    fitting = [pair for pair in _ADJECTIVES[language] if text.endswith(pair[0])]
    if not fitting or " " in text:
        return text
    old, new = rng.choice(fitting)
    return text.removesuffix(old) + new


def hyphens(text: str, language: str, rng: random.Random) -> str:
    """Hyphens between letters as blanks, or the first blank as a hyphen."""
    if "-" in text:
        return re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", rng.choice((" ", "")), text)
    return text.replace(" ", "-", 1) if rng.random() < 0.3 else text


_PLAIN_LETTERS = str.maketrans("áàâäéèêëíîïóôöúûùüçñ", "aaaaeeeeiiiooouuuucn")


def without_accents(text: str, language: str, rng: random.Random) -> str:
    """Letters without their accents, as in hurried notes."""
    return text.translate(_PLAIN_LETTERS)


def slip(text: str, language: str, rng: random.Random) -> str:
    """One typing error: a letter lost, doubled or swapped with the next."""
    positions = [n for n in range(1, len(text) - 1) if text[n].isalpha() and text[n + 1].isalpha()]
    if len(positions) < 4:
        return text
    n = rng.choice(positions)
    return rng.choice(
        (text[:n] + text[n + 1 :], text[:n] + text[n] + text[n:],
         text[:n] + text[n + 1] + text[n] + text[n + 2 :])
    )  # fmt: skip


def shouted(text: str, language: str, rng: random.Random) -> str:
    """All capitals, as in headings."""
    return text.upper()


CHANGES: tuple[tuple[float, Change], ...] = (
    (0.6, without_qualifier),
    (0.7, reordered),
    (0.12, of_phrase),
    (0.06, without_last_word),
    (0.22, other_number),
    (0.3, other_side_of_the_atlantic),
    (0.12, related_word),
    (0.3, possessive),
    (0.08, hyphens),
    (0.06, without_accents),
    (0.25, adjective),
    (0.05, slip),
    (0.02, shouted),
)

# English endings and what French and Spanish make of them, longest first.
_ENDINGS: Sequence[tuple[str, str, str]] = (
    ("ectomy", "ectomie", "ectomía"), ("ostomy", "ostomie", "ostomía"),
    ("scopy", "scopie", "scopia"),
    ("graphy", "graphie", "grafía"), ("pathy", "pathie", "patía"), ("trophy", "trophie", "trofia"),
    ("plasty", "plastie", "plastia"), ("therapy", "thérapie", "terapia"), ("emia", "émie", "emia"),
    ("uria", "urie", "uria"), ("algia", "algie", "algia"), ("plasia", "plasie", "plasia"),
    ("penia", "pénie", "penia"), ("pnea", "pnée", "pnea"), ("rrhea", "rrhée", "rrea"),
    ("osis", "ose", "osis"), ("itis", "ite", "itis"), ("ysis", "yse", "isis"),
    ("tion", "tion", "ción"),
    ("sion", "sion", "sión"), ("ility", "ilité", "ilidad"), ("icity", "icité", "icidad"),
    ("ity", "ité", "idad"), ("oma", "ome", "oma"), ("ism", "isme", "ismo"), ("gen", "gène", "geno"),
    ("one", "one", "ona"), ("ine", "ine", "ina"), ("ide", "ide", "ida"), ("ate", "ate", "ato"),
    ("ole", "ole", "ol"), ("ium", "ium", "io"), ("ous", "eux", "oso"), ("ary", "aire", "ario"),
    ("ical", "ique", "ico"), ("ic", "ique", "ico"), ("al", "al", "al"), ("in", "ine", "ina"),
    ("am", "am", "am"), ("ia", "ie", "ia"), ("ol", "ol", "ol"),
)  # fmt: skip
_TURNS = {
    "fr": (("oe", "œ"), ("k", "c")),
    "es": (("ph", "f"), ("th", "t"), ("y", "i"), ("ss", "s"), ("mm", "m"), ("ll", "l"), ("rh", "r"),
           ("ch", "c"), ("ff", "f")),
}  # fmt: skip


def in_other_language(text: str, language: str, rng: random.Random) -> str:
    """What French or Spanish might make of an English name: endings and spelling, word by word."""
    words = [_other_word(word, language, rng) for word in text.split(" ")]
    if len(words) == 2 and rng.random() < 0.7:
        words.reverse()
    return " ".join(words)


def _other_word(word: str, language: str, rng: random.Random) -> str:
    if len(word) < 5 or not word.isalpha() or word.isupper():
        return word
    column = 1 if language == "fr" else 2
    for endings in _ENDINGS:
        if word.endswith(endings[0]):
            word = word[: -len(endings[0])] + endings[column]
            break
    for old, new in _TURNS[language]:
        if language == "es" or rng.random() < 0.2:
            word = word.replace(old, new)
    if rng.random() < 0.4:
        accents = {"fr": ("e", "é"), "es": ("i", "í")}[language]
        position = word.find(accents[0], 1)
        if 0 < position < len(word) - 2:
            word = word[:position] + accents[1] + word[position + 1 :]
    return word

"""Words of three languages, written by hand: a name that is nothing else is no mention.

Some terminologies call a gene AND, a unit À or a finding AS; in running text these are grammar.
Terminologies of findings also list general words, such as Result, Common and Feature.
"""

from __future__ import annotations

FUNCTION_WORDS = {
    "en": """
        a about above after again against all also although am among an and any are as at be because
        been before being below between both but by can could did do does doing down due during each
        either else ever every few for from further had has have having he her here hers him his how
        however i if in into is it its itself less let like made many may me might more most much
        must my neither no nor not now of off on once one only or other others our ours out over own
        per rather same set she should since so some such than that the their theirs them then there
        these they this those through thus to too two under until up upon us use used using very via
        was we were what when where whether which while who whom whose why will with within without
        would yet you your
        """,
    "fr": """
        à afin ai ainsi alors après au aucun aucune aussi autre autres aux avant avec avez avoir car
        ce ceci cela celle celles celui ces cet cette ceux chaque chez comme comment contre d dans
        de depuis des deux donc dont du durant elle elles en encore entre est et étaient était été
        être eu eux fait faire il ils j jusque l la le les leur leurs lors lorsque lui m mais même
        mêmes moins mon n ne ni non nos notre nous on ont ou où par parce pas pendant peu peut plus
        pour pourquoi prendre puis qu quand que quel quelle quelles quels qui s sa sans se selon ses
        si sinon soit son sont sous sur t ta tous tout toute toutes très trop tu un une vers vos
        votre vous y
        """,
    "es": """
        a al algo algún alguna algunas algunos ante antes aquel aquella así aunque bajo bien cada
        casi como con contra cual cuales cuando de del desde donde dos durante e el él ella ellas
        ellos en entre era eran es esa esas ese eso esos esta está están estas este esto estos fue
        fueron ha había han hasta hay la las le les lo los más me menos mi mientras muy nada ni no
        nos o otra otras otro otros para pero poco por porque pues que qué quien se según ser si sí
        sin sino sobre son su sus tal también tan tanto te tiene toda todas todo todos tras tu u un
        una unas uno unos y ya yo
        """,
}

# Chosen on the development sets of the corpora that were measured.
GENERAL_WORDS = {
    "en": """
        agent band common complete complication condition development developmental domain
        expressed expression familial feature finding gave inherited initiation localized marker
        motif oral orally outcome pathway rare region resistance resistant result rich sensitive
        sensitivity sign stage symptom test variable
        """,
    "fr": """
        association complet complète condition expression orale région rare résultat signe test
        """,
    "es": """
        caso completo común condición estudio hospital mal oral raro región resultado signo zona
        """,
}


def stop_words(function_words: bool = True, general_words: bool = True) -> frozenset[str]:
    """The words of all languages, of the lists that are asked for."""
    lists = [
        *(FUNCTION_WORDS.values() if function_words else ()),
        *(GENERAL_WORDS.values() if general_words else ()),
    ]
    return frozenset(word for words in lists for word in words.split())

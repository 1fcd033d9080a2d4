"""For notebooks and scripts: rows as the published model card shows them, and explanations.

`Linker` here is the linker that `from longbel_cli import Linker` gives.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from longbel_cli.corpora.bigbio import documents_of
from longbel_cli.explaining.explanation import Explanation
from longbel_cli.explaining.html import html_fragment
from longbel_cli.explaining.replay import saliency_maps
from longbel_cli.explaining.terminal import ansi
from longbel_cli.linking import linker


class Linker(linker.Linker):
    """Links documents: `Linker.load(model, kb)`, then `link` or `sample`."""

    def sample(
        self,
        bigbio_pages: Sequence[dict[str, Any]],
        num_beams: int | None = None,
        with_saliency_maps: bool = False,
    ) -> Any:
        """Rows as the published model card shows them: one a mention and beam, best first.

        With `with_saliency_maps`, a pair: the rows, and an explanation of each mention's top beam
        (`display_saliency_map` shows one).
        """
        documents = list(documents_of(bigbio_pages))
        predictions = list(self.link(documents, num_beams))
        rows = [
            {
                "document_id": prediction.document_id,
                "mention_id": prediction.mention_id,
                "mention": prediction.mention,
                "semantic_group": prediction.semantic_group,
                "rank": candidate.rank,
                "pred_concept_name": candidate.concept_name,
                "pred_concept_code": candidate.concept_code,
                "beam_score": candidate.score,
            }
            for prediction in predictions
            for candidate in prediction.candidates
        ]
        if not with_saliency_maps:
            return rows
        return rows, list(saliency_maps(self)(documents, predictions))


def display_saliency_map(explanation: Explanation) -> None:
    """Show an explanation where one is: as HTML in a notebook, else as ANSI on stdout."""
    if _in_notebook():
        from IPython.display import HTML, display

        display(HTML(html_fragment(explanation)))
    else:
        print(ansi(explanation, colour=sys.stdout.isatty()))


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"

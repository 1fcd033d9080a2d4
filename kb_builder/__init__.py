"""Terminologies as knowledge bases: names, concepts, and tries of names over token ids.

Knows nothing of models, documents or the command line: no torch, transformers or typer here.
"""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())

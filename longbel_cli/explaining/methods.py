"""How a prediction can be explained: the choices, each with a line of help. Loads no torch."""

from __future__ import annotations

METHODS = {
    "gradient": "norms of gradients",
    "integrated": "integrated gradients, with their signs",
    "ablation": "what the score loses without each sentence and memory line",
}
# The embedding at which integrated gradients begin.
BASELINES = {"pad": "the padding token", "zero": "zeros", "mean": "the mean of all tokens"}
# How the steps of integrated gradients lie between the baseline and the prompt.
PATHS = {"even": "equal steps", "adaptive": "more steps where the score changes"}

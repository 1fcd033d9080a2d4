"""Mentions in plain text: a document in, its mentions with borders, group and score out.

Knows no linker, no model of the causal kind and no command line; loads no torch.
"""

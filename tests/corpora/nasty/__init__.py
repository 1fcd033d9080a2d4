"""Corpora that go wrong, by name."""

"""Synthetic documents made from the names of a knowledge base."""

"""Rules: which names a knowledge base keeps, and how they are written."""

# What becomes of a concept whose names all belong to others too.
AMBIGUOUS = {
    "drop": "a concept may lose all its names to others",
    "qualify": "such a concept stays reachable under 'name (preferred title)'",
    "qualify-all": "every concept that shares a name is also reachable under that",
}

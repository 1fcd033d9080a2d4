"""Document-level biomedical entity linking."""

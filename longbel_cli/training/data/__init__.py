"""Training examples from annotated documents."""

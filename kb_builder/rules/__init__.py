"""Names of concepts as the published rules keep them, from a source's columns."""

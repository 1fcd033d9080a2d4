"""The knowledge base directory on disk: opened, looked up, searched."""

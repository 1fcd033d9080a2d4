"""From documents to predictions: linkers, the engine that batches, the job that records."""

"""The optimisation: steps, state, folds, validation, processes."""

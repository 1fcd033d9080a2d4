"""The parts of `longbel train`: names, examples, batches, the optimiser's loop and its states."""

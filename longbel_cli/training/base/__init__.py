"""The model a training starts from: a checkpoint, LoRA adapters, or from scratch."""

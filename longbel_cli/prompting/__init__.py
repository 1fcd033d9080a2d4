"""What the model reads: prompt formats, sentences, truncation to the context."""

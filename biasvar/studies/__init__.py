"""Studies: a question with names, labels and shapes, and what its blocks come to; nothing of the engine."""

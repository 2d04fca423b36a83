"""Studies: a question with names, labels and shapes; three verbs that the engine calls, and nothing of the engine."""

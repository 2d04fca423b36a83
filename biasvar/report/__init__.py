"""Tables and figures: they read summaries and compute no study."""

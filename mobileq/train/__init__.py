"""Training: batches, loop, and what is needed to resume."""

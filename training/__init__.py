"""Training: cached features of frozen encoders, a curriculum of stages, checkpoints, export of the adapter."""

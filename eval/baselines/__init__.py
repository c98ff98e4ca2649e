"""What a model that listens must beat: ears with a language model that reads, and untrained ears."""

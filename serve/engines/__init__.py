"""What answers the jobs of the server: our own running batch, or vLLM."""

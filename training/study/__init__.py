"""How should audio enter a language model? The same training once for each answer, and what came of it."""

"""Kinds of steps: what each is told, what it takes and gives, and into which units its work falls."""

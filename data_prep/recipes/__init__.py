"""Recipes: from downloads to shards by one file; steps run again only when something that they depend on changed."""

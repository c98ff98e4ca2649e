"""Building blocks that several encoder families share."""

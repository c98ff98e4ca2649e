"""Parts that several encoder families share."""

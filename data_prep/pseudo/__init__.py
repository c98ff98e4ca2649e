"""Labels that a scorer gives to recordings without labels: confidences, thresholds, views, and how far to trust them."""

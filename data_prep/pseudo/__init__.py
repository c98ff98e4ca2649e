"""Labels that a scorer gives to recordings without any: confidences, thresholds, views, and how far to trust them."""

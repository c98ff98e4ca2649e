"""The harness: items, stages, controls and reports that every benchmark shares."""

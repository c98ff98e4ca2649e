"""The event-tag head with few labels and many recordings without: the published semi-supervised methods, on cached
features. `python -m training.semi CONFIG` compares them and writes `docs/semi-supervised.md`."""

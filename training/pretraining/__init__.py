"""A small encoder of one's own, learnt from recordings without labels: SSAST's masked patches, and BEATs' masked token
prediction with a tokenizer. `python -m training.pretraining CONFIG` trains, probes and writes `docs/own-encoder.md`."""

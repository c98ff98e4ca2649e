"""Golden tensors: what the authors' own code gives on weights and input that anyone can make again.

`python -m tools.golden.NAME CHECKOUT` runs the original in an environment of its own and writes
tests/golden/encoders/NAME.safetensors; nothing of the original is kept but numbers.
"""

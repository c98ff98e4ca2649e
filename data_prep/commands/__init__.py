"""Commands of `alm data`, a file for each part of data preparation."""

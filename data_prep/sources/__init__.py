"""Openly licensed recordings beyond the first corpus: public git repositories and further Debian packages.

`catalog` holds the sources and label rules (data in `data_prep/manifest/extra_*.csv`), `extra_git` and `extra_debian`
read files of a source, `scan` turns them into the manifest `extra_clips.csv.gz`, `gather` fills an audio store from it.
"""

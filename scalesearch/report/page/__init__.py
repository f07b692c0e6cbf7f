"""A study as one self-contained page: plain values in ``payload``, a document around them in ``document``."""

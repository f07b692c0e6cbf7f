"""A detector in torch, its parameters named as effdet's, and files of weights."""

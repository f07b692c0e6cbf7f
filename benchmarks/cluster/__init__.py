"""A cluster that exists in a clock alone: the parts of ``simulate_cluster.py``."""

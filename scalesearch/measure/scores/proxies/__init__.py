"""Zero-cost proxies: what a network is worth before any training."""

from scalesearch.measure.scores.proxies.scoring import proxy_score

__all__ = ["proxy_score"]

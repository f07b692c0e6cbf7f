"""Neural architecture search: propose a network, gate it by cost, train it briefly, learn from it."""

from scalesearch.search.config import SearchConfig
from scalesearch.search.networks import SearchResult, run_search

__all__ = ["SearchConfig", "SearchResult", "run_search"]

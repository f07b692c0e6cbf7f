"""The sampler of our own: a model of accuracy proposes."""

from scalesearch.search.predictor.sampler import PredictorSampler

__all__ = ["PredictorSampler"]

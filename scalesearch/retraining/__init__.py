"""Full training of one network, once its architecture is settled: the long schedule, several seeds, the test split."""

from scalesearch.retraining.config import RetrainConfig
from scalesearch.retraining.running import RetrainResult, run_train

__all__ = ["RetrainConfig", "RetrainResult", "run_train"]

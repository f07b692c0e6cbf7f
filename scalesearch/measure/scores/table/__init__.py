"""A table of known results in place of a training."""

from scalesearch.measure.scores.table.lookup import Table
from scalesearch.measure.scores.table.regressor import Regressor, fit_regressor

__all__ = ["Regressor", "Table", "fit_regressor"]

"""Look a network up among known results: a search then costs milliseconds a trial, and its true optimum is known.

What a search finds on a table says how good the search is, not how good the networks are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scalesearch.arch import ArchSpec, SearchSpace
from scalesearch.errors import ConfigError
from scalesearch.measure.scores.config import MISSING
from scalesearch.measure.scores.job import Score
from scalesearch.measure.scores.table.formats import read_results
from scalesearch.measure.scores.table.regressor import Regressor, fit_regressor


@dataclass(frozen=True, eq=False)
class Table:
    """Accuracies of networks of one search space.

    Attributes:
        num_classes: Classes of the data that the networks were trained on.
        fingerprint: Twelve hexadecimal digits of the file's SHA-256.
        runs: Top-1 accuracies in [0, 1] of each network, one a training.
        regressor: Fills what the table lacks; None where such a network is infeasible. Its ``r2`` and ``mae`` say
            how far to trust it.
    """

    num_classes: int
    fingerprint: str
    runs: Mapping[ArchSpec, tuple[float, ...]] = field(repr=False)
    regressor: Regressor | None = None

    @classmethod
    def load(cls, path: Path, space: SearchSpace, missing: str = "infeasible") -> Table:
        """Read NAS-Bench-Macro's JSON, Accel-NASBench's CSV or a study's ``trials.csv``, told apart by content.

        Args:
            path: The file; a CSV may be compressed by gzip.
            space: The space that is searched, at the image size of the table.
            missing: What to say of a network that the table lacks: ``infeasible`` (nothing) or ``fill`` (the value of
                a regressor fitted to the table).

        Raises:
            ConfigError: The file cannot be read, is none of these, does not fit the space, or is too small to fill.
        """
        if missing not in MISSING:
            raise ConfigError(f"score.missing must be one of {', '.join(MISSING)}, got {missing!r}")
        try:
            content = Path(path).read_bytes()
            known = read_results(content, space)
            means = {arch: sum(runs) / len(runs) for arch, runs in known.runs.items()}
            regressor = fit_regressor(space, means) if missing == "fill" else None
        except OSError as error:
            raise ConfigError(f"score.path: {path} cannot be read ({error.strerror})") from None
        except ConfigError as error:
            raise ConfigError(f"score.path: {path}: {error}") from None
        return cls(known.num_classes, hashlib.sha256(content).hexdigest()[:12], known.runs, regressor)

    def __len__(self) -> int:
        """Return the number of networks."""
        return len(self.runs)

    def lookup(self, arch: ArchSpec, seed: int) -> float | None:
        """Return the accuracy of a network in [0, 1], None where the table lacks it and nothing fills it.

        Of ``n`` trainings this is number ``seed % n``, so a seed chooses one training and not their mean: a search
        meets the noise it would meet in training. A filled value has no noise, whatever the seed.

        Raises:
            SpaceError: The network is neither in the table nor in the space, and is to be filled.
        """
        runs = self.runs.get(arch)
        if runs is not None:
            return runs[seed % len(runs)]
        return None if self.regressor is None else self.regressor.predict(arch)

    def score(self, arch: ArchSpec, seed: int) -> Score | None:
        """Return what ``lookup`` finds as a score: the accuracy alone, nothing was trained or timed.

        Raises:
            SpaceError: The network is neither in the table nor in the space, and is to be filled.
        """
        val_top1 = self.lookup(arch, seed)
        return None if val_top1 is None else Score(val_top1=val_top1)

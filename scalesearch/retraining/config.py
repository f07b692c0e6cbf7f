"""The keys of ``scalesearch train``, and the network and the recipe they name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scalesearch.arch import ArchSpec
from scalesearch.arch.reading import read_arch
from scalesearch.errors import ConfigError, StudyError, listed, shown
from scalesearch.nn.layers import PADDINGS
from scalesearch.nn.pretrained import KEEPS
from scalesearch.nn.weights import SUFFIXES
from scalesearch.study.folder import StudyFolder
from scalesearch.study.settings import StudyConfig, check_at_least, check_choice
from scalesearch.study.store import load_records

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(kw_only=True, slots=True)
class RetrainConfig(StudyConfig):
    """The keys of ``scalesearch train``.

    Attributes:
        arch: A published name, a .yaml or .json file, or block strings joined by commas; where not given, the base
            network or the ``member`` of a study.
        from_study: Study whose network is trained, in the same ``results``; this one where not given.
        member: Of that study's family, as ``phi=1``; its base network where not given.
        image_size: Pixels a side; the architecture's own where not given.
        seeds: Trainings, each with a seed of its own.
        evaluate_every: Steps between two readings of the search-val split; about a pass over the training images where
            not given.
        init: A checkpoint of timm, torchvision or scalesearch to begin with: what fits by name and shape is kept.
        init_keeps: ``all`` that fits, or the ``features``: all but the classifier.
        padding: Of convolutions: ``symmetric`` (PyTorch), or ``same`` for weights converted from TensorFlow.
        bn_eps: BatchNorm's epsilon; 1e-3 for weights converted from TensorFlow.
        label: Names this way of training in the study's tables; ``scratch``, or ``finetuned`` with ``init``, where it
            is not given.
    """

    arch: str | None = None
    from_study: str | None = None
    member: str | None = None
    image_size: int | None = None
    seeds: int = 3
    evaluate_every: int | None = None
    init: str = ""
    init_keeps: str = "all"
    padding: str = "symmetric"
    bn_eps: float = 1e-5
    label: str = ""

    def __post_init__(self) -> None:
        StudyConfig.__post_init__(self)
        check_at_least("seeds", self.seeds, 1)
        for name in ("image_size", "evaluate_every"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 1)
        check_choice("init_keeps", self.init_keeps, KEEPS)
        check_choice("padding", self.padding, PADDINGS)
        if not self.bn_eps > 0:
            raise ConfigError(f"bn_eps must be above 0, got {self.bn_eps}")
        if self.label and not _LABEL.fullmatch(self.label):
            raise ConfigError(
                f"label must be up to 40 letters, digits, dots, dashes and underscores, got {shown(self.label)}"
            )
        if self.arch is not None and (self.member is not None or self.from_study is not None):
            raise ConfigError("arch names the network, and so do from_study and member: give one or the other")

    @property
    def way(self) -> str:
        """The label, with what stands for one where none is given."""
        return self.label or ("finetuned" if self.init else "scratch")

    def read_arch(self) -> ArchSpec:
        """Return the network, at the image size asked for.

        Raises:
            ScalesearchError: It cannot be read, or the study has none.
        """
        arch = read_arch(self.arch) if self.arch is not None else self._read_study()
        return arch if self.image_size is None else replace(arch, image_size=self.image_size)

    def digest_init(self) -> str:
        """Return the SHA-256 of the file to begin with, empty where there is none: a path says little of a content.

        Raises:
            ConfigError: It cannot be read.
        """
        if not self.init:
            return ""
        path = Path(self.init)
        if path.suffix not in SUFFIXES:
            raise ConfigError(f"init must be a file that ends in {', '.join(SUFFIXES)}, got {shown(self.init)}")
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"init must be a file of weights, got {shown(self.init)} ({error.strerror})") from None

    def recipe(self) -> dict[str, Any]:
        """Return what makes two trainings of one network, on one seed, the same: a label stands for one recipe."""
        begun = {"init": self.digest_init(), "init_keeps": self.init_keeps} if self.init else {"init": ""}
        return {"train": asdict(self.train), **begun, "padding": self.padding, "bn_eps": self.bn_eps}

    def _read_study(self) -> ArchSpec:
        folder = self.folder if self.from_study is None else StudyFolder.of(self.results, self.from_study)
        if self.member is not None:
            return _read_member(folder, folder.storage_url(self.storage), self.member)
        if not folder.base.exists():
            raise StudyError(
                f"{folder.base}: the study has no base network; give arch=, or from_study= of a study that has one"
            )
        return ArchSpec.load(folder.base)


def _read_member(folder: StudyFolder, url: str, member: str) -> ArchSpec:
    if url == folder.storage_url(None) and not folder.database.exists():  # SQLite would make an empty one
        raise StudyError(f"{folder.database}: there is no record to read member={shown(member)} from")
    members = {
        str(trial.user_attrs["label"]): trial.user_attrs["arch"]
        for record in load_records(url, folder.name)
        if record.part == "family"
        for trial in record.trials
        if "arch" in trial.user_attrs
    }
    if member not in members:
        raise StudyError(f"member must be one of study {folder.name}: {listed(members) or 'none'}; got {shown(member)}")
    return ArchSpec.from_dict(members[member])

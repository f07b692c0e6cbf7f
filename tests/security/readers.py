"""Every reader of files or texts that may come from a stranger, with valid documents to begin from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scalesearch.arch import SearchSpace
from scalesearch.arch.reading import read_arch, read_rule, read_rule_base
from scalesearch.config import load_config, read_key
from scalesearch.data.decoding import decode_image, read_kind
from scalesearch.detection.arch.reading import load_detector
from scalesearch.detection.data.coco import CocoFiles, open_coco
from scalesearch.detection.data.voc import open_voc
from scalesearch.detection.nn.trained import load_trained
from scalesearch.errors import ScalesearchError
from scalesearch.export.card import begin_card
from scalesearch.measure.latency_table.table import LatencyTable
from scalesearch.measure.scores.table.formats import read_results
from scalesearch.measure.trained import load_network
from scalesearch.nn.weights import read_weights
from scalesearch.study.folder import StudyFolder
from tests.security import documents

Read = Callable[[bytes], object]


@dataclass(frozen=True)
class Reader:
    """One way in.

    Attributes:
        documents: Valid ones, which a test holds to be accepted.
        prepare: Makes the reader of a document; what it needs on disk goes into the folder it is given.
        refusals: Errors that it may end with.
    """

    documents: Callable[[], tuple[bytes, ...]]
    prepare: Callable[[Path], Read]
    refusals: tuple[type[Exception], ...] = field(default=(ScalesearchError,))


def _from_file(name: str, read: Callable[[Path], object]) -> Callable[[Path], Read]:
    """Return what makes a reader of documents that are files of this name."""

    def prepare(folder: Path) -> Read:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)

        def read_bytes(document: bytes) -> object:
            path.write_bytes(document)
            return read(path)

        return read_bytes

    return prepare


def _from_text(read: Callable[[str], object]) -> Callable[[Path], Read]:
    return lambda _: lambda document: read(document.decode("utf-8", "surrogateescape"))


def _read_factors(path: Path) -> object:
    return read_rule(str(path)), read_rule_base(str(path))


def _read_blocks(text: str) -> object:
    return read_arch(text).arch_id


def _read_coco(path: Path) -> object:
    return open_coco({"train": CocoFiles(path, path.parent / "images")})


def _prepare_coco(folder: Path) -> Read:
    documents.write_picture(folder / "images" / "0.png")
    documents.write_picture(folder / "images" / "1.png")
    return _from_file("instances.json", _read_coco)(folder)


def _prepare_voc(folder: Path) -> Read:
    documents.write_picture(folder / "x.png")
    return _from_file("x.xml", lambda path: open_voc(path.parent))(folder)


def _read_study(path: Path) -> object:
    return StudyFolder(path.parent).read_config()


def _read_table(document: bytes) -> object:
    return read_results(document, SearchSpace.load("nas_bench_macro"))


def _json(content: object) -> Callable[[], tuple[bytes, ...]]:
    return lambda: (json.dumps(content).encode(),)


READERS: dict[str, Reader] = {
    "space": Reader(documents.spaces, _from_file("space.yaml", SearchSpace.load)),
    "arch": Reader(documents.archs, _from_file("arch.yaml", lambda path: read_arch(str(path)).arch_id)),
    "blocks": Reader(documents.blocks, _from_text(_read_blocks)),
    "factors": Reader(documents.factors, _from_file("factors.yaml", _read_factors)),
    "argument": Reader(documents.argument, _from_text(lambda text: read_key("predict", text))),
    "configuration": Reader(documents.arguments, _from_text(lambda text: load_config("predict", text.split("\n")))),
    "config.yaml": Reader(documents.study_configs, _from_file("config.yaml", _read_study)),
    "file of keys": Reader(
        documents.study_configs, _from_file("keys.yaml", lambda path: load_config("search", [f"config={path}"]))
    ),
    "coco": Reader(_json(documents.COCO), _prepare_coco),
    "voc": Reader(documents.voc, _prepare_voc),
    "detector": Reader(documents.detectors, _from_file("detector.yaml", load_detector)),
    "latency table": Reader(documents.latency_tables, _from_file("latency.json", LatencyTable.load)),
    "results table": Reader(documents.results_tables, lambda _: _read_table),
    "picture": Reader(documents.pictures, lambda _: decode_image, refusals=(ValueError,)),
    "kind of picture": Reader(documents.pictures, lambda _: read_kind, refusals=(ValueError,)),
    "npz": Reader(documents.npz, _from_file("data.npz", documents.read_npz)),
    "parquet": Reader(documents.parquet, _from_file("train.parquet", documents.read_parquet)),
    "tar": Reader(documents.tars, _from_file("data.tar", documents.read_tar)),
    "weights .pt": Reader(documents.pickles, _from_file("net.pt", read_weights)),
    "weights .safetensors": Reader(documents.safetensors, _from_file("net.safetensors", read_weights)),
    "trained detector": Reader(documents.trained, _from_file("detector.safetensors", load_trained)),
    "trained network": Reader(documents.trained_networks, _from_file("net.safetensors", load_network)),
    "model card": Reader(documents.model_cards, _from_file("README.md", lambda path: begin_card(path, "a", "b"))),
}


def accepted(read: Read, document: bytes, refusals: tuple[type[Exception], ...]) -> bool:
    """Read a document and say whether it was accepted; any error but a refusal goes through."""
    try:
        read(document)
    except refusals:
        return False
    return True

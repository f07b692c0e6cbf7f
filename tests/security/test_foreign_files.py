"""Files of weights, arrays and archives from strangers: nothing in them runs, leads elsewhere or fills the memory."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from scalesearch.arch import SearchSpace
from scalesearch.data.cache import load_entry
from scalesearch.data.formats.folder import open_folder
from scalesearch.data.formats.npz import load_images, open_npz
from scalesearch.data.formats.parquet import open_parquet
from scalesearch.detection.nn.detector import build_detector
from scalesearch.detection.nn.pretrained import load_pretrained
from scalesearch.detection.nn.trained import load_trained
from scalesearch.errors import ConfigError, DataError
from scalesearch.measure.scores.supernet import checkpoint
from scalesearch.measure.scores.supernet.checkpoint import load_supernet, read_record
from scalesearch.measure.scores.table import formats
from scalesearch.measure.scores.table.formats import read_results
from scalesearch.measure.trained import load_network
from scalesearch.nn.weights import read_weights
from tests.detection.detectors import tiny_spec
from tests.security.attacks import Attack, little_memory, pickled
from tests.security.documents import encode_picture, write_picture

LABELS = np.array([0, 1, 0, 1])
READ_WEIGHTS: dict[str, Callable[[Path], object]] = {
    "backbone or network": read_weights,
    "detector to begin from": lambda path: load_pretrained(build_detector(tiny_spec()), path),
    "trained detector": load_trained,
    "trained network": load_network,
    "record of a supernet": read_record,
    "supernet": load_supernet,
}


@pytest.mark.parametrize("reader", READ_WEIGHTS)
@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.safetensors", "net"])
@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_a_pickle_that_would_run_a_command_is_refused_wherever_weights_are_read(
    tmp_path: Path, reader: str, name: str, form: str
) -> None:
    path, victim = tmp_path / name, tmp_path / "victim"
    if form == "bare pickle":
        path.write_bytes(pickled(victim))
    else:
        content = {"state_dict": {"conv_stem.weight": torch.zeros(1)}, "args": Attack(victim)}
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ConfigError, match=rf"^{path}: "):
        READ_WEIGHTS[reader](path)
    assert not victim.exists()


@pytest.mark.parametrize(
    "changes",
    [{"num_classes": 10**15}, {"num_classes": "x"}, {"space": {"stages": "x"}}, {"space": 5}, {"name": [1]}, {}],
    ids=str,
)
def test_a_supernet_whose_record_and_weights_do_not_agree_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "supernet.safetensors"
    facts = {"name": "s", "space": SearchSpace.load("nas_bench_macro").to_dict(), "num_classes": 3, "seed": 0}
    facts |= {"data_fingerprint": "x", "train": {}, "supernet": {}, **changes}
    save_file({"weights.x": torch.zeros(1)}, path, {checkpoint._METADATA: json.dumps(facts)})
    with pytest.raises(
        ConfigError, match=rf"^{path}: a supernet's checkpoint, (whole|written by its training), is wanted"
    ):
        load_supernet(path)


def test_an_npz_of_objects_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, victim = tmp_path / "data.npz", tmp_path / "victim"
    objects = np.empty(4, dtype=object)
    objects[:] = [Attack(victim) for _ in range(4)]
    np.savez(path, x_train=objects, y_train=LABELS)
    with pytest.raises(DataError, match=r"x_train: an array of Python objects would have to be unpickled"):
        open_npz(path)
    assert not victim.exists()


def test_an_array_of_objects_in_a_study_cache_does_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    facts = {"splits": ["train"], "normalisation": {"mean": [0, 0, 0], "std": [1, 1, 1]}}
    (tmp_path / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    objects = np.array([Attack(victim)], dtype=object)
    np.save(tmp_path / "train_images.npy", objects, allow_pickle=True)
    with pytest.raises(ValueError, match=r"objects|pickle"):
        load_entry(tmp_path)
    assert not victim.exists()


def write_npz(path: Path, images: bytes, *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x_train.npy", images)
        archive.writestr("y_train.npy", labels.getvalue())
    return path


def npy_head(shape: str, dtype: str = "|u1") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("shape", ["(1000000, 1000, 1000, 3)", "(4, 8, 8, 3)", "(-4, 8, 8, 3)"])
def test_an_npz_that_claims_more_than_it_holds_is_refused(tmp_path: Path, shape: str) -> None:
    path = write_npz(tmp_path / "data.npz", npy_head(shape) + bytes(100))
    with (
        little_memory(),
        pytest.raises(DataError, match=r"cannot be read as an \.npz: x_train\.npy: claims .* holds 100$"),
    ):
        open_npz(path)


def test_an_npz_that_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "data.npz", npy_head("(4, 5000, 5000, 3)") + bytes(300_000_000))
    assert path.stat().st_size < 1_000_000
    with little_memory(), pytest.raises(DataError, match=r"x_train\.npy: unpacks to more than 200 times its size$"):
        open_npz(path)


def test_a_damaged_array_is_one_sentence_when_it_is_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, 4 * 200 * 200 * 3, dtype=np.uint8).tobytes()
    path = write_npz(tmp_path / "data.npz", npy_head("(4, 200, 200, 3)") + pixels, compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(pixels[-50:], pixels[-50:-1] + b"?", 1))
    load_images.cache_clear()
    with pytest.raises(DataError, match=r"x_train: cannot be read: Bad CRC-32"):
        open_npz(path).train.read(0)


def test_a_label_that_would_name_a_million_million_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x_train=np.zeros((2, 4, 4), np.uint8), y_train=np.array([0, 10**12]))
    with little_memory(), pytest.raises(DataError, match=r"^labels must lie below 1,000,000, got 1,000,000,000,000$"):
        open_npz(path)


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("../cat/0.png", tarfile.REGTYPE, r"names must stay below its root, got '\.\./cat/0\.png'"),
        ("cat/../../0.png", tarfile.REGTYPE, "names must stay below its root"),
        ("/cat/0.png", tarfile.REGTYPE, r"names must stay below its root, got '/cat/0\.png'"),
        (
            "cat/link.png",
            tarfile.SYMTYPE,
            r"folders and whole files alone are read, got 'cat/link\.png' of another kind",
        ),
        ("cat/link.png", tarfile.LNKTYPE, "folders and whole files alone are read"),
        ("cat/null.png", tarfile.CHRTYPE, "folders and whole files alone are read"),
        ("cat/disk.png", tarfile.BLKTYPE, "folders and whole files alone are read"),
        ("cat/pipe.png", tarfile.FIFOTYPE, "folders and whole files alone are read"),
    ],
)
def test_a_tar_that_leads_out_of_itself_is_refused_whole(tmp_path: Path, name: str, kind: bytes, sentence: str) -> None:
    path = tmp_path / "data" / "pictures.tar"
    path.parent.mkdir()
    content = encode_picture()
    with tarfile.open(path, "w") as tar:
        for member, type_ in (("cat/a.png", tarfile.REGTYPE), ("dog/a.png", tarfile.REGTYPE), (name, kind)):
            info = tarfile.TarInfo(member)
            info.type, info.linkname = type_, "/etc/passwd"
            info.size = len(content) if type_ == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content) if info.size else None)
    with pytest.raises(DataError, match=sentence):
        open_folder(path)
    assert [each.name for each in tmp_path.rglob("*")] == ["data", "pictures.tar"]


def write_parquet(path: Path, image: pa.Array, label: pa.Array, metadata: dict[bytes, bytes] | None = None) -> Path:
    table = pa.table({"image": image, "label": label}).replace_schema_metadata(metadata)
    pq.write_table(table, path / "train.parquet")
    return path


def test_pickles_in_parquet_are_no_labels_and_no_pictures(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    pickles = pa.array([pickled(victim)] * 4, pa.binary())
    with pytest.raises(DataError, match=r"label: labels must be integers, got binary"):
        open_parquet(str(write_parquet(tmp_path, pickles, pickles)))
    opened = open_parquet(str(write_parquet(tmp_path, pickles, pa.array(LABELS))))
    with pytest.raises(ValueError, match="not an image"):
        opened.train.read(0)
    assert not victim.exists()


def test_a_pickled_arrow_type_does_not_run(tmp_path: Path) -> None:
    """Arrow before 14.0.1 unpickled it while it read the schema (CVE-2023-47248)."""
    victim = tmp_path / "victim"
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickled(victim)}
    field = pa.field("image", pa.binary(), metadata=extension)
    schema = pa.schema([field, pa.field("label", pa.int64())])
    pq.write_table(pa.table([[encode_picture()] * 4, LABELS], schema=schema), tmp_path / "train.parquet")
    with suppress(ValueError):  # whether it is read as plain bytes is Arrow's to decide
        open_parquet(str(tmp_path)).train.read(0)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("image", "metadata", "sentence"),
    [
        (
            pa.array([{"bytes": 5}] * 4),
            None,
            r"image: must be a struct with bytes, or binary, got struct<bytes: int64>",
        ),
        (pa.array(["x"] * 4), None, "image: must be a struct with bytes, or binary, got string"),
        (None, {b"huggingface": b"[" * 100_000}, "the schema's metadata huggingface must be its JSON"),
        (None, {b"huggingface": b"[1]"}, "the schema's metadata huggingface must be its JSON"),
        (
            None,
            {b"huggingface": b'{"info": {"features": {"label": {"names": [1, 2]}}}}'},
            "names of classes must be texts",
        ),
    ],
)
def test_odd_columns_and_metadata_are_refused(
    tmp_path: Path, image: pa.Array | None, metadata: dict[bytes, bytes] | None, sentence: str
) -> None:
    image = pa.array([encode_picture()] * 4, pa.binary()) if image is None else image
    with pytest.raises(DataError, match=sentence):
        open_parquet(str(write_parquet(tmp_path, image, pa.array(LABELS), metadata)))


def test_parquet_whose_column_name_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path, pa.array([encode_picture()] * 4), pa.array(LABELS))
    file = folder / "train.parquet"
    file.write_bytes(file.read_bytes().replace(b"image", b"im\xf3ge"))
    with pytest.raises(DataError, match=r"train\.parquet: cannot be read as parquet: 'utf-8' codec"):
        open_parquet(str(folder))


def test_parquet_with_more_rows_than_bytes_is_refused(tmp_path: Path) -> None:
    count = 2_000_000
    nulls = pa.nulls(count, pa.binary())
    folder = write_parquet(tmp_path, nulls, pa.array(np.zeros(count, np.int64)))
    with pytest.raises(DataError, match=r"train\.parquet: must have a byte a row at least, got 2,000,000 rows in"):
        open_parquet(str(folder))


def test_a_gzip_bomb_is_no_table_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_MOST_BYTES", 2**20)
    bomb = gzip.compress(bytes(2**26))
    with (
        little_memory(),
        pytest.raises(ConfigError, match=r"^a table must unpack to at most 1,048,576 bytes, got more$"),
    ):
        read_results(bomb, SearchSpace.load("nas_bench_macro"))


def test_links_in_a_folder_of_pictures_are_pictures_or_corrupt(tmp_path: Path) -> None:
    """The folder is its owner's, who may link; a link to another kind of file shows nothing of it."""
    write_picture(tmp_path / "cat" / "0.png")
    write_picture(tmp_path / "dog" / "0.png")
    (tmp_path / "dog" / "secret.png").symlink_to("/etc/passwd")
    source = open_folder(tmp_path).train
    index = next(index for index in range(len(source)) if source.describe(index) == "dog/secret.png")
    with pytest.raises(ValueError, match=r"^not an image in a format that is read"):
        source.read(index)


def test_nothing_of_ours_unpickles() -> None:
    """Ray's mailbox alone reads pickles: letters of this study's own workers, within a cluster that runs its code."""
    package = Path(__file__).resolve().parents[2] / "scalesearch"
    files = [path for path in package.rglob("*.py") if path.name != "mailbox.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert not any(
        word in text for word in ("pickle.load", "allow_pickle=True", "weights_only=False", "yaml.unsafe_load")
    )

"""Small valid documents of every format that is read, from which attacks and random changes begin."""

from __future__ import annotations

import io
import random
import tarfile
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image
from safetensors.torch import save

from scalesearch.arch import SearchSpace, network_cost
from scalesearch.data.formats.folder import open_folder
from scalesearch.data.formats.npz import load_images, open_npz
from scalesearch.data.formats.parquet import open_parquet, read_image_cells
from scalesearch.measure.trained import save_network
from tests.detection.detectors import BACKBONE, tiny_spec
from tests.detection.predictors import save_eager
from tests.export.exports import new_network

BLOCKS = "ds_r1_k3_s1_e1_c16,ir_r2_k3_s2_e6_c24_se0.25_noskip,er_r1_k3_s2_e4_c40,cn_r1_k3_s1_c8_skip"
COCO: Mapping[str, Any] = {
    "images": [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 6} for n in range(2)],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 3, "bbox": [1, 1, 4.5, 3], "area": 13.5, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 7, "bbox": [0, 0, 8, 6], "iscrowd": 1},
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
}
WEIGHTS = {"conv_stem.weight": torch.arange(4.0), "bn1.bias": torch.ones(2)}


def encode_picture(format: str = "PNG", *, width: int = 8, height: int = 6) -> bytes:
    pixels = np.arange(width * height * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=format)
    return file.getvalue()


def write_picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_picture())
    return path


def pictures() -> tuple[bytes, ...]:
    return tuple(encode_picture(format) for format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"))


def spaces() -> tuple[bytes, ...]:
    return (
        b"stem_channels: 16\nimage_size: [32, 48]\nstages:\n"
        b"  - {block: [ds, ir], kernel_size: [3, 5], out_channels: 16}\n"
        b"  - one_of: [none, ir_r1_k3_s1_e6_c16_se0.25]\n",
        b"stages:\n- block: ir\n  kernel_size: 3\n  expand_ratio: [1, 2.5]\n  out_channels: &c [8, 16]\n"
        b"  skip: [true, false]\n"
        b"- {block: cn, kernel_size: 1, out_channels: *c, num_blocks: [0, 1, 2], stride: 1, se_ratio: 0}\n",
    )


def archs() -> tuple[bytes, ...]:
    return BACKBONE.to_yaml().encode(), f"{{blocks: [{BLOCKS}], image_size: 64, activation: relu}}".encode()


def blocks() -> tuple[bytes, ...]:
    return BLOCKS.encode(), b"efficientnet-b4", BACKBONE.blocks.encode()


def factors() -> tuple[bytes, ...]:
    base = {"blocks": BLOCKS.split(","), "image_size": 64}
    full = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15, "rounding": "floor", "base": base, "evidence": {"num_seeds": 2}}
    return yaml.safe_dump(full).encode(), b"alpha: 1\nbeta: 2\ngamma: 1.5\n"


def arguments() -> tuple[bytes, ...]:
    return (
        b"weights=results/mine/d.safetensors\nimages=/data/x [1]?.png\nleast_score=0.5\nmax_detections=10",
        b"out='a b'\nbatch_size=2\npictures=false\ndevice=cpu\nnms_iou=1e-1",
    )


def argument() -> tuple[bytes, ...]:
    return tuple(line for text in arguments() for line in text.split(b"\n"))


def study_configs() -> tuple[bytes, ...]:
    shared = {"study": "mine", "storage": None, "seed": 0, "data": {"format": "folder", "root": "x"}}
    return yaml.safe_dump({"search": {**shared, "budget": {"macs": float("inf")}}, "scale": shared}).encode(), b""


def voc() -> tuple[bytes, ...]:
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5.5</xmax><ymax>6</ymax></bndbox>"
    entry = f"<object><name>cat</name><difficult>1</difficult>{box}</object>"
    size = "<size><width>8</width><height>6</height><depth>3</depth></size>"
    plain = f"<annotation>{size}{entry}<object><name>dog</name>{box}</object></annotation>"
    return plain.encode(), f'<?xml version="1.0" encoding="utf-8"?>\n<annotation>{entry}</annotation>'.encode()


def detectors() -> tuple[bytes, ...]:
    named = {"backbone": "efficientnet-b0", "neck": "fpn", "image_size": 320}
    return yaml.safe_dump(tiny_spec().to_dict()).encode(), yaml.safe_dump(named).encode()


def latency_tables() -> tuple[bytes, ...]:
    return (
        b'{"format": "scalesearch latency table 1", "space": "s", "device": "cpu", "device_name": "c",'
        b' "torch_version": "2", "num_threads": 1, "batch_size": 1, "num_classes": 10, "measured": "today",'
        b' "scale": 1.0, "fitted_on": ["a"], "entries": []}',
    )


def results_tables() -> tuple[bytes, ...]:
    macro = b'{"00000000": {"test_acc": [90.5, 91, 92.25]}, "00000001": {"test_acc": [89.0]}}'
    space = SearchSpace.load("nas_bench_macro")
    arch = space.sample(random.Random(0))
    facts = {"part": "search", "number": 0, "state": "COMPLETE", "arch_id": arch.arch_id, "seed": 1, "val_top1": 0.5}
    facts |= {"params": network_cost(arch, num_classes=10).params}
    facts |= {f"param.{name}": value for name, value in space.encode(arch).items()}
    return macro, "\n".join(",".join(map(str, line)) for line in (facts, facts.values())).encode() + b"\n"


def npz() -> tuple[bytes, ...]:
    images, labels = np.zeros((4, 5, 6, 3), np.uint8), np.array([0, 1, 0, 1])
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, x_train=images, y_train=labels)
    np.savez_compressed(packed, train_images=images[..., 0] / 255.0, train_labels=labels[:, None])
    return plain.getvalue(), packed.getvalue()


def read_npz(path: Path) -> object:
    load_images.cache_clear()
    return open_npz(path).train.read(0)


def parquet() -> tuple[bytes, ...]:
    cells = pa.array([{"bytes": encode_picture(), "path": "x.png"}] * 4)
    table = pa.table({"image": cells, "label": pa.array([0, 1, 0, 1])})
    names = b'{"info": {"features": {"label": {"names": ["cat", "dog"]}}}}'
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"huggingface": names}), file)
    return (file.getvalue(),)


def read_parquet(path: Path) -> object:
    read_image_cells.cache_clear()
    return open_parquet(str(path)).class_names


def tars() -> tuple[bytes, ...]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in ("cat/0.png", "cat/1.png", "dog/0.png", "dog/" + "x" * 120 + ".png"):
            info = tarfile.TarInfo(name)
            info.size = len(encode_picture())
            tar.addfile(info, io.BytesIO(encode_picture()))
    return (file.getvalue(),)


def read_tar(path: Path) -> object:
    return open_folder(path).class_names


def pickles() -> tuple[bytes, ...]:
    written = []
    for is_zip in (True, False):
        file = io.BytesIO()
        torch.save({"state_dict": WEIGHTS}, file, _use_new_zipfile_serialization=is_zip)
        written.append(file.getvalue())
    return tuple(written)


def safetensors() -> tuple[bytes, ...]:
    return (save(WEIGHTS),)


@cache
def trained() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        return (Path(save_eager(Path(folder))).read_bytes(),)


@cache
def trained_networks() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        save_network(new_network(), path)
        return (path.read_bytes(),)


def model_cards() -> tuple[bytes, ...]:
    files = {"net.onnx": {"form": "onnx", "nms": False}}
    head = yaml.safe_dump({"license": "other", "scalesearch": {"arch_id": "a", "weights": "b", "files": files}})
    return (f"---\n{head}---\n\n# net\n".encode(),)

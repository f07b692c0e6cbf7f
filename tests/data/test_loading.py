import logging
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
import torch

from scalesearch.data import DataConfig, load_data
from scalesearch.data.formats.folder import FolderSource
from scalesearch.data.loading import choose_images, open_source
from scalesearch.data.split import MemorySplit
from scalesearch.data.stream import StreamSplit
from scalesearch.errors import DataError

EVALUATION = {"batch_size": 64, "image_size": 16, "augmentation": None, "shuffle": False, "drop_last": False}


def folder_config(root, **settings):
    return DataConfig(format="folder", root=str(root), **{"stored_size": 16, "val_fraction": 0.2, **settings})


def small_patches(**settings):
    return DataConfig(patches_per_class=8, eval_patches_per_class=4, **settings)


def names_of(source):
    return [source.describe(index) for index in range(len(source))]


def count_reads(monkeypatch):
    reads = []
    read = FolderSource.read
    monkeypatch.setattr(FolderSource, "read", lambda self, index: (reads.append(index), read(self, index))[1])
    return reads


def test_importing_the_package_loads_neither_pyarrow_nor_scikit_image():
    program = "import sys, scalesearch.data; print({'pyarrow', 'skimage'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_default_is_the_patch_task_whole():
    data = load_data(small_patches())
    assert (len(data.train), len(data.val), len(data.test)) == (88, 44, 44)
    assert data.num_classes == len(data.class_names) == 11
    assert data.native_size == 64
    assert data.corrupt == ()


def test_train_batches_have_mean_0_and_deviation_1():
    data = load_data(small_patches())
    images = torch.cat([images for images, _ in data.train.batches(**{**EVALUATION, "image_size": 64})])
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(images.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_search_val_comes_off_train_and_leaves_test_alone(pictures):
    config = folder_config(pictures)
    opened = open_source(config)
    chosen = choose_images(opened, config)
    train, val = names_of(chosen["train"]), names_of(chosen["val"])
    assert sorted(train + val) == names_of(opened.train)
    assert len(val) == 2
    assert names_of(chosen["test"]) == names_of(opened.test)


def test_without_a_test_split_both_come_off_train(tmp_path, write_pictures):
    config = folder_config(write_pictures(tmp_path, splits=("",), count=10))
    opened = open_source(config)
    chosen = choose_images(opened, config)
    parts = [names_of(chosen[name]) for name in ("train", "val", "test")]
    assert sorted(chain.from_iterable(parts)) == names_of(opened.train)
    assert [len(part) for part in parts] == [12, 4, 4]


def test_a_val_split_of_the_formats_own_is_taken_whole(tmp_path, write_pictures):
    config = folder_config(write_pictures(tmp_path, splits=("train", "val", "test")))
    chosen = choose_images(open_source(config), config)
    assert (len(chosen["train"]), len(chosen["val"])) == (12, 12)


def test_limits_are_stratified_and_seeded(tmp_path, write_pictures):
    root = write_pictures(tmp_path, splits=("train", "test"), count=20)

    def choose(seed):
        config = folder_config(root, max_train_images=8, max_val_images=4, max_test_images=10, seed=seed)
        return choose_images(open_source(config), config)

    first, again, other = choose(0), choose(0), choose(1)
    assert [np.bincount(first[name].labels).tolist() for name in ("train", "val", "test")] == [[4, 4], [2, 2], [5, 5]]
    for name in ("train", "val", "test"):
        assert names_of(first[name]) == names_of(again[name]) != names_of(other[name])


def test_a_limit_below_the_classes_is_refused(pictures):
    with pytest.raises(DataError, match=r"data.max_train_images must be at least the 2 classes, got 1"):
        load_data(folder_config(pictures, max_train_images=1))


def test_classes_of_one_image_cannot_give_a_val_split(tmp_path, write_pictures):
    with pytest.raises(DataError, match="val: needs at least one image, but no class has two to hold one out"):
        load_data(folder_config(write_pictures(tmp_path, count=1)))


def test_a_format_set_afterwards_is_still_checked():
    config = DataConfig()
    config.format = "tfrecord"
    with pytest.raises(DataError, match=r"data.format must be a known one, got 'tfrecord'"):
        load_data(config)


def test_a_corrupt_image_is_named_in_the_data(pictures, caplog):
    (pictures / "test" / "dog" / "2.png").write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        data = load_data(folder_config(pictures, max_corrupt_share=0.1))
    (said,) = data.corrupt
    assert said.startswith("test/dog/2.png (not an image in a format that is read (BMP, ")
    assert len(data.test) == len(data.test.labels) == 11
    assert "test/dog/2.png" in caplog.text


def test_the_seed_changes_the_fingerprint_through_the_split_alone(pictures):
    prints = [load_data(folder_config(pictures, seed=seed)).fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    assert load_data(small_patches(seed=0)).fingerprint == load_data(small_patches(seed=1)).fingerprint


def test_more_than_memory_streams_the_same_labels_and_shapes(tmp_path, write_pictures):
    root = write_pictures(tmp_path, count=3)
    memory = load_data(folder_config(root, stored_size=200, memory_mib=2))
    streaming = load_data(folder_config(root, stored_size=200, memory_mib=1, loader_workers=0))
    assert isinstance(memory.val, MemorySplit)
    for name in ("train", "val", "test"):
        stored, streamed = getattr(memory, name), getattr(streaming, name)
        assert isinstance(streamed, StreamSplit)
        assert torch.equal(stored.labels, streamed.labels)
        for (one, _), (other, _) in zip(stored.batches(**EVALUATION), streamed.batches(**EVALUATION), strict=True):
            assert one.shape == other.shape
    assert streaming.native_size == memory.native_size == 20
    assert streaming.mean == memory.mean


def test_a_second_load_from_the_cache_decodes_nothing(pictures, tmp_path, monkeypatch):
    reads = count_reads(monkeypatch)
    first = load_data(folder_config(pictures), cache=tmp_path / "cache")
    assert len(reads) == 24
    second = load_data(folder_config(pictures, loader_workers=7), cache=tmp_path / "cache")
    assert len(reads) == 24
    assert second.fingerprint == first.fingerprint == load_data(folder_config(pictures)).fingerprint
    assert (second.mean, second.std, second.class_names) == (first.mean, first.std, first.class_names)
    for (one, targets), (other, others) in zip(
        first.test.batches(**EVALUATION), second.test.batches(**EVALUATION), strict=True
    ):
        assert torch.equal(one, other)
        assert torch.equal(targets, others)


def test_cached_images_are_mapped_and_give_batches_without_a_warning(pictures, tmp_path, recwarn):
    data = load_data(folder_config(pictures), cache=tmp_path / "cache")
    assert isinstance(data.train.images, np.memmap)
    list(data.train.batches(**EVALUATION))
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("change", ["pixels", "setting"])
def test_changed_data_or_settings_are_decoded_anew(pictures, tmp_path, monkeypatch, change):
    load_data(folder_config(pictures), cache=tmp_path / "cache")
    reads = count_reads(monkeypatch)
    if change == "pixels":
        source, target = (pictures / "train" / "cat" / name for name in ("1.png", "0.png"))
        target.write_bytes(source.read_bytes())
        load_data(folder_config(pictures), cache=tmp_path / "cache")
    else:
        load_data(folder_config(pictures, stored_size=8), cache=tmp_path / "cache")
    assert len(reads) == 24


def test_streaming_data_cache_their_facts(tmp_path, monkeypatch, write_pictures):
    root = write_pictures(tmp_path / "pictures")
    config = folder_config(root, stored_size=200, memory_mib=1, loader_workers=0)
    first = load_data(config, cache=tmp_path / "cache")
    reads = count_reads(monkeypatch)
    second = load_data(config, cache=tmp_path / "cache")
    assert reads == []
    assert second.fingerprint == first.fingerprint
    assert isinstance(second.train, StreamSplit)


def test_fake_data_of_torchvision_loads():
    config = DataConfig(
        format="torchvision", name="FakeData", max_train_images=20, max_val_images=10, max_test_images=10
    )
    data = load_data(config)
    assert (len(data.train), data.num_classes, data.native_size) == (20, 10, 224)


def test_npz_loads(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x_train=images, y_train=np.arange(40) % 2, x_test=images, y_test=np.arange(40) % 2)
    data = load_data(DataConfig(format="npz", root=str(tmp_path / "data.npz"), stored_size=8))
    np.testing.assert_array_equal(data.test.images[3], np.stack([images[3]] * 3))
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 40)


@pytest.mark.parametrize("memory_mib", [1, 100])
def test_an_error_of_the_whole_data_set_is_not_taken_for_corrupt_images(tmp_path, memory_mib):
    images = np.full((40, 8, 8), 2.0)
    np.savez(tmp_path / "data.npz", x_train=images, y_train=np.arange(40) % 2)
    settings = {"stored_size": 128, "memory_mib": memory_mib, "max_corrupt_share": 0.9}
    with pytest.raises(DataError, match=r"x_train: floats must lie in \[0, 1\], got 2\.0\.\.2\.0"):
        load_data(DataConfig(format="npz", root=str(tmp_path / "data.npz"), **settings))


def test_cifar10_loads_with_its_known_mean(cifar10):
    config = DataConfig(
        format="parquet",
        root=str(cifar10),
        stored_size=32,
        max_train_images=2000,
        max_val_images=100,
        max_test_images=100,
    )
    data = load_data(config)
    assert data.native_size == 32
    np.testing.assert_allclose(data.mean, (0.4913, 0.4821, 0.4465), atol=0.02)
    np.testing.assert_allclose(data.std, (0.2452, 0.2428, 0.2606), atol=0.02)

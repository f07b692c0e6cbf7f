"""A data set made with every fault, and what the look at it says."""

import os

import numpy as np
import pytest
from PIL import Image

from scalesearch.data import DataConfig
from scalesearch.data.checking import check_data
from scalesearch.data.findings import list_findings


def draw(seed, height=40, width=60):
    grid = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path):
    """Return a folder of train, val and test without a fault."""
    seeds = iter(range(1000))
    for split, count in (("train", 24), ("val", 10), ("test", 10)):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                draw(next(seeds)).save(folder / f"{number}.png")
    return tmp_path


def look(root, **settings):
    config = DataConfig(format="folder", root=str(root), **{"stored_size": 32, **settings})
    info = check_data(config)
    return info, list_findings(info, config)


def wrong(findings):
    return [finding.what for finding in findings if finding.is_wrong]


def notes(findings):
    return [finding.what for finding in findings if not finding.is_wrong]


def test_a_folder_without_a_fault_has_no_finding(root):
    info, findings = look(root)
    assert findings == []
    assert [(split.name, split.counts) for split in info.splits] == [
        ("train", (24, 24)),
        ("val", (10, 10)),
        ("test", (10, 10)),
    ]
    assert info.splits[0].kinds == {"RGB": 48}
    assert info.splits[0].shorter_sides.median == 40
    assert info.splits[0].aspects.most == 1.5


def test_broken_files_are_all_named_with_their_reason_and_the_rest_is_looked_at(root):
    (root / "train/cat/cut.png").write_bytes((root / "train/cat/0.png").read_bytes()[:200])
    (root / "train/dog/text.jpg").write_text("no picture")
    Image.fromarray(np.full((9, 9), 40_000, dtype=np.uint16)).save(root / "test/dog/wide.png")
    info, findings = look(root)
    assert info.num_broken == 3
    assert [split.num_images for split in info.splits] == [50, 20, 21]
    [train, test] = wrong(findings)
    assert train.startswith("train: 2 of 50 pictures cannot be read: train/cat/cut.png (")
    assert "train/dog/text.jpg (not an image in a format that is read" in train
    assert "test/dog/wide.png (pictures of 8 bits a channel are read, got Pillow mode I;16)" in test
    assert "over data.max_corrupt_share=0.01" in findings[0].advice


def test_a_picture_in_two_splits_is_wrong_however_it_is_stored(root):
    with Image.open(root / "train/cat/3.png") as picture:
        picture.save(root / "test/cat/copy.bmp")
    info, findings = look(root)
    assert wrong(findings) == ["test: 1 picture has the pixels of one of train: test/cat/copy.bmp = train/cat/3.png"]
    assert info.near == ()


def test_a_picture_that_was_resized_and_saved_as_jpeg_is_a_near_duplicate(root):
    with Image.open(root / "train/cat/3.png") as picture:
        picture.resize((75, 50)).save(root / "test/cat/again.jpg", quality=70)
    info, findings = look(root)
    assert not wrong(findings)
    [near] = info.near
    assert (near.first, near.second, near.examples) == ("train", "test", (("train/cat/3.png", "test/cat/again.jpg"),))
    assert any("dHash, at most 3 of 64 bits apart" in note for note in notes(findings))


def test_pictures_of_one_colour_are_not_taken_for_duplicates(root):
    for name, grey in (("train/cat", 40), ("test/dog", 200)):
        Image.new("RGB", (60, 40), (grey, grey, grey)).save(root / name / "flat.png")
    info, findings = look(root)
    assert info.near == ()
    assert notes(findings) == [f"{split}: pictures of nearly one colour: 1" for split in ("train", "test")]


def test_one_picture_under_two_classes_is_wrong(root):
    draw(2).save(root / "train/dog/wrong.png")
    _, findings = look(root)
    assert wrong(findings) == [
        "train: 1 picture has the pixels of one of another class: train/dog/wrong.png = train/cat/2.png"
    ]


def test_classes_of_one_split_are_told(root):
    (root / "test/bird").mkdir()
    draw(900).save(root / "test/bird/0.png")
    (root / "train/fish").mkdir()
    for number in range(20):
        draw(910 + number).save(root / f"train/fish/{number}.png")
    _, findings = look(root)
    assert wrong(findings) == ["test has classes that train lacks: bird"]
    assert "val has no picture of 1 of train's classes: fish" in notes(findings)
    assert "test has fewer than 10 pictures of 1 classes: bird" in notes(findings)


def test_an_unbalanced_train_is_told_with_both_ends(root):
    for number in range(2, 24):
        (root / f"train/dog/{number}.png").unlink()
    _, findings = look(root)
    assert "train is unbalanced: 24 pictures of cat, 2 of dog" in notes(findings)


def test_kinds_of_colour_and_rotations_are_counted(root):
    draw(900).convert("L").save(root / "train/dog/grey.png")
    draw(901).convert("RGBA").save(root / "train/dog/alpha.png")
    draw(902).convert("CMYK").save(root / "train/dog/print.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(903).save(root / "train/dog/turned.jpg", exif=exif)
    info, findings = look(root)
    assert info.splits[0].kinds == {"RGB": 49, "L": 1, "RGBA": 1, "CMYK": 1}
    told = " ".join(notes(findings))
    assert "of 52 pictures 1 is grey" in told
    assert "of 52 pictures 1 is with transparency" in told
    assert "of 52 pictures 1 is CMYK" in told
    assert "pictures whose EXIF asks for a rotation, which is not done: 1" in told


def test_a_name_that_is_no_text_is_told_and_the_picture_read(root):
    folder = os.fsencode(root / "train/cat")
    with open(folder + b"/\xff\xfe.png", "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write((root / "val/cat/0.png").read_bytes())
    info, findings = look(root)
    assert info.num_broken == 0
    assert any(note.startswith("train: names that cannot be printed: 1, as train/cat/") for note in notes(findings))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"stored_size": 64}, "data.stored_size=64 enlarges 48 of 48 pictures of train"),
        ({"stored_size": 20}, "data.stored_size=20 keeps pictures of 40 px at 20 px"),
        (
            {"stored_size": 256, "memory_mib": 1},
            "as squares of data.stored_size=256 all pictures take 16 MiB",
        ),
    ],
)
def test_what_stored_size_does_is_said(root, settings, sentence):
    assert look(root, **settings)[1][0].what == sentence


def test_what_is_held_out_is_named_so_and_has_no_picture_of_train(tmp_path, write_pictures):
    root = write_pictures(tmp_path, splits=("",), count=30)
    info, _ = look(root, stored_size=20)
    assert [(split.name, split.is_held_out) for split in info.splits] == [
        ("train", False),
        ("val", True),
        ("test", True),
    ]
    assert info.same == ()


def test_the_embedded_patches_are_looked_at_too():
    config = DataConfig(patches_per_class=4, eval_patches_per_class=2)
    told = []
    info = check_data(config, lambda *progress: told.append(progress))
    assert info.splits[0].kinds == {"RGB": info.splits[0].num_images}
    assert told[-1] == ("test", info.splits[2].num_images, info.splits[2].num_images)


def test_the_known_pairs_of_trashnet_are_found(shared):
    root = shared / "data" / "trashnet" / "trashnet160.tar"
    if not root.exists():
        pytest.skip("the shared data set trashnet is not beside this repository")
    info, _ = look(root)
    assert sum(twins.number for twins in (*info.same, info.contradictions)) == 3

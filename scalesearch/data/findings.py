"""What a look at a data set means for a study, and what to do about it, in sentences.

Something is *wrong* where a study would stop, lose pictures, or be told a score that is not true: pictures that cannot
be read, classes that train lacks, the same picture in two splits or under two classes. The rest is worth knowing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scalesearch.data.checking import DataCheckInfo, SplitInfo, TwinsInfo
from scalesearch.data.config import DataConfig
from scalesearch.data.duplicates import NEAR_BITS

_FEW = 10  # pictures of a class: one of them more or less is a tenth of what is known of the class
_MOST_TIMES = 3.0  # between the largest and the smallest class of train
_LONG_ASPECT = 2.0
_SHOWN = 5

_KINDS = {
    "L": "grey: their one channel is copied to three",
    "LA": "grey with transparency, which is dropped",
    "RGBA": "with transparency, which is dropped: what lies under it shows",
    "PA": "with transparency, which is dropped: what lies under it shows",
    "CMYK": "CMYK, turned to RGB without a colour profile",
    "1": "of two colours, black and white",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was noticed, what to do about it, and whether a study suffers from it."""

    is_wrong: bool
    what: str
    advice: str


def list_findings(info: DataCheckInfo, config: DataConfig) -> list[Finding]:
    """Return what is wrong first, then what is worth knowing."""
    found = [
        *_of_classes(info),
        *(each for split in info.splits for each in _of_split(split, config)),
        *_of_twins(info),
        *_of_size(info, config),
    ]
    return sorted(found, key=lambda finding: not finding.is_wrong)


def _of_classes(info: DataCheckInfo) -> Iterator[Finding]:
    train, *others = info.splits
    for split in others:
        strangers = _names(
            info, [place for place, count in enumerate(split.counts) if count and not train.counts[place]]
        )
        if strangers:
            yield Finding(
                True,
                f"{split.name} has classes that train lacks: {strangers}",
                "give train pictures of them, or take the folders out: a study refuses such data",
            )
        absent = [place for place, count in enumerate(split.counts) if not count and train.counts[place]]
        if absent:
            what = f"{split.name} has no picture of {len(absent)} of train's classes: {_names(info, absent)}"
            yield Finding(False, what, "their accuracy there is not measured; move a few pictures of each")
        few = [place for place, count in enumerate(split.counts) if 0 < count < _FEW]
        if few:
            what = f"{split.name} has fewer than {_FEW} pictures of {len(few)} classes: {_names(info, few)}"
            remedy = "data.val_fraction=0.2 holds out more" if split.is_held_out else "add pictures of them"
            yield Finding(False, what, f"one picture there weighs a tenth and more of a class's accuracy; {remedy}")
    present = [count for count in train.counts if count]
    if max(present) > _MOST_TIMES * min(present):
        least, most = (info.class_names[train.counts.index(count)] for count in (min(present), max(present)))
        yield Finding(
            False,
            f"train is unbalanced: {max(present):,} pictures of {most}, {min(present):,} of {least}",
            "top-1 counts pictures, not classes, so a network may leave the small ones out and look good",
        )


def _names(info: DataCheckInfo, places: Sequence[int]) -> str:
    shown = ", ".join(info.class_names[place] for place in places[:_SHOWN])
    return shown + (", ..." if len(places) > _SHOWN else "")


def _of_split(split: SplitInfo, config: DataConfig) -> Iterator[Finding]:
    if split.broken:
        share = len(split.broken) / split.num_images
        allowed = config.max_corrupt_share
        outcome = (
            f"a study refuses that, for it is over data.max_corrupt_share={allowed:g}"
            if share > allowed
            else "a study leaves them out"
        )
        what = (
            f"{split.name}: {len(split.broken)} of {split.num_images:,} pictures cannot be read: {_some(split.broken)}"
        )
        yield Finding(True, what, f"save them anew or delete them; {outcome}")
    if split.unreadable_names:
        names = f"names that cannot be printed: {len(split.unreadable_names)}, as {_some(split.unreadable_names)}"
        yield Finding(False, f"{split.name}: {names}", "rename the files, so that one finds what is said of them")
    for kind, number in split.kinds.items():
        if kind in _KINDS or "transparency" in kind:
            meaning = _KINDS.get(kind, _KINDS["RGBA"])
            what = f"{split.name}: of {split.num_images:,} pictures {number:,} {_are(number)} {meaning}"
            if number < split.num_images:
                yield Finding(False, what, "where a class has more of them than another, a network learns that instead")
    if split.num_rotated:
        what = f"{split.name}: pictures whose EXIF asks for a rotation, which is not done: {split.num_rotated:,}"
        yield Finding(False, what, "rotate them for good where up and down matter")
    if split.num_flat:
        what = f"{split.name}: pictures of nearly one colour: {split.num_flat:,}"
        yield Finding(False, what, "look at them: they hold little to learn from, and no copy of them is sought")
    if max(split.aspects.most, 1 / split.aspects.least) > _LONG_ASPECT:
        spread = f"{split.aspects.least:.2f} to {split.aspects.most:.2f}"
        what = f"{split.name}: width over height goes from {spread}"
        yield Finding(False, what, "a network sees the middle square alone; crop them where something lies at the ends")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _some(texts: Sequence[str]) -> str:
    return "; ".join(texts[:_SHOWN]) + ("; ..." if len(texts) > _SHOWN else "")


def _of_twins(info: DataCheckInfo) -> Iterator[Finding]:
    for twins in info.same:
        advice = f"delete them from one of the two: a network has seen these pictures of {twins.second} before"
        yield Finding(True, f"{_twins(twins)} the pixels of one of {twins.first}: {_pairs(twins)}", advice)
    if info.contradictions.number:
        wrong = info.contradictions
        what = f"{_twins(wrong)} the pixels of one of another class: {_pairs(wrong)}"
        yield Finding(True, what, "delete the one whose class is wrong")
    for twins in info.near:
        what = f"{_twins(twins)} the look of one of {twins.first} (dHash, at most {NEAR_BITS} of 64 bits apart)"
        yield Finding(False, f"{what}: {_pairs(twins)}", "look at the pairs: what is one scene belongs into one split")


def _twins(twins: TwinsInfo) -> str:
    return f"{twins.second}: {twins.number:,} picture{'s have' if twins.number > 1 else ' has'}"


def _pairs(twins: TwinsInfo) -> str:
    return "; ".join(f"{second} = {first}" for first, second in twins.examples) + (
        "; ..." if twins.number > len(twins.examples) else ""
    )


def _of_size(info: DataCheckInfo, config: DataConfig) -> Iterator[Finding]:
    train, size = info.splits[0], config.stored_size
    native = train.shorter_sides.median
    if info.memory_mib > config.memory_mib:
        what = f"as squares of data.stored_size={size} all pictures take {info.memory_mib:,.0f} MiB"
        advice = f"that is over data.memory_mib={config.memory_mib}: they are decoded anew each time, which is slower"
        yield Finding(False, what, advice)
        return
    if native < size:
        what = f"data.stored_size={size} enlarges {train.num_enlarged:,} of {train.num_images:,} pictures of train"
        yield Finding(False, what, f"their shorter side is {native:g} px in the middle: data.stored_size={int(native)}")
    elif native >= 2 * size:
        what = f"data.stored_size={size} keeps pictures of {native:g} px at {size} px"
        yield Finding(False, what, "give the largest image size that your networks will have, scaled ones among them")

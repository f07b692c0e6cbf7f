"""What becomes of 100,000 damaged documents a reader: refused with an error of ours, accepted, or anything else.

Run: ``OMP_NUM_THREADS=1 python -m benchmarks.fuzz_readers --reader all`` (``--examples 1000`` for a taste).

Documents are valid ones with one to five places deleted, doubled, moved or replaced by what has broken readers
(``tests/security/mutating.py``, which the tests share). Input number n of a reader is the same in every run. A process
may take ``--memory-gib`` of address space, so a bomb is a MemoryError here, and not the machine's end. The kinds of
other exceptions are printed below the table, each with the number of its first input: ``--first`` begins there.

``--engine atheris`` hands one reader to atheris (``pip install atheris``), which looks for lines that no document has
reached; it prints its own figures and stops at the first exception that is not ours.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from types import FunctionType
from typing import NoReturn

from tests.security.mutating import mutate
from tests.security.readers import READERS, accepted

HEAD = "| reader | inputs | refused with our errors | accepted | other exceptions | slowest, ms | seconds |"


@dataclass
class Counts:
    """What became of some inputs of one reader; ``others`` are the kinds of other exceptions, with the first input."""

    inputs: int = 0
    accepted: int = 0
    others: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    slowest_ms: float = 0.0

    def add(self, other: Counts) -> None:
        """Count another part's."""
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.others += other.others
        self.first = {**other.first, **self.first}
        self.slowest_ms = max(self.slowest_ms, other.slowest_ms)

    def row(self, name: str, seconds: float) -> str:
        """Return a row of the table."""
        refused = self.inputs - self.accepted - self.others.total()
        numbers = (self.inputs, refused, self.accepted, self.others.total())
        return f"| {name} | " + " | ".join(f"{n:,}" for n in numbers) + f" | {self.slowest_ms:,.0f} | {seconds:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=100_000, help="inputs a reader")
    parser.add_argument("--reader", default="all", help=f"all, or some of {', '.join(READERS)}, joined by commas")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--engine", choices=("mutator", "atheris"), default="mutator")
    parser.add_argument("--memory-gib", type=float, default=12.0, help="address space of a process")
    options = parser.parse_args()
    names = list(READERS) if options.reader == "all" else options.reader.split(",")
    if options.engine == "atheris":
        fuzz_by_coverage(names[0], options.examples)
    print(HEAD, "|---|" + "---:|" * 6, sep="\n", flush=True)
    told: list[str] = []
    for name in names:
        start = time.monotonic()
        counts = fuzz(name, options.first, options.examples, options.processes, options.memory_gib)
        print(counts.row(name, time.monotonic() - start), flush=True)
        told += [f"{name}, input {counts.first[kind]}, {times} times: {kind}" for kind, times in counts.others.items()]
    print(*told, sep="\n")
    sys.exit(bool(told))


def fuzz(name: str, first: int, examples: int, processes: int, memory_gib: float) -> Counts:
    """Read the documents in so many processes and count."""
    bounds = [first + examples * part // processes for part in range(processes + 1)]
    tasks = [(name, low, high, memory_gib) for low, high in pairwise(bounds)]
    counts = Counts()
    with get_context("spawn").Pool(processes) as pool:
        for part in pool.imap(_read_some, tasks):
            counts.add(part)
    return counts


def _read_some(task: tuple[str, int, int, float]) -> Counts:
    name, low, high, memory_gib = task
    _prepare_process(memory_gib)
    reader, counts = READERS[name], Counts()
    documents = reader.documents()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        read = reader.prepare(Path(folder))
        for number in range(low, high):
            document = mutate(random.Random(f"{name} {number}"), documents)
            start = time.perf_counter()
            counts.inputs += 1
            try:
                counts.accepted += accepted(read, document, reader.refusals)
            except Exception as error:
                kind = _describe(error)
                counts.others[kind] += 1
                counts.first.setdefault(kind, number)
            counts.slowest_ms = max(counts.slowest_ms, 1000 * (time.perf_counter() - start))
    return counts


def fuzz_by_coverage(name: str, examples: int) -> NoReturn:
    """Let atheris change one reader's documents towards lines of scalesearch that none has reached; it ends us."""
    import atheris

    for module in [each for name_, each in sys.modules.items() if name_.startswith("scalesearch.")]:
        for function in [each for each in vars(module).values() if isinstance(each, FunctionType)]:
            if function.__module__ == module.__name__:
                atheris.instrument_func(function)
    reader, folder = READERS[name], Path(tempfile.mkdtemp())
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, document in enumerate(reader.documents()):
        (corpus / str(number)).write_bytes(document)
    read = reader.prepare(folder)
    logging.disable(logging.CRITICAL)
    atheris.Setup(
        [sys.argv[0], f"-runs={examples}", "-print_final_stats=1", str(corpus)],
        lambda document: (accepted(read, document, reader.refusals), None)[1],
    )
    atheris.Fuzz()
    raise AssertionError("atheris ends the process")


def _prepare_process(memory_gib: float) -> None:
    limit = int(memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def _describe(error: Exception) -> str:
    """Name a kind of error by its type and the line of ours that let it through."""
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/scalesearch/" in frame.filename]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "outside scalesearch"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:100]}"


if __name__ == "__main__":
    main()

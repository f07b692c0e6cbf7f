"""Readers of anything, on damaged documents: no error but our own. ``benchmarks/fuzz_readers.py`` runs 100,000 each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security.mutating import mutate
from tests.security.readers import READERS, accepted

EXAMPLES = 150
FEW = {"configuration": 12, "weights .pt": 40}  # a composition by Hydra takes a tenth of a second


def documents_of(name: str) -> st.SearchStrategy[bytes]:
    """Damaged valid documents for the most part; bytes and text of any kind."""
    valid = READERS[name].documents()
    damaged = st.randoms(use_true_random=False).map(lambda rng: mutate(rng, valid))
    return damaged | damaged | st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8"))


@pytest.mark.parametrize("name", READERS)
def test_a_reader_accepts_its_own_documents(name: str, tmp_path: Path) -> None:
    read = READERS[name].prepare(tmp_path)
    assert all(accepted(read, document, ()) for document in READERS[name].documents())


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_a_reader_refuses_with_our_errors_alone(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    read = reader.prepare(tmp_path)

    @settings(max_examples=FEW.get(name, EXAMPLES), suppress_health_check=list(HealthCheck), database=None)
    @given(documents_of(name))
    def hold(document: bytes) -> None:
        accepted(read, document, reader.refusals)

    hold()


def test_a_seed_gives_one_document_and_most_are_damaged() -> None:
    valid = READERS["space"].documents()
    made = [mutate(random.Random(seed), valid) for seed in range(200)]
    assert made == [mutate(random.Random(seed), valid) for seed in range(200)]
    assert sum(document in valid for document in made) < 20
    assert len(set(made)) > 180

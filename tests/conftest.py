"""What every test may use: the folder of public figures and data beside the repository, where there is one."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.services.postgres import PostgresServer, find_binaries

REPO = Path(__file__).resolve().parent.parent

# Time limits belong to benchmarks: a busy machine must not fail a fact.
settings.register_profile("scalesearch", deadline=None)
settings.load_profile("scalesearch")


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = REPO.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} with the published figures is not here")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server on loopback that is the tests' own."""
    if find_binaries() is None:
        pytest.skip("the PostgreSQL server is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not below pytest's own, which other users may not enter
    folder.chmod(0o755)
    server = PostgresServer(folder / "server").start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """Give the URL of a new database."""
    return postgres.create_database(f"study-{uuid.uuid4().hex[:12]}")

"""A storage's password is in no sentence, log, file or report, however its URL is written."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import pytest

from scalesearch.cli import main
from scalesearch.config import load_config
from scalesearch.errors import ConfigError, ScalesearchError, StudyError
from scalesearch.report.studies import write_report
from scalesearch.study.folder import StudyFolder, hide_passwords, mask_password
from scalesearch.study.store import load_records
from scalesearch.study.trackers import TrackerConfig
from tests.search.loops import new_config, search

SECRET = "hunter2"

URLS = [
    f"postgresql://me:{SECRET}@localhost/db",
    f"postgresql://me:{SECRET}%40{SECRET}@localhost:5432/db",
    f"postgresql://me:{SECRET}/{SECRET}@localhost/db",
    f"postgresql://me:{SECRET}?{SECRET}@localhost/db",
    f"postgresql://me:a@{SECRET}@localhost/db",
    f"postgresql://me:a:{SECRET}@localhost/db",
    f"postgresql://me:a b{SECRET}@localhost/db",
    f"postgresql://:{SECRET}@localhost/db",
    f"postgresql+psycopg2://me@localhost/db?password={SECRET}",
    f"postgresql://me@localhost/db?sslmode=require&password={SECRET}&connect_timeout=1",
    f"postgresql://me@localhost/db?p%61ssword={SECRET}",
    f"postgresql://me@localhost/db?sslpassword={SECRET}",
    f"mysql://me:{SECRET}@localhost/db?passwd={SECRET}",
    f"sqlite:////tmp/x.db?password={SECRET}",
    f"postgresql//me:{SECRET}@localhost/db",
    f"postgresql:/me:{SECRET}@localhost/db",
    f"postgresql:me:{SECRET}@localhost/db",
    f"postgresql://me:{SECRET}@localhost:port/db",
    f"nothing://me:{SECRET}@localhost/db",
    f"sqlite://me:{SECRET}@localhost/db",
]


@pytest.mark.parametrize("url", URLS)
def test_what_is_shown_of_a_url_has_no_password(url: str) -> None:
    assert SECRET not in hide_passwords(url)
    try:
        assert SECRET not in mask_password(url)
    except StudyError as refusal:
        assert SECRET not in str(refusal)  # noqa: PT017 - one of two outcomes, and both are held


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///results/mine/study.db", "sqlite:///results/mine/study.db"),
        ("postgresql://localhost:5432/db", "postgresql://localhost:5432/db"),
        ("postgresql://me@localhost:5432/db?sslmode=require", "postgresql://me@localhost:5432/db?sslmode=require"),
        (f"postgresql://me:{SECRET}@localhost/db", "postgresql://me:***@localhost/db"),
        (f"postgresql://me@h/db?a=1&password={SECRET}&b=2", "postgresql://me@h/db?a=1&password=***&b=2"),
    ],
)
def test_all_but_the_password_is_shown(url: str, shown: str) -> None:
    assert mask_password(url) == shown


def test_an_at_sign_in_a_password_must_be_escaped_before_a_driver_takes_half_of_it_for_the_host(tmp_path: Path) -> None:
    folder = StudyFolder.of(tmp_path, "mine")
    with pytest.raises(StudyError, match=r"^storage must have each @ of its password written as %40, got 'postgres"):
        folder.storage_url(f"postgresql://me:a@{SECRET}@localhost/db")


@pytest.mark.parametrize("url", URLS)
def test_a_storage_that_cannot_be_opened_is_refused_without_its_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Drivers for other databases are not installed with scalesearch; with psycopg2 the sentences were read by hand."""
    with caplog.at_level(logging.DEBUG), pytest.raises(ScalesearchError) as refusal:
        load_records(StudyFolder(Path("results/mine")).storage_url(url.replace("/tmp/", "/nowhere/")), "mine")
    said = "".join(traceback.format_exception_only(refusal.value)) + caplog.text
    assert SECRET not in said


@pytest.mark.parametrize(
    "argument",
    [
        *(f"storage={url}" for url in URLS[::4]),
        f"storage='postgresql://me:{SECRET}@localhost/db'",
        f"+storage=postgresql://me:{SECRET}@localhost/db",
        f"storage=[postgresql://me:{SECRET}@localhost/db]",
        f"storage={{a: 'postgresql://me:{SECRET}@localhost/db'}}",
        f"storge=postgresql://me:{SECRET}@localhost/db",
        f"postgresql://me:{SECRET}@localhost/db",
        f"seed=postgresql://me:{SECRET}@localhost/db",
        f"storage=${{oc.env:HOME}}://me:{SECRET}@localhost/db",
    ],
)
def test_the_command_line_refuses_an_argument_without_repeating_its_password(
    argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["report", f"results={tmp_path}", argument])
    output = capsys.readouterr()
    assert code == 2
    assert SECRET not in output.out + output.err


def test_a_study_and_its_report_keep_no_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.db?password={SECRET}"
    forms = [f"storage={url}", f"search.storage={url}", f"storage='postgresql://me:{SECRET}@localhost/db'"]
    monkeypatch.setattr(sys, "argv", ["scalesearch", "search", *forms])
    with caplog.at_level(logging.DEBUG):
        search(tmp_path, storage=url, trials=2)
        folder = new_config(tmp_path).folder
        write_report(folder, url)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert folder.config in written
    assert b"search.storage=sqlite:" in written[folder.readme]
    assert [str(path) for path, content in written.items() if SECRET.encode() in content] == []
    output = capfd.readouterr()
    assert SECRET not in caplog.text + output.out + output.err


def test_a_trackers_password_is_kept_nowhere_and_must_be_given_again(tmp_path: Path) -> None:
    uri = f"http://me:{SECRET}@localhost:5000"
    config = new_config(tmp_path, tracker=TrackerConfig(method="mlflow", uri=uri))
    config.folder.make()
    config.save("search")
    kept = config.folder.config.read_text(encoding="utf-8")
    assert SECRET not in kept
    assert "http://me:***@localhost:5000" in kept
    assert SECRET not in str(config.tracked("search").values)
    with pytest.raises(
        ConfigError, match=r"^tracker\.uri must be given again, for its password is not kept: http://me:\*"
    ):
        load_config("search", [f"results={tmp_path}", f"study={config.study}"])

"""The live page: a real server on this machine, a record that grows, and requests it must not answer."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scalesearch.arch import network_cost
from scalesearch.errors import StudyError
from scalesearch.report.watching import serve_page
from scalesearch.study.folder import StudyFolder
from tests.report.page.browser import open_browser, visit
from tests.report.test_studies import ARCHS, add_trials, open_record
from tests.study.jobs import new_score
from tests.study.stand_ins import do_not_wait_for_the_disk  # noqa: F401 (imported for what it does)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder.of(tmp_path, "mine")
    add_trials(open_record(folder, "search"), [0.5, 0.4])
    return folder


@pytest.fixture
def url(folder: StudyFolder) -> Iterator[str]:
    with serve_page(folder) as url:
        yield url


def ask(url: str, path: str = "/", method: str = "GET", host: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=60)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def payload(url: str, have: str = "") -> dict[str, Any]:
    status, body, _ = ask(url, f"/payload.json?have={have}")
    return {} if status == 204 else dict(json.loads(body))


def add_one(folder: StudyFolder, top1: float) -> None:
    record = open_record(folder, "search")
    trial = record.study.ask()
    record.describe(trial, ARCHS[2], network_cost(ARCHS[2], num_classes=11), seed=0)
    record.complete(trial, [top1], new_score(top1))


def test_the_payload_is_new_when_a_trial_ends_or_a_part_begins_and_only_then(folder: StudyFolder, url: str) -> None:
    first = payload(url)
    assert len(first["payload"]["studies"][0]["networks"]) == 2
    assert payload(url, first["version"]) == {}
    add_one(folder, 0.6)
    second = payload(url, first["version"])
    assert len(second["payload"]["studies"][0]["networks"]) == 3
    add_trials(open_record(folder, "family"), [0.7])
    third = payload(url, second["version"])
    assert {network["part"] for network in third["payload"]["studies"][0]["networks"]} == {"search", "family"}
    assert payload(url, third["version"]) == {}


def test_only_this_machine_by_its_own_name_is_answered_and_only_get(url: str) -> None:
    port = url.rstrip("/").rpartition(":")[2]
    assert url.startswith("http://127.0.0.1:")
    assert ask(url, host=f"localhost:{port}")[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", ""):
        assert ask(url, host=host)[:2] == (403, b"this page is for this machine alone\n")
        assert ask(url, "/payload.json", host=host)[0] == 403
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, _, headers = ask(url, method=method)
        assert (status, headers["Allow"]) == (405, "GET")
    for path in ("/study.db", "/../mine/study.db", "/%2e%2e/", "/config.yaml"):
        assert ask(url, path)[0] == 404
    assert "frame-ancestors 'none'" in ask(url)[2]["Content-Security-Policy"]


def test_a_taken_port_and_a_missing_study_are_one_sentence(folder: StudyFolder, url: str, tmp_path: Path) -> None:
    port = int(url.rstrip("/").rpartition(":")[2])
    with (
        pytest.raises(StudyError, match=rf"^port must be a free one of 127\.0\.0\.1, got {port} \("),
        serve_page(folder, port=port),
    ):
        pass
    with (
        pytest.raises(StudyError, match=r"nope: there is no such study$"),
        serve_page(StudyFolder.of(tmp_path, "nope")),
    ):
        pass


def test_the_page_grows_while_the_reader_keeps_what_they_chose(folder: StudyFolder, url: str) -> None:
    with open_browser() as browser:
        tab, complaints = visit(browser, url)
        tab.locator("#axes select").first.select_option("params")
        tab.locator("#table tbody button").nth(1).click()
        chosen = tab.locator("#detail h3").inner_text()
        add_one(folder, 0.6)
        tab.locator("#table tbody tr").nth(2).wait_for()
        assert tab.locator("#detail h3").inner_text() == chosen
        assert tab.locator("#axes select").first.input_value() == "params"
        assert tab.locator("#live").inner_text().startswith("live, changed at")
        assert complaints == []


def test_ctrl_c_ends_watch_with_one_sentence(folder: StudyFolder) -> None:
    command = [
        sys.executable,
        "-m",
        "scalesearch.cli",
        "watch",
        "study=mine",
        "port=0",
        f"results={folder.root.parent}",
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as watch:
        assert watch.stdout is not None
        said = watch.stdout.readline()
        found = re.fullmatch(r"The page of study mine is at (http://127\.0\.0\.1:\d+/); Ctrl-C ends it\n", said)
        assert found
        assert ask(found[1])[0] == 200
        watch.send_signal(signal.SIGINT)
        out, errors = watch.communicate(timeout=60)
    assert (out, errors) == ("Stopped serving; the study itself goes on where it runs.\n", "")
    assert watch.returncode == 0

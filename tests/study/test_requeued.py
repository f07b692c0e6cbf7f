"""What the driver makes of a job that its executor requeues."""

from __future__ import annotations

import math
import time
from typing import Any

import optuna
import pytest

from scalesearch.study.driver import JobRules, drive
from scalesearch.study.executors import Began, Event, Failed, Requeued, Scored
from scalesearch.study.progress import ProgressDisplay
from tests.study.executors.contract import JOB
from tests.study.jobs import new_score


class RequeueingExecutor:
    """Tells of one job that begins, is requeued, waits for longer than a job may run, and ends well."""

    num_workers = 1

    def __init__(self) -> None:
        self._told = iter(
            [[Began(0, "a")], [Requeued(0, "pre-empted")], [], [Began(0, "b")], [Scored(0, new_score(0.5))]]
        )
        self.num_submitted = 0

    def submit(self, key: int, job: Any) -> None:
        self.num_submitted += 1

    def wait(self, seconds: float = math.inf) -> list[Event]:
        events = next(self._told)
        if not events:
            time.sleep(1.0)
        return events

    def answer(self, key: int, goes_on: bool) -> None:
        raise AssertionError("no rungs")

    def stop(self, key: int) -> None:
        raise AssertionError("it does not hang")

    def close(self) -> None:
        pass


def test_a_requeued_job_is_not_submitted_again_and_its_wait_is_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    executor, ends = RequeueingExecutor(), []

    def settle(trial: optuna.Trial, job: Any, event: Scored | Failed) -> str:
        ends.append(event)
        return ""

    with ProgressDisplay("search", total=1) as progress:
        rules = JobRules(timeout_seconds=0.9)
        drive("search", iter([(optuna.create_study().ask(), JOB, "")]), executor, settle, progress, rules=rules)
    assert [type(end) for end in ends] == [Scored]
    assert executor.num_submitted == 1
    assert "trial 0 waits to go on: pre-empted" in capsys.readouterr().err

"""The loop that keeps the workers busy: next job, run, settle. What the jobs are is the caller's matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from optuna.trial import Trial

from scalesearch.study.executor import Executor, Failed, Reached, Scored, Stepped
from scalesearch.study.interrupts import Interrupts
from scalesearch.study.jobs import CandidateJob
from scalesearch.study.progress import ProgressDisplay

Settle = Callable[[Trial, Any, Scored | Failed], str]
"""Records how a trial ended and returns a few words about it."""

Decide = Callable[[Trial, Any, Reached], bool]
"""Records what a trial read at a rung and says whether its training goes on."""


def drive(
    jobs: Iterator[tuple[Trial, CandidateJob, str]],
    executor: Executor,
    settle: Settle,
    progress: ProgressDisplay,
    decide: Decide | None = None,
) -> None:
    """Run jobs as workers fall free until there are none left.

    ``jobs`` is asked for the next one only when a worker is free, so a search proposes with all that is known by
    then. On any error, Ctrl-C included, the running jobs are ended; their trials stay RUNNING in the record and are
    taken up again by the next run.

    Args:
        jobs: Trial, job and a few words to show while it runs.
        executor: Where jobs run; closed at the end.
        settle: Told of each job that ended.
        progress: Told of everything.
        decide: Asked at each rung; needed where jobs have rungs.
    """
    running: dict[int, tuple[Trial, CandidateJob]] = {}
    try:
        with Interrupts() as interrupts:
            while True:
                while len(running) < executor.num_workers:
                    following = next(jobs, None)
                    if following is None:
                        break
                    trial, job, description = following
                    running[trial.number] = (trial, job)
                    progress.begin(trial.number, description)
                    executor.submit(trial.number, job)
                if not running:
                    return
                with interrupts.allowed():
                    events = executor.wait()
                for event in events:
                    if isinstance(event, Stepped):
                        progress.step(event.key, event.steps, event.num_steps)
                    elif isinstance(event, Reached):
                        assert decide is not None, "a job with rungs came without anybody to ask"
                        executor.answer(event.key, decide(*running[event.key], event))
                    else:
                        line = settle(*running.pop(event.key), event)
                        progress.settle(event.key, _state_after(event), line)
    finally:
        executor.close()


def _state_after(event: Scored | Failed) -> str:
    if isinstance(event, Failed):
        return "FAILED"
    return "PRUNED" if event.score.stopped else "COMPLETE"

"""What a Slurm job runs: one training in a process of its own, and its parent, which speaks for it with the driver.

The parent is the process that submitit begins. It trains nothing, so a signal of Slurm's finds it ready at any time;
how the training ends, by whatever signal, it tells as on one machine. Slurm may signal every process of a job or the
parent alone: both ways the training is asked to end, and writes a snapshot between two of its steps.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from scalesearch.study.executors.events import End, Event, Lost, Reached, Requeued, Run, Stepped
from scalesearch.study.executors.local import LocalExecutor
from scalesearch.study.executors.slurm_mailbox import DriverWatch, Mailbox
from scalesearch.study.executors.worker import DriverGoneError, WorkerSettings
from scalesearch.study.jobs import CandidateJob, CandidateScore

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

PREEMPTION = signal.SIGUSR2
"""What submitit has Slurm send before a job's time is over, and many a cluster before it takes a job's place."""

_SIGNALS = (PREEMPTION, signal.SIGTERM)
_SNAPSHOT_SECONDS = 60.0  # for the step that runs and for writing
_REQUEUE_SECONDS = 30.0  # Slurm's own KillWait, after which it kills what it has asked to end
_TICK_SECONDS = 1.0
_ANSWER_TICK_SECONDS = 0.2
_REPORT_SECONDS = 1.0  # between two reports of steps: each is a file


@dataclass(kw_only=True, slots=True)
class SlurmTask:
    """A job as submitit pickles it and, after a pre-emption, begins it again.

    Attributes:
        run: What it does.
        key: Its name to the driver.
        job: What is trained.
        settings: What the training's process may use.
        mailbox: Folder of its letters.
        beat: The file that the driver touches.
        silence_seconds: Without a sign of the driver, after which the job ends itself.
    """

    run: Run
    key: int
    job: CandidateJob
    settings: WorkerSettings
    mailbox: Path
    beat: Path
    silence_seconds: float
    _training: _Training | None = field(default=None, init=False, repr=False)

    def __call__(self) -> End | Lost:
        """Train, and return how it ended.

        Raises:
            SystemExit: Nobody wants the score any more.
        """
        try:
            self._training = _Training(self)
            end = self._training.follow()
        except DriverGoneError:
            print("the job's driver has closed its mailbox: nobody waits for a score")  # in Slurm's log
            sys.exit(0)
        finally:
            if self._training is not None:
                self._training.end()
        _ignore_signals()  # what is left is to write the result
        return end

    def checkpoint(self) -> DelayedSubmission:
        """Have the training write a snapshot and end; return what submitit requeues. Called at a signal."""
        from submitit.helpers import DelayedSubmission

        _ignore_signals()  # a second one would requeue within the first
        if self._training is not None:
            self._training.end()
            self._training.letters.post(Requeued(self.key, "its Slurm job was pre-empted, or its time was over"))
        return DelayedSubmission(replace(self))


class _Training:
    """The training's process, and what goes between it and the driver.

    Raises:
        DriverGoneError: The mailbox is closed.
    """

    def __init__(self, task: SlurmTask) -> None:
        self._task, self._mailbox = task, Mailbox(task.mailbox)
        self._watch = DriverWatch(task.beat, task.silence_seconds)
        self.letters = self._mailbox.begin_letters()
        self._rung: int | None = None
        self._runs = self._must_end = False
        self._next_report = 0.0
        # forked: this process has imported what is needed, has begun no thread of ours and touched no device
        context = multiprocessing.get_context("fork")
        settings = task.settings
        self._executor = LocalExecutor(1, self._run, settings.num_threads, settings.memory_gib, context)
        signal.signal(signal.SIGTERM, self._ask_to_end)

    def follow(self) -> End | Lost:
        """Tell the driver what happens until the training ends, or must.

        Raises:
            DriverGoneError: The mailbox is closed.
        """
        with _held_back():
            self._executor.submit(self._task.key, self._task.job)
            self._runs = True
        while True:
            for event in self._executor.wait(_TICK_SECONDS if self._rung is None else _ANSWER_TICK_SECONDS):
                if isinstance(event, End | Lost):
                    self._runs = False
                    if not (self._must_end and isinstance(event, Lost)):  # Slurm has asked both of us to end
                        return event
                else:
                    self._forward(event)
            if self._must_end:
                return self._take_leave()
            self._pass_answer()
            if not self._mailbox.is_open:
                raise DriverGoneError
            if self._watch.is_over:
                self.end()
                return Lost(self._task.key, f"no sign of the driver for {self._task.silence_seconds:g} s")

    def end(self) -> None:
        """End the training if it runs, after a snapshot; at once where it waits at a rung, and would write none."""
        if self._runs:
            self._runs = False
            self._executor.stop(self._task.key, _SNAPSHOT_SECONDS if self._rung is None else 0)

    def _run(self, job: CandidateJob, watcher: object) -> CandidateScore:
        """Run the job in its own process, which was born with submitit's handlers of signals, and held back."""
        signal.signal(PREEMPTION, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # in whose place a training that keeps snapshots puts its own
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return self._task.run(job, watcher)

    def _forward(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Stepped):
            if now < self._next_report:
                return
            self._next_report = now + _REPORT_SECONDS
        if isinstance(event, Reached):
            self._rung = event.rung
        self.letters.post(event)

    def _pass_answer(self) -> None:
        if self._rung is not None:
            goes_on = self.letters.read_answer(self._rung)
            if goes_on is not None:
                self._rung = None
                self._executor.answer(self._task.key, goes_on)

    def _take_leave(self) -> Lost:
        """End the training, and leave it to Slurm to requeue or kill the job; call it lost where neither comes."""
        self.end()
        self.letters.post(Requeued(self._task.key, "its Slurm job was told to end"))
        until = time.monotonic() + _REQUEUE_SECONDS
        while time.monotonic() < until and self._mailbox.is_open:
            time.sleep(_ANSWER_TICK_SECONDS)
        return Lost(self._task.key, "its Slurm job was ended by SIGTERM")

    def _ask_to_end(self, signum: int, frame: FrameType | None) -> None:
        self._must_end = True


def _ignore_signals() -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


@contextmanager
def _held_back() -> Iterator[None]:
    """Keep signals waiting, so that a process is born without one and sets its own handlers first."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

"""The way between a Ray task and its driver while the task runs, and the task itself.

A Ray task tells nothing before it ends. What a job tells on the way goes through one small actor on the driver's node,
which holds letters as bytes and knows nothing of what they say.
"""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from scalesearch.study.executors.events import End, Event, Run
from scalesearch.study.executors.worker import DriverGoneError, WorkerSettings, work
from scalesearch.study.jobs import CandidateJob

Letter = tuple[int, Event]
"""The attempt that an event is of, and the event: a job that was lost and began again must not be told by its past."""


def mailbox_class() -> type:
    """Return the actor's class.

    It is this function's own, so that Ray sends it by value: the actor's process imports neither torch nor us.
    """
    import asyncio

    class Mailbox:
        """Keeps the workers' letters until the driver empties it, and the driver's answers until they are asked for."""

        def __init__(self) -> None:
            self._letters: list[bytes] = []
            self._some = asyncio.Event()
            self._answers: dict[int, asyncio.Queue[bool]] = {}

        async def tell(self, letter: bytes) -> None:
            """Take a worker's letter."""
            self._letters.append(letter)
            self._some.set()

        async def wait(self) -> None:
            """Return as soon as there is a letter; it stays where it is."""
            await self._some.wait()

        async def empty(self) -> list[bytes]:
            """Hand all letters over, oldest first."""
            letters, self._letters = self._letters, []
            self._some.clear()
            return letters

        async def answer(self, attempt: int, goes_on: bool) -> None:
            """Take the driver's answer to a worker."""
            await self._queue(attempt).put(goes_on)

        async def receive(self, attempt: int) -> bool:
            """Return the driver's next answer to a worker, as soon as there is one."""
            return await self._queue(attempt).get()

        def _queue(self, attempt: int) -> asyncio.Queue[bool]:
            return self._answers.setdefault(attempt, asyncio.Queue())

    return Mailbox


def write_letter(attempt: int, event: Event) -> bytes:
    """Return an event as the mailbox keeps it."""
    return pickle.dumps((attempt, event))


def read_letter(letter: bytes) -> Letter:
    """Return what was written, by a worker of this study."""
    attempt, event = pickle.loads(letter)
    return attempt, event


def run_job(
    run: Run,
    key: int,
    attempt: int,
    job: CandidateJob,
    settings: WorkerSettings,
    mailbox: Any,  # noqa: ANN401 (Ray's handle of an actor has no type of its own)
    folder: str,
    data: object = None,
) -> End:
    """Run a job in a worker of Ray's; the task.

    Args:
        run: What a job does.
        key: Of the job.
        attempt: Which of all attempts at jobs this is.
        job: The job.
        settings: What the process may use.
        mailbox: Ray's handle of the mailbox.
        folder: The driver's working folder, to which the job's paths are relative; left alone where it is not seen.
        data: What the job reads; Ray has put the object in place of its reference.
    """
    with suppress(OSError):
        os.chdir(folder)
    return work(run, key, job, settings, _Post(mailbox, attempt), data)


class _Post:
    """A worker's way to the mailbox; a ``Channel``.

    It waits in a thread of its own: a task whose own thread waits within Ray lends its cores to the next task.
    """

    def __init__(self, mailbox: Any, attempt: int) -> None:  # noqa: ANN401 (see ``run_job``)
        self._mailbox, self._attempt = mailbox, attempt
        self._thread = ThreadPoolExecutor(2, thread_name_prefix="post")  # the guard of memory must not queue

    def send(self, event: Event) -> None:
        self._wait_for(self._mailbox.tell.remote(write_letter(self._attempt, event)))

    def receive(self) -> bool:
        return bool(self._wait_for(self._mailbox.receive.remote(self._attempt)))

    def _wait_for(self, reference: Any) -> Any:  # noqa: ANN401 (whatever the mailbox returns)
        import ray

        try:
            return self._thread.submit(ray.get, reference).result()
        except ray.exceptions.RayActorError:
            raise DriverGoneError from None

"""What the tests of every executor do with one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scalesearch.arch import ArchSpec
from scalesearch.data import DataConfig
from scalesearch.measure.scores import Job
from scalesearch.measure.training import TrainConfig
from scalesearch.study.executors import Began, Event, Executor, Failed, Lost, Reached, Scored, Stepped

REPO = Path(__file__).resolve().parents[3]
JOB = Job(
    arch=ArchSpec.from_blocks(["ds_r1_k3_s2_c8"], stem_channels=8, head_channels=16, image_size=16, stem_stride=1),
    seed=7,
    data=DataConfig(patches_per_class=2, eval_patches_per_class=1, stored_size=16),
    train=TrainConfig(steps=2, batch_size=11),
)

Start = Callable[..., Executor]
"""Begins an executor: ``start(run, num_workers=1, num_threads=1)``."""


def run_to_the_end(executor: Executor, *seeds: int) -> list[Event]:
    """Run a job of each seed at once and return all events; a job's key is its seed."""
    for seed in seeds:
        executor.submit(seed, replace(JOB, seed=seed))
    return events_of(executor, len(seeds))


def events_of(executor: Executor, num_jobs: int) -> list[Event]:
    """Return all events until so many jobs have ended, without ``Began``."""
    events: list[Event] = []
    while sum(isinstance(event, (Scored, Failed, Lost)) for event in events) < num_jobs:
        events += [event for event in executor.wait() if not isinstance(event, Began)]
    return events


def climb(executor: Executor, answers: dict[int, list[bool]]) -> list[Event]:
    """Run a job for each key, answer it in turn, and return all events."""
    answers = {key: list(given) for key, given in answers.items()}  # a parameter of several tests
    for key in answers:
        executor.submit(key, replace(JOB, rungs=(10, 30)))
    events: list[Event] = []
    while sum(isinstance(event, (Scored, Failed)) for event in events) < len(answers):
        news = [event for event in executor.wait() if not isinstance(event, Began)]
        for event in news:
            if isinstance(event, Reached):
                executor.answer(event.key, answers[event.key].pop(0))
        events += news
    return events


def reach_a_rung(executor: Executor) -> int:
    """Submit a job and return the id of its process, which waits at a rung by then."""
    executor.submit(1, JOB)
    return pids_of(executor, 1)[1]


def pids_of(executor: Executor, num_jobs: int) -> dict[int, int]:
    """Return the process of each of so many jobs, which tell it as their steps."""
    pids: dict[int, int] = {}
    while len(pids) < num_jobs:
        pids |= {event.key: event.steps for event in executor.wait() if isinstance(event, (Stepped, Reached))}
    return pids


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] not in "ZX"
    except OSError:
        return False


def has_ended(pid: int) -> bool:
    for _ in range(100):
        if not is_running(pid):
            return True
        time.sleep(0.1)  # whoever began it reaps it
    return False

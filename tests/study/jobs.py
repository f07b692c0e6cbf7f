"""What a worker process may be given to run, for good and for ill; it must be importable there."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch

from scalesearch.data import ImageData
from scalesearch.measure.scores import Job, Score
from scalesearch.measure.scores.brief import Watcher
from scalesearch.measure.steps import OnStep


def new_score(val_top1: float, **changes: float | bool) -> Score:
    measured = {"val_loss": 1.0, "test_top1": math.nan, "latency_ms": 1.0, "train_seconds": 1.0, "steps": 1} | changes
    return Score(val_top1=val_top1, **measured)  # type: ignore[arg-type]


def tell_the_seed(job: Job, on_step: OnStep) -> Score:
    return new_score(job.seed / 100, steps=torch.get_num_threads(), train_seconds=float(os.getpid()))


def take_steps(job: Job, on_step: OnStep) -> Score:
    for step in range(1, 4):
        on_step(step, 3)
        time.sleep(0.35)  # the reports are rate-limited
    return new_score(0.5)


def raise_an_error(job: Job, on_step: OnStep) -> Score:
    raise RuntimeError(f"seed {job.seed} is unlucky")


def run_out_of_memory(job: Job, on_step: OnStep) -> Score:
    raise MemoryError


def exit_hard(job: Job, on_step: OnStep) -> Score:
    os._exit(3)


def exit_softly(job: Job, on_step: OnStep) -> Score:
    sys.exit(4)


def be_killed(job: Job, on_step: OnStep) -> Score:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def crash(job: Job, on_step: OnStep) -> Score:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("still alive")


def return_what_cannot_be_sent(job: Job, on_step: OnStep) -> Score:
    return threading.Lock()  # type: ignore[return-value]


def fail_if_odd(job: Job, on_step: OnStep) -> Score:
    return be_killed(job, on_step) if job.seed % 2 else tell_the_seed(job, on_step)


def end_by_seed(job: Job, on_step: OnStep) -> Score:
    """Be killed, raise, or score well."""
    return {1: be_killed, 2: raise_an_error}.get(job.seed, tell_the_seed)(job, on_step)


def lose_a_pipe(job: Job, on_step: OnStep) -> Score:
    raise BrokenPipeError("of its own")


def climb(job: Job, watcher: Watcher) -> Score:
    for rung, steps in enumerate(job.rungs):
        if not watcher.reached(rung, steps, steps / 100):
            return new_score(steps / 100, steps=steps, stopped=True)
    return new_score(1.0, steps=100)


def wait_at_a_rung(job: Job, watcher: Watcher) -> Score:
    watcher.reached(0, os.getpid(), 0.5)  # tells the driver which process to look for
    raise AssertionError("nobody was to answer")


def run_for_ever(job: Job, on_step: OnStep) -> Score:
    on_step(os.getpid(), 0)  # tells the driver which process to look for
    while True:
        time.sleep(1)


def take_more_and_more(job: Job, on_step: OnStep) -> Score:
    held = []
    for _ in range(400):  # 8 GiB, were nobody to stop it
        held.append(torch.ones(20 * 2**18))
        time.sleep(0.005)
    raise AssertionError("nobody stopped it")


def wait_for_the_word(job: Job, on_step: OnStep) -> Score:
    assert job.cache is not None
    on_step(os.getpid(), 0)  # tells the driver which process to look for
    while not (job.cache / "go").exists():
        time.sleep(0.05)
    return tell_the_seed(job, on_step)


def read_the_data(job: Job, on_step: OnStep, data: ImageData) -> Score:
    images = data.train.images  # type: ignore[attr-defined]
    assert type(images) is np.ndarray
    mapping = _mapping_of(images.ctypes.data)
    on_step(1, 1)
    return new_score(float(images.mean()) / 255, steps=int("/dev/shm" in mapping or "plasma" in mapping))


def _mapping_of(address: int) -> str:
    """Return the line of what this process has mapped there."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        begin, end = (int(number, 16) for number in line.split()[0].split("-"))
        if begin <= address < end:
            return line
    return ""

"""What memory there is for trainings."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def available_gib(device: str = "cpu") -> float:
    """Return the memory of a CUDA device, or of this machine as far as its control group may use it."""
    if device != "cpu":
        return torch.cuda.get_device_properties(device).total_memory / 2**30
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_LIMITS:
        text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
        if text.isdecimal():  # "max" is no limit
            sizes.append(int(text))
    return min(sizes) / 2**30

"""How much a brief training tells about a network: spread among networks against the spread of a repeat.

Trains the same random networks of a search space with two seeds under several budgets and prints, for each, the range
of accuracies, the standard deviation among networks (of their means), that of a repeat, their ratio, and the seconds
a training took. A budget ranks when the first is well above the second.

    python benchmarks/brief_training.py data=parquet data.root=DIR data.max_train_images=10000
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace

import pandas as pd

from scalesearch.arch import SearchSpace, network_cost
from scalesearch.arch.budget import Budget
from scalesearch.config import load_config
from scalesearch.measure.scores import Job, score_job
from scalesearch.study.executors import Failed, LocalExecutor, Scored

NUM_NETWORKS, SEEDS = 6, (0, 1)
BUDGET = Budget(macs=4e6)
SETTINGS = {  # epochs, batch size
    "2 passes, batch 64": (2.0, 64),
    "2 passes, batch 32": (2.0, 32),
    "4 passes, batch 64": (4.0, 64),
}


def main() -> None:
    config = load_config("search", ["study=brief_training", "results=/tmp", *sys.argv[1:]])
    config.load_data()
    space, rng = SearchSpace.load("mbconv_small"), random.Random(0)
    drawn = iter(lambda: space.sample(rng), None)
    networks = [arch for arch in (next(drawn) for _ in range(100)) if BUDGET.holds(network_cost(arch, num_classes=10))]
    jobs = [
        (
            name,
            index,
            Job(arch, seed, config.data, replace(config.train, epochs=epochs, batch_size=batch), config.folder.cache),
        )
        for name, (epochs, batch) in SETTINGS.items()
        for seed in SEEDS
        for index, arch in enumerate(networks[:NUM_NETWORKS])
    ]
    print(pd.DataFrame(summarise(train(jobs))).to_string(index=False))


def train(jobs: list[tuple[str, int, Job]]) -> pd.DataFrame:
    """Return a row a training."""
    executor, pending, rows = LocalExecutor(2, score_job), dict(enumerate(jobs)), []
    waiting = iter(pending)
    for key in (next(waiting), next(waiting)):
        executor.submit(key, jobs[key][2])
    while len(rows) < len(jobs):
        for event in executor.wait():
            assert not isinstance(event, Failed), event
            if isinstance(event, Scored):
                name, index, job = jobs[event.key]
                rows.append({"setting": name, "network": index, "seed": job.seed, **event.score.to_dict()})
                print(rows[-1], file=sys.stderr, flush=True)
                following = next(waiting, None)
                if following is not None:
                    executor.submit(following, jobs[following][2])
    return pd.DataFrame(rows)


def summarise(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Return a row a setting."""
    summary = []
    for name, mine in rows.groupby("setting", sort=False):
        by_network = mine.groupby("network").val_top1
        repeat = float((by_network.var().mean()) ** 0.5)
        among = float(by_network.mean().std())
        summary.append(
            {
                "setting": name,
                "val_top1": f"{mine.val_top1.min():.3f}-{mine.val_top1.max():.3f}",
                "sd among networks": round(among, 4),
                "sd of a repeat": round(repeat, 4),
                "ratio": round(among / repeat, 1),
                "seconds a training": round(float(mine.train_seconds.mean()), 1),
            }
        )
    return summary


if __name__ == "__main__":
    main()

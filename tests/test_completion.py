"""What a shell completes: asked of a real bash with the script loaded."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from scalesearch.cli import VERBS
from scalesearch.completion import completion_script
from scalesearch.config import load_config
from scalesearch.schemas import SHELLS

ASK = """
source "$1"
COMP_LINE=$2 COMP_POINT=${#2}
_scalesearch
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(line: str, tmp_path: Path) -> list[str]:
    """Return what bash would offer at the end of a line."""
    script = tmp_path / "script.bash"
    script.write_text(completion_script("bash"), encoding="utf-8")
    command = ["bash", "-c", ASK, "bash", str(script), line]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("scalesearch sea", ["search"]),
        ("scalesearch scal", ["scale", "scaling-curves"]),
        ("scalesearch search tri", ["trials=", "trial_timeout="]),
        ("scalesearch search train.augmentation.fl", ["train.augmentation.flip="]),
        ("scalesearch search budget.m", ["budget.macs="]),
        ("scalesearch search data=f", ["folder"]),
        ("scalesearch detect data=", ["coco", "made", "voc"]),
        ("scalesearch search sampler=t", ["tpe"]),
        ("scalesearch search study=a train.augmentation.flip=", ["true", "false"]),
        ("scalesearch data check data.st", ["data.stored_size="]),
        ("scalesearch run search.tri", ["search.trials=", "search.trial_timeout="]),
        ("scalesearch completion shell=f", ["fish"]),
    ],
)
def test_bash_offers_verbs_keys_and_values(line: str, offered: list[str], tmp_path: Path) -> None:
    assert sorted(complete(line, tmp_path)) == sorted(offered)


def test_bash_offers_files_where_a_key_has_no_words(tmp_path: Path) -> None:
    (tmp_path / "pictures.tar").touch()
    assert complete("scalesearch search data.root=pic", tmp_path) == ["pictures.tar"]
    assert complete("scalesearch search config=pic", tmp_path) == ["pictures.tar"]


def test_bash_offers_every_verb(tmp_path: Path) -> None:
    assert set(complete("scalesearch ", tmp_path)) == set(VERBS)


def test_a_line_is_never_run(tmp_path: Path) -> None:
    complete("scalesearch search study=$(touch owned) `touch owned` *", tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("key", ["sampler", "objective", "cost", "device", "space"])
def test_every_word_that_is_offered_is_allowed(key: str, tmp_path: Path) -> None:
    for word in complete(f"scalesearch search {key}=", tmp_path):
        if word != "cuda":
            assert getattr(load_config("search", [f"{key}={word}", "budget.macs=5e6"]), key) == word


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell != "bash"])
def test_other_shells_read_their_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(completion_script(shell), encoding="utf-8")
    assert subprocess.run([shell, "-n", str(script)], capture_output=True, check=False).returncode == 0

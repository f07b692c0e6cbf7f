"""Scripts that make a shell complete verbs, keys and values; all they know is written into them, so they are quick.

A key is completed up to its ``=``. Values are those of a group, of a yes or no, of a few keys with fixed words, and
files for any other key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import get_type_hints

from scalesearch.arguments import CONFIG, choices_of
from scalesearch.config import PARTS, describe_keys
from scalesearch.paths import SEARCH_SPACES
from scalesearch.schemas import SCHEMAS, SHELLS
from scalesearch.search.objectives import COSTS, OBJECTIVES
from scalesearch.search.samplers import SAMPLERS

_WORDS: dict[str, tuple[str, ...]] = {
    "sampler": SAMPLERS,
    "objective": OBJECTIVES,
    "cost": COSTS,
    "device": ("auto", "cpu", "cuda"),
    "shell": SHELLS,
    "space": tuple(sorted(file.stem for file in SEARCH_SPACES.glob("*.yaml"))),
}


def completion_script(shell: str) -> str:
    """Return the script of one of ``SHELLS``."""
    table = {verb: dict(_keys(verb)) for verb in ("run", *SCHEMAS)}
    if shell == "fish":
        return _fish(table)
    cases = "\n".join(_cases(table))
    return (_BASH if shell == "bash" else _ZSH).replace("@VERBS@", " ".join(table)).replace("@CASES@", cases)


def _keys(verb: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each key of a verb and the values it may have; none where a file or anything else may be meant."""
    if verb == "run":
        yield from dict(each for part in PARTS for each in _shared(part)).items()
        for part in PARTS:
            yield from ((f"{part}.{key}", values) for key, values in _keys(part) if key != CONFIG)
        return
    yield CONFIG, ()
    yield from ((group, tuple(names)) for group, names in choices_of(verb).items() if group in _names(verb))
    booleans = set(_booleans(SCHEMAS[verb]))
    for key, _, _ in describe_keys(SCHEMAS[verb]):
        yield key, ("true", "false") if key in booleans else _WORDS.get(key, ())


def _shared(part: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    own = {"data", "train", "study", "results", "storage", "seed", "workers", "threads", "device", "executor", CONFIG}
    yield from ((key, values) for key, values in _keys(part) if key.partition(".")[0] in own)


def _names(verb: str) -> set[str]:
    return {item.name for item in fields(SCHEMAS[verb])}


def _booleans(schema: type, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(schema).items():
        if isinstance(hint, type) and is_dataclass(hint):
            yield from _booleans(hint, f"{prefix}{name}.")
        elif hint is bool:
            yield f"{prefix}{name}"


def _cases(table: dict[str, dict[str, tuple[str, ...]]]) -> Iterator[str]:
    """Yield a shell's ``case`` for each verb's keys and for the values of each key that has words."""
    for verb, keys in table.items():
        yield f"    {verb}:) words='{' '.join(f'{key}=' for key in keys)}' ;;"
        for key, values in keys.items():
            if values:
                yield f"    {verb}:{key}) words='{' '.join(values)}' ;;"


def _fish(table: dict[str, dict[str, tuple[str, ...]]]) -> str:
    lines = ["# scalesearch completion fish > ~/.config/fish/completions/scalesearch.fish"]
    lines.append(f"complete -c scalesearch -n __fish_use_subcommand -f -a '{' '.join(table)}'")
    for verb, keys in table.items():
        words = [
            word for key, values in keys.items() for word in ([f"{key}={value}" for value in values] or [f"{key}="])
        ]
        lines.append(f"complete -c scalesearch -n '__fish_seen_subcommand_from {verb}' -a '{' '.join(words)}'")
    return "\n".join(lines) + "\n"


# In bash an = ends a word, so what stands before it is taken from the whole line.
_BASH = """\
# scalesearch completion bash > ~/.local/share/bash-completion/completions/scalesearch
_scalesearch_words() {
  local words=''
  case "$1:$2" in
@CASES@
  esac
  printf '%s' "$words"
}
_scalesearch() {
  local line=${COMP_LINE:0:COMP_POINT} current verb key value words
  current=${line##* }
  set -f; set -- $line; set +f
  verb=$2
  COMPREPLY=()
  if [[ $verb == data && ${3-} == check ]]; then verb=data-check; fi
  if [[ $verb == "$current" ]]; then
    COMPREPLY=($(compgen -W '@VERBS@' -- "$current"))
  elif [[ $current == *=* ]]; then
    key=${current%%=*} value=${current#*=}
    words=$(_scalesearch_words "$verb" "$key")
    if [[ -n $words ]]; then
      COMPREPLY=($(compgen -W "$words" -- "$value"))
    else
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$value")
    fi
    if [[ $COMP_WORDBREAKS != *=* ]]; then COMPREPLY=("${COMPREPLY[@]/#/$key=}"); fi
  else
    compopt -o nospace 2>/dev/null
    COMPREPLY=($(compgen -W "$(_scalesearch_words "$verb" '')" -- "$current"))
  fi
}
complete -F _scalesearch scalesearch
"""

_ZSH = """\
#compdef scalesearch
# scalesearch completion zsh > a folder of $fpath, as _scalesearch
_scalesearch_words() {
  local words=''
  case "$1:$2" in
@CASES@
  esac
  print -rn -- $words
}
_scalesearch() {
  local verb=${words[2]} key
  if (( CURRENT == 2 )); then
    compadd -- ${=:-@VERBS@}
  elif compset -P 1 '*='; then
    key=${IPREFIX%=}
    local -a found=(${=$(_scalesearch_words $verb $key)})
    if (( ${#found} )); then compadd -a found; else _files; fi
  else
    compadd -S '' -- ${=$(_scalesearch_words $verb '')}
  fi
}
if [[ $funcstack[1] == _scalesearch ]]; then _scalesearch "$@"; else compdef _scalesearch scalesearch; fi
"""

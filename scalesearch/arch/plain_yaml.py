"""YAML from anybody: plain values alone, and no more of them than fit into memory.

PyYAML's safe loader runs nothing, but it follows what a file of a few bytes may use to fill the memory or to end the
process: an alias of aliases of aliases, merge keys over them, a thousand brackets. Here the nodes are counted as they
are composed, each as often as it is referred to, before any value is made of them. Tags are refused, also harmless
ones: no file of ours has any.
"""

from __future__ import annotations

from typing import Any

import yaml

MOST_VALUES = 100_000
DEEPEST = 50
MOST_BITS = 14_000  # of a whole number; of more than 4,300 digits Python makes no text, for a sentence or a file


class PlainYamlError(yaml.YAMLError):
    """A document that is YAML, but not plain values."""


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without tags, with limits on depth and on values after aliases are followed."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._weights: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - PyYAML's own
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise PlainYamlError(f"tags are not read, got {tag} in line {event.start_mark.line + 1}")
        if self._depth >= DEEPEST:
            raise PlainYamlError(f"values must be nested at most {DEEPEST} deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._weigh(node, is_alias=isinstance(event, yaml.AliasEvent))
        return node

    def _weigh(self, node: yaml.Node | None, *, is_alias: bool) -> None:
        """Count a node with all below it; nodes live as long as the loader, so their ids stay theirs."""
        if is_alias:
            if id(node) not in self._weights:
                raise PlainYamlError("a value must not hold itself")
            return
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = (each for part in parts for each in (part if isinstance(part, tuple) else (part,)))
        weight = 1 + sum(self._weights[id(each)] for each in inner)
        if weight > MOST_VALUES:
            raise PlainYamlError(f"at most {MOST_VALUES:,} values are read, aliases followed")
        self._weights[id(node)] = weight

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        """Return a whole number that can be written again: one in hexadecimal digits may be of any length."""
        number: int = self.construct_yaml_int(node)
        if number.bit_length() > MOST_BITS:
            raise PlainYamlError(f"a whole number has at most {MOST_BITS:,} bits, got {number.bit_length():,}")
        return number


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_whole)


def parse_yaml(text: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Return the plain values of one document: mappings, lists, texts, numbers, truth values, dates and null.

    Raises:
        yaml.YAMLError: It is no YAML, has tags, or is too deep or too large.

    Example:
        >>> parse_yaml("{stages: [1, 2]}")
        {'stages': [1, 2]}
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except ValueError as error:  # what looks like a number or a date and is none
        raise PlainYamlError(f"a value cannot be read ({error})") from None

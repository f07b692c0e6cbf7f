"""What YAML may hold: plain values that can be shown and written again."""

from __future__ import annotations

import pytest

from scalesearch.arch.plain_yaml import PlainYamlError, parse_yaml


def test_whole_numbers_are_read_in_every_base() -> None:
    assert parse_yaml("[12, -3, 0x1f, 0b101, 1_000]") == [12, -3, 31, 5, 1000]


def test_a_whole_number_too_long_to_be_shown_is_refused() -> None:
    with pytest.raises(PlainYamlError, match="a whole number has at most 14,000 bits, got 20,000"):
        parse_yaml(f"seed: 0x{'f' * 5000}")

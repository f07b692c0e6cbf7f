"""Latency predicted from a table of blocks, each measured once on the device.

The latency of a network is a factor times the sum of its blocks' latencies, after FBNet (Wu et al. 2019, arXiv
1812.03443, section 3.2) and ProxylessNAS (Cai et al. 2019, arXiv 1812.00332, section 3.3).
"""

from scalesearch.measure.latency_table.error import LatencyErrorInfo, LatencyErrorRow, evaluate_latency_table
from scalesearch.measure.latency_table.keys import BlockKey, arch_keys, table_keys
from scalesearch.measure.latency_table.measuring import OnEntry, Timers, describe_conditions, measure_latency_table
from scalesearch.measure.latency_table.running import LatencyTableConfig, LatencyTableResult, run_latency_table
from scalesearch.measure.latency_table.table import Conditions, LatencyTable, Reading

__all__ = [
    "BlockKey",
    "Conditions",
    "LatencyErrorInfo",
    "LatencyErrorRow",
    "LatencyTable",
    "LatencyTableConfig",
    "LatencyTableResult",
    "OnEntry",
    "Reading",
    "Timers",
    "arch_keys",
    "describe_conditions",
    "evaluate_latency_table",
    "measure_latency_table",
    "run_latency_table",
    "table_keys",
]

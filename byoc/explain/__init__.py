"""Why each op is where it is: pure functions from a plan to rows, to text, and to JSON.

A host op appears under "Why on the host" once for each target that was asked for, since each has a reason of its own.
"""

from byoc.explain.difference import difference_json, difference_text
from byoc.explain.document import explain_json
from byoc.explain.node import explain_node_json, explain_node_text, find_ops
from byoc.explain.rows import HostReason, PartitionRow, Share, host_reasons, node_label, partition_rows, shares
from byoc.explain.splits import Split, splits
from byoc.explain.text import counts_text, explain_text, host_text, suggestion_text

__all__ = [
    "HostReason",
    "PartitionRow",
    "Share",
    "Split",
    "counts_text",
    "difference_json",
    "difference_text",
    "explain_json",
    "explain_node_json",
    "explain_node_text",
    "explain_text",
    "find_ops",
    "host_reasons",
    "host_text",
    "node_label",
    "partition_rows",
    "shares",
    "splits",
    "suggestion_text",
]

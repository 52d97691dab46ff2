"""Where the time of a compiled model goes, and measured costs for the partitioner."""

from byoc.profile.costs import measure_costs
from byoc.profile.report import OpTime, Overhead, PartitionTime, Profile, profile, profile_json, profile_text
from byoc.profile.trace import chrome_trace

__all__ = [
    "OpTime",
    "Overhead",
    "PartitionTime",
    "Profile",
    "chrome_trace",
    "measure_costs",
    "profile",
    "profile_json",
    "profile_text",
]

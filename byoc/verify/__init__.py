"""Which partition is wrong: every one of them held against its reference on the host."""

from byoc.verify.bisect import Culprit, bisect
from byoc.verify.bundle import write_bundle
from byoc.verify.check import PartitionError, Record, Verification, carried_out, verify
from byoc.verify.report import verification_json, verification_text

__all__ = [
    "Culprit",
    "PartitionError",
    "Record",
    "Verification",
    "bisect",
    "carried_out",
    "verification_json",
    "verification_text",
    "verify",
    "write_bundle",
]

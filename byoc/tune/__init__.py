"""Measured choices for the host's kernels, kept in a database."""

from byoc.tune.database import Database, Place, Trial
from byoc.tune.run import Tuning

__all__ = ["Database", "Place", "Trial", "Tuning"]

"""The zoo: whole models, byoc beside its rivals, each in a process of its own."""

"""Does a codegen compute what it claims to: cases, an oracle, and a runner that survives crashes and hangs."""

"""From a plan to compiled partitions: outline, match again inside, emit, compile."""

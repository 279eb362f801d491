"""The native module: the L4 data plane driver and the L7 engine."""

"""One kind of probe per module; each is a coroutine that raises ProbeError."""

"""Where L7 requests go: the HTTP model in, one immutable snapshot for the engine out. Pure."""

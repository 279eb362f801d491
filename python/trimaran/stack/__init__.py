"""What is wanted: the typed model of a whole system, and the readers of its files. Pure."""

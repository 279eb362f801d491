"""The only door to the machine: thin drivers, one file per kernel or native facility."""

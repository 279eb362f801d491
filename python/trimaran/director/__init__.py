"""Where L4 flows go: services and health in, desired tables and their difference out. Pure."""

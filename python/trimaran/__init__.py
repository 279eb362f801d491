"""Trimaran: VRRP failover, an L4 director and an L7 proxy in one product."""

__version__ = "0.1.0"

"""Why packets for a service were not forwarded, and what was unusual about some that were: the
names of bpf/layout.h, each with a sentence for people."""

from collections.abc import Mapping

NOTICES = (
    "table_full",
    "adopted",
    "answered",
    "untold",
    "reset",
    "unpinned",
)  # counted, but no drop of their own

EXPLAINED: Mapping[str, str] = {
    "malformed": "The TCP or UDP header is one that no stack accepts: cut short, impossible "
    "lengths, or flags that exclude each other.",
    "fragment": "A later fragment came without its datagram's first one before it, which alone "
    "has the ports that tell the way.",
    "ttl": "The packet had no hop left (TTL or hop limit 1), as in a traceroute or a routing loop.",
    "no_real_server": "The service had no real server to choose: all are down, unreachable or have "
    "weight 0.",
    "real_server_down": "The flow belongs to a real server that is down; its client must connect "
    "anew.",
    "no_mac": "The MAC of the flow's real server is not known: it does not answer ARP or neighbour "
    "discovery.",
    "internal": "The flow names a real server that the tables do not have. Please report this.",
    "extension_headers": "IPv6 extension headers were cut short, or more than the six that are "
    "looked through.",
    "mtu": "The packet is longer than the real server's link carries, and may not or need not be "
    "fragmented here.",
    "table_full": "The flow table is full: the packet was forwarded by hash, and its flow is not "
    "tracked. Raise flow_table.",
    "adopted": "The flow began before this director knew it; it was forwarded by hash and tracked "
    "from here on.",
    "waiting": "The first packet here of a flow that began elsewhere: the word of another director "
    "may be on its way. Its sender repeats it.",
    "untold": "The other directors could not be told of a flow at once: they are told later, with "
    "the whole table.",
    "encapsulation": "The packet could not be put into its tunnel: it has a second VLAN tag "
    "behind tc, or the driver leaves no room before it.",
    "reset": "The flow's real server is down: its client was told by RST, and may connect anew.",
    "unpinned": "The flow's real server is down: the packet was forwarded to another, where the "
    "flow is tracked from here on.",
    "answered": "The sender of a dropped packet was told by ICMP what was the matter.",
}

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The headers on the wire, and their numbers. */
#ifndef TRIMARAN_HEADERS_H
#define TRIMARAN_HEADERS_H

#include "helpers.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define ETHERNET_LENGTH 14

#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_ICMP6 58

#define DONT_FRAGMENT 0x4000
#define MORE_FRAGMENTS 0x2000
#define FRAGMENT_OFFSET 0x1fff
#define MORE_FRAGMENTS6 0x0001
#define FRAGMENT_OFFSET6 0xfff8

#define EXTENSION_HOP_BY_HOP 0
#define EXTENSION_ROUTING 43
#define EXTENSION_FRAGMENT 44
#define EXTENSION_DESTINATION 60
#define MAX_EXTENSIONS 6

#define TCP_LENGTH 20 /* without options */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4 /* a code of it */
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP6_UNREACHABLE 1
#define ICMP6_PACKET_TOO_BIG 2
#define ICMP6_TIME_EXCEEDED 3
#define ICMP6_PARAMETER_PROBLEM 4

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
} __attribute__((packed));

struct vlan_tag {
	__be16 tag;
	__be16 type; /* of what follows */
};

struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6 {
	__u8 version;
	__u8 flow[3];
	__be16 payload_length;
	__u8 next;
	__u8 hop_limit;
	__be32 source[4];
	__be32 destination[4];
};

struct extension {
	__u8 next;
	__u8 length; /* in units of 8 bytes, the first not counted */
};

struct fragment_header {
	__u8 next;
	__u8 zero;
	__be16 offset; /* and the flag of more to come */
	__be32 id;
};

struct tcp {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct udp {
	__be16 source;
	__be16 destination;
	__be16 length;
	__be16 checksum;
};

struct icmp {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest; /* the MTU, in an error that tells it */
};

ALWAYS_INLINE int is_vlan(__be16 type)
{
	return type == be16(ETHERTYPE_VLAN) || type == be16(ETHERTYPE_QINQ);
}

ALWAYS_INLINE int is_extension(__u8 next)
{
	return next == EXTENSION_HOP_BY_HOP || next == EXTENSION_ROUTING ||
	       next == EXTENSION_FRAGMENT || next == EXTENSION_DESTINATION;
}

ALWAYS_INLINE int same_address6(const __be32 *one, const __be32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] &&
	       one[3] == other[3];
}

#endif

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* From bytes to a flow key. Knows nothing of sk_buff or xdp_buff: a window of bytes comes in. */
#ifndef TRIMARAN_PARSE_H
#define TRIMARAN_PARSE_H

#include "helpers.h"
#include "layout.h"

#define ETHERTYPE_IPV4 0x0800
#define PROTOCOL_TCP 6
#define FRAGMENT_OFFSET 0x1fff
#define ETHERNET_LENGTH 14
#define TCP_LENGTH 20 /* without options */
/* Everything that is ever looked at: Ethernet, IPv4 with all options, TCP without. */
#define HEADERS_LENGTH (ETHERNET_LENGTH + 60 + TCP_LENGTH)

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
} __attribute__((packed));

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

/* A frame, seen whole: `length` counts what lies beyond the window too. */
struct window {
	void *data;
	void *end;
	__u32 length;
};

enum shape {
	SHAPE_OTHER,    /* nothing we could serve */
	SHAPE_TCP,      /* key and flags are set */
	SHAPE_FRAGMENT, /* not the first: no ports; key.address is set */
	SHAPE_BROKEN,   /* TCP that no stack accepts; key.address is set */
};

struct packet {
	struct flow_key key;
	__u32 ip_length;
	__u32 header_length; /* IPv4 and TCP, for each segment of a GSO packet */
	__u8 ttl;
	__u8 tcp_flags;
};

ALWAYS_INLINE int flags_are_sane(__u8 flags)
{
	__u8 syn = flags & TCP_SYN;

	if (!(flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)))
		return 0;
	return !(syn && (flags & (TCP_FIN | TCP_RST)));
}

ALWAYS_INLINE enum shape parse_tcp(const struct window *window, __u32 ihl, struct packet *packet)
{
	struct tcp *tcp = window->data + ETHERNET_LENGTH + ihl;
	__u32 header;

	if ((void *)(tcp + 1) > window->end || packet->ip_length < ihl + TCP_LENGTH)
		return SHAPE_BROKEN;
	header = (tcp->offset >> 4) * 4;
	if (header < TCP_LENGTH || packet->ip_length < ihl + header || !flags_are_sane(tcp->flags))
		return SHAPE_BROKEN;
	packet->key.source_port = tcp->source;
	packet->key.port = tcp->destination;
	packet->tcp_flags = tcp->flags;
	packet->header_length = ihl + header;
	return SHAPE_TCP;
}

ALWAYS_INLINE enum shape parse(const struct window *window, struct packet *packet)
{
	struct ethernet *ethernet = window->data;
	struct ipv4 *ip = (void *)(ethernet + 1);
	__u32 ihl;

	if ((void *)(ip + 1) > window->end || ethernet->type != be16(ETHERTYPE_IPV4))
		return SHAPE_OTHER;
	ihl = (ip->version_ihl & 0x0f) * 4;
	if (ip->version_ihl >> 4 != 4 || ihl < sizeof(*ip) || ip->protocol != PROTOCOL_TCP)
		return SHAPE_OTHER;
	packet->key.source_address = ip->source;
	packet->key.address = ip->destination;
	packet->key.protocol = PROTOCOL_TCP;
	packet->ttl = ip->ttl;
	packet->ip_length = be16(ip->total_length);
	if (packet->ip_length > window->length - ETHERNET_LENGTH)
		return SHAPE_BROKEN;
	if (ip->fragment & be16(FRAGMENT_OFFSET))
		return SHAPE_FRAGMENT;
	return parse_tcp(window, ihl, packet);
}

#endif

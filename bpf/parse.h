/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* From bytes to a flow key. Knows nothing of sk_buff or xdp_buff: a window of bytes comes in. */
#ifndef TRIMARAN_PARSE_H
#define TRIMARAN_PARSE_H

#include "helpers.h"
#include "layout.h"
#include "headers.h"

/* A frame, seen whole: `length` counts what lies beyond the window too. */
struct window {
	void *data;
	void *end;
	__u32 length;
	__u32 segments; /* of a GSO packet, else 1 */
	__u32 gso_size; /* 0: not a GSO packet */
};

enum shape {
	SHAPE_OTHER,      /* nothing we could serve */
	SHAPE_PORTS,      /* TCP or UDP: the key is set */
	SHAPE_FRAGMENT,   /* not the first: no ports; the key's addresses are set */
	SHAPE_BROKEN,     /* TCP or UDP that no stack accepts; the key's addresses are set */
	SHAPE_EXTENSIONS, /* more IPv6 extension headers than we look through; likewise */
	SHAPE_ERROR,      /* ICMP about a packet of ours: the key is that of the flow it belongs to */
};

enum fragmentation { WHOLE, FIRST_FRAGMENT, LATER_FRAGMENT };

struct packet {
	struct flow_key key;
	struct flow_key6 key6; /* this one instead, when is6 */
	__be32 fragment_id;
	__u32 ip_length;     /* of the whole packet, header included */
	__u32 header_length; /* IP and TCP or UDP, for each segment of a GSO packet */
	__u16 ip_headers;    /* all of them; TCP alone */
	__u16 network;       /* where IP begins in the frame */
	__u8 is6;
	__u8 protocol;
	__u8 ttl;
	__u8 tcp_flags;
	__u8 fragmentation;
	__u8 may_fragment; /* IPv4 without DF */
	__u8 forward;      /* flags of the real server that was chosen: REAL_TUNNEL or none */
	__u8 transport;    /* the packet's own protocol; 0: it has no ports of its own */
	__u32 real;        /* that was chosen */
};

/* The mask tells the verifier what network_of says: it is a small number. */
ALWAYS_INLINE void *network_header(const struct window *window, const struct packet *packet)
{
	return window->data + (packet->network & 31);
}

ALWAYS_INLINE int flags_are_sane(__u8 flags)
{
	__u8 syn = flags & TCP_SYN;

	if (!(flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)))
		return 0;
	return !(syn && (flags & (TCP_FIN | TCP_RST)));
}

/* Where IP begins, behind up to two VLAN tags; `type` becomes IP's Ethernet type. */
ALWAYS_INLINE __u32 network_of(const struct window *window, __be16 *type)
{
	struct ethernet *ethernet = window->data;
	struct vlan_tag *tag = (void *)(ethernet + 1);

	*type = 0;
	if ((void *)(ethernet + 1) > window->end)
		return 0;
	*type = ethernet->type;
	if (LIKELY(!is_vlan(*type)))
		return ETHERNET_LENGTH;
	if ((void *)(tag + 1) > window->end)
		return 0;
	*type = tag->type;
	if (!is_vlan(*type))
		return ETHERNET_LENGTH + sizeof(*tag);
	if ((void *)(tag + 2) > window->end)
		return 0;
	*type = tag[1].type;
	return ETHERNET_LENGTH + 2 * sizeof(*tag);
}

/* `ip_header` is all of IP's headers; `ports` points to the key's two. */
ALWAYS_INLINE enum shape parse_tcp(const struct window *window, void *at, __u32 ip_header,
				   struct packet *packet, __be16 *ports)
{
	struct tcp *tcp = at;
	__u32 header;

	if ((void *)(tcp + 1) > window->end || packet->ip_length < ip_header + TCP_LENGTH)
		return SHAPE_BROKEN;
	header = (tcp->offset >> 4) * 4;
	if (header < TCP_LENGTH || packet->ip_length < ip_header + header ||
	    !flags_are_sane(tcp->flags))
		return SHAPE_BROKEN;
	ports[0] = tcp->source;
	ports[1] = tcp->destination;
	packet->tcp_flags = tcp->flags;
	packet->header_length = ip_header + header;
	packet->ip_headers = ip_header;
	packet->transport = PROTOCOL_TCP;
	return SHAPE_PORTS;
}

ALWAYS_INLINE enum shape parse_udp(const struct window *window, void *at, __u32 ip_header,
				   struct packet *packet, __be16 *ports)
{
	struct udp *udp = at;

	if ((void *)(udp + 1) > window->end || packet->ip_length < ip_header + sizeof(*udp))
		return SHAPE_BROKEN;
	/* A GSO packet's length counts all segments; a first fragment's, all fragments. */
	if (packet->fragmentation == WHOLE && be16(udp->length) > packet->ip_length - ip_header)
		return SHAPE_BROKEN;
	if (be16(udp->length) < sizeof(*udp) && udp->length)
		return SHAPE_BROKEN;
	ports[0] = udp->source;
	ports[1] = udp->destination;
	packet->tcp_flags = 0;
	packet->header_length = ip_header + sizeof(*udp);
	packet->transport = PROTOCOL_UDP;
	return SHAPE_PORTS;
}

/* The ports of the packet that an ICMP error quotes. It went from the VIP to the client, so the
 * flow's key is its reverse. */
ALWAYS_INLINE enum shape quoted_ports(const struct window *window, void *at, __u8 protocol,
				      struct packet *packet, __be16 *ports)
{
	__be16 *quoted = at;

	if ((protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) ||
	    (void *)(quoted + 2) > window->end)
		return SHAPE_OTHER;
	ports[0] = quoted[1];
	ports[1] = quoted[0];
	packet->protocol = protocol;
	packet->tcp_flags = 0;
	return SHAPE_ERROR;
}

ALWAYS_INLINE enum shape parse_icmp4(const struct window *window, void *at, struct packet *packet)
{
	struct icmp *icmp = at;
	struct ipv4 *inner = (void *)(icmp + 1);
	__u32 ihl;

	if ((void *)(inner + 1) > window->end)
		return SHAPE_OTHER;
	if (icmp->type != ICMP_UNREACHABLE && icmp->type != ICMP_TIME_EXCEEDED &&
	    icmp->type != ICMP_PARAMETER_PROBLEM)
		return SHAPE_OTHER;
	ihl = (inner->version_ihl & 0x0f) * 4;
	if (inner->version_ihl >> 4 != 4 || ihl < sizeof(*inner) ||
	    inner->fragment & be16(FRAGMENT_OFFSET) || inner->source != packet->key.address)
		return SHAPE_OTHER;
	packet->key.source_address = inner->destination;
	packet->key.protocol = inner->protocol;
	return quoted_ports(window, (void *)inner + ihl, inner->protocol, packet,
			    &packet->key.source_port);
}

ALWAYS_INLINE enum shape parse4(const struct window *window, __u32 network, struct packet *packet)
{
	struct ipv4 *ip = window->data + network;
	void *at;
	__u32 ihl;

	if ((void *)(ip + 1) > window->end)
		return SHAPE_OTHER;
	ihl = (ip->version_ihl & 0x0f) * 4;
	if (ip->version_ihl >> 4 != 4 || ihl < sizeof(*ip))
		return SHAPE_OTHER;
	packet->is6 = 0;
	packet->transport = 0;
	packet->network = network;
	packet->protocol = ip->protocol;
	packet->key.source_address = ip->source;
	packet->key.address = ip->destination;
	packet->key.protocol = ip->protocol;
	packet->ttl = ip->ttl;
	packet->ip_length = be16(ip->total_length);
	packet->may_fragment = !(ip->fragment & be16(DONT_FRAGMENT));
	packet->fragment_id = ip->id;
	packet->fragmentation = WHOLE;
	at = (void *)ip + ihl;
	if (UNLIKELY(ip->protocol != PROTOCOL_TCP && ip->protocol != PROTOCOL_UDP)) {
		if (ip->protocol != PROTOCOL_ICMP || ip->fragment & be16(FRAGMENT_OFFSET))
			return SHAPE_OTHER;
		return parse_icmp4(window, at, packet);
	}
	if (packet->ip_length > window->length - network)
		return SHAPE_BROKEN;
	if (UNLIKELY(ip->fragment & be16(FRAGMENT_OFFSET | MORE_FRAGMENTS))) {
		packet->fragmentation = FIRST_FRAGMENT;
		if (ip->fragment & be16(FRAGMENT_OFFSET)) {
			packet->fragmentation = LATER_FRAGMENT;
			return SHAPE_FRAGMENT;
		}
	}
	if (ip->protocol == PROTOCOL_TCP)
		return parse_tcp(window, at, ihl, packet, &packet->key.source_port);
	return parse_udp(window, at, ihl, packet, &packet->key.source_port);
}

/* Walks the extension headers from `offset` in the frame, whose protocol is packet->protocol, to
 * what they carry. Returns where that is; 0: past what we look through. */
ALWAYS_INLINE __u32 skip_extensions(const struct window *window, __u32 offset,
				    struct packet *packet)
{
	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		struct extension *extension;
		struct fragment_header *fragment;

		offset = forgotten(offset, window->length) & 511;
		extension = window->data + offset;
		fragment = (void *)extension;
		if (!is_extension(packet->protocol))
			return offset;
		if ((void *)(fragment + 1) > window->end)
			return 0;
		if (packet->protocol == EXTENSION_FRAGMENT) {
			offset += sizeof(*fragment);
			packet->fragment_id = fragment->id;
			if (fragment->offset & be16(FRAGMENT_OFFSET6))
				packet->fragmentation = LATER_FRAGMENT;
			else if (fragment->offset & be16(MORE_FRAGMENTS6))
				packet->fragmentation = FIRST_FRAGMENT;
		} else {
			offset += (extension->length + 1) * 8;
		}
		packet->protocol = extension->next;
		if (packet->fragmentation == LATER_FRAGMENT)
			return offset;
	}
	return 0;
}

ALWAYS_INLINE enum shape parse_icmp6(const struct window *window, void *at, struct packet *packet)
{
	struct icmp *icmp = at;
	struct ipv6 *inner = (void *)(icmp + 1);
	__be32 *vip = packet->key6.address;

	if ((void *)(inner + 1) > window->end)
		return SHAPE_OTHER;
	if (icmp->type < ICMP6_UNREACHABLE || icmp->type > ICMP6_PARAMETER_PROBLEM)
		return SHAPE_OTHER;
	if (!same_address6(inner->source, vip))
		return SHAPE_OTHER;
	__builtin_memcpy(packet->key6.source_address, inner->destination, 16);
	packet->key6.protocol = inner->next;
	return quoted_ports(window, inner + 1, inner->next, packet, &packet->key6.source_port);
}

ALWAYS_INLINE enum shape parse6(const struct window *window, __u32 network, struct packet *packet)
{
	struct ipv6 *ip = window->data + network;
	__u32 offset, headers;
	void *at;

	if ((void *)(ip + 1) > window->end || ip->version >> 4 != 6)
		return SHAPE_OTHER;
	packet->is6 = 1;
	packet->transport = 0;
	packet->network = network;
	packet->protocol = ip->next;
	__builtin_memcpy(packet->key6.source_address, ip->source, 16);
	__builtin_memcpy(packet->key6.address, ip->destination, 16);
	packet->ttl = ip->hop_limit;
	packet->ip_length = be16(ip->payload_length) + sizeof(*ip);
	packet->may_fragment = 0;
	packet->fragmentation = WHOLE;
	if (packet->ip_length > window->length - network)
		return SHAPE_BROKEN;
	offset = skip_extensions(window, network + sizeof(*ip), packet);
	if (!offset)
		return SHAPE_EXTENSIONS;
	packet->key6.protocol = packet->protocol;
	if (packet->fragmentation == LATER_FRAGMENT) {
		if (packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP)
			return SHAPE_OTHER;
		return SHAPE_FRAGMENT;
	}
	headers = offset - network;
	at = window->data + offset;
	switch (packet->protocol) {
	case PROTOCOL_TCP:
		return parse_tcp(window, at, headers, packet, &packet->key6.source_port);
	case PROTOCOL_UDP:
		return parse_udp(window, at, headers, packet, &packet->key6.source_port);
	case PROTOCOL_ICMP6:
		return parse_icmp6(window, at, packet);
	default:
		return SHAPE_OTHER;
	}
}

#endif

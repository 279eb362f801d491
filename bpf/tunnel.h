/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Tunnelling: the packet as it came, one hop fewer, behind a new IP header: IPIP, GUE (variant 0) or
 * GRE. The headers are those of IPVS: TOS and TTL of the inner packet, DF if that has it, no GUE or
 * GRE option but GRE's checksum.
 *
 * Outer checksums cost no look at the data: the inner transport checksum says what the rest
 * sums up to (the kernel calls that local checksum offload).
 */
#ifndef TRIMARAN_TUNNEL_H
#define TRIMARAN_TUNNEL_H

#include "answer.h"
#include "maps.h"
#include "parse.h"

#define PROTOCOL_IPIP 4
#define PROTOCOL_IPV6 41
#define PROTOCOL_GRE 47
#define GRE_CHECKSUM 0x8000
/* Where Linux too takes the source port of a tunnel from. */
#define TUNNEL_PORT_FIRST 32768
#define TUNNEL_PORTS (61000 - TUNNEL_PORT_FIRST)
#define MAX_LINK_HEADER (ETHERNET_LENGTH + 2 * sizeof(struct vlan_tag))

struct gue {
	__u8 version_length; /* version 0, control 0, no options */
	__u8 protocol;
	__be16 flags;
};

struct gre {
	__be16 flags;
	__be16 protocol; /* an Ethernet type */
	__be16 checksum; /* these two only if flagged */
	__be16 zero;
};

struct udp_gue {
	struct udp udp;
	struct gue gue;
};

/* What goes between IP headers; as long as the tunnel's kind says. */
union shim {
	struct udp_gue gue;
	struct gre gre;
};

struct outer {
	union {
		struct {
			struct ipv4 ip;
			union shim shim;
		} v4;
		struct {
			struct ipv6 ip;
			union shim shim;
		} v6;
	};
	__u32 length; /* of the headers above that are used */
	__be16 type;  /* Ethernet's, for them */
	__u8 is6;
	__u8 kind;
};

/* What the outer headers need to know of the inner packet. */
struct inner {
	__u32 length; /* of the packet, padding excluded */
	__u16 sum;    /* of its bytes, if has_sum */
	__u8 tos;
	__u8 ttl;
	__u8 protocol;      /* of IP itself: 4 or 41 */
	__u8 dont_fragment;
	__u8 has_sum;
};

/* The sum of a whole transport packet follows from its pseudo header, whose complement it is when its
 * checksum is right; when that is wrong, ours is wrong too, and the packet dies as it should. */
ALWAYS_INLINE int has_checksum(const struct window *window, const struct packet *packet, __u32 headers)
{
	struct udp *udp = network_header(window, packet) + headers;

	if (packet->fragmentation != WHOLE || window->gso_size)
		return 0;
	if (packet->transport == PROTOCOL_UDP)
		return (void *)(udp + 1) <= window->end && udp->checksum;
	return packet->transport == PROTOCOL_TCP;
}

ALWAYS_INLINE int inner4(const struct window *window, const struct packet *packet, struct inner *inner)
{
	struct ipv4 *ip = network_header(window, packet);
	__be32 pseudo[3];

	if ((void *)(ip + 1) > window->end)
		return 0;
	inner->length = packet->ip_length;
	inner->tos = ip->tos;
	inner->ttl = ip->ttl;
	inner->protocol = PROTOCOL_IPIP;
	inner->dont_fragment = !packet->may_fragment;
	inner->has_sum = ip->version_ihl == 0x45 && has_checksum(window, packet, sizeof(*ip));
	pseudo[0] = ip->source;
	pseudo[1] = ip->destination;
	pseudo[2] = __builtin_bswap32((__u32)ip->protocol << 16 | (packet->ip_length - sizeof(*ip)));
	inner->sum = folded(bpf_csum_diff(0, 0, pseudo, sizeof(pseudo), 0));
	return 1;
}

ALWAYS_INLINE int inner6(const struct window *window, const struct packet *packet, struct inner *inner)
{
	struct ipv6 *ip = network_header(window, packet);
	__be32 rest[2];
	struct ipv6 copy;
	__s64 sum;

	if ((void *)(ip + 1) > window->end)
		return 0;
	copy = *ip;
	inner->length = packet->ip_length;
	inner->tos = copy.version << 4 | copy.flow[0] >> 4;
	inner->ttl = copy.hop_limit;
	inner->protocol = PROTOCOL_IPV6;
	inner->dont_fragment = 0;
	inner->has_sum = copy.next == packet->transport && has_checksum(window, packet, sizeof(*ip));
	rest[0] = __builtin_bswap32(packet->ip_length - sizeof(*ip));
	rest[1] = __builtin_bswap32(copy.next);
	sum = bpf_csum_diff(0, 0, copy.source, 32, 0);
	sum = bpf_csum_diff(0, 0, rest, sizeof(rest), sum);
	inner->sum = ~folded(bpf_csum_diff(0, 0, (void *)&copy, sizeof(copy), folded(sum)));
	return 1;
}

/* Fills what lies between the IP headers; returns its length. */
ALWAYS_INLINE __u32 fill_shim(const struct tunnel *tunnel, const struct inner *inner, __u32 hash,
			      union shim *shim)
{
	int with_sum = tunnel->flags & TUNNEL_CHECKSUM && inner->has_sum;
	struct gre *gre = &shim->gre;

	switch (tunnel->kind) {
	case TUNNEL_GUE:
		shim->gue = (struct udp_gue){
			.udp = {
				.source = be16(TUNNEL_PORT_FIRST + ((__u64)hash * TUNNEL_PORTS >> 32)),
				.destination = tunnel->port,
				.length = be16(sizeof(struct udp_gue) + inner->length),
			},
			.gue = { .protocol = inner->protocol },
		};
		return sizeof(struct udp_gue);
	case TUNNEL_GRE:
		*gre = (struct gre){
			.flags = with_sum ? be16(GRE_CHECKSUM) : 0,
			.protocol = inner->protocol == PROTOCOL_IPV6 ? be16(ETHERTYPE_IPV6) :
								       be16(ETHERTYPE_IPV4),
		};
		if (!with_sum)
			return 4;
		gre->checksum = folded(bpf_csum_diff(0, 0, (void *)gre, sizeof(*gre), inner->sum));
		return sizeof(*gre);
	default:
		return 0;
	}
}

/* `pseudo` is the sum of the outer addresses and the inner packet. */
ALWAYS_INLINE void sum_udp(const struct tunnel *tunnel, const struct inner *inner,
			   union shim *shim, __s64 pseudo)
{
	struct udp_gue *gue = &shim->gue;
	__be32 rest = __builtin_bswap32((__u32)PROTOCOL_UDP << 16 | be16(gue->udp.length));
	__u16 checksum;

	if (tunnel->kind != TUNNEL_GUE || !(tunnel->flags & TUNNEL_CHECKSUM) || !inner->has_sum)
		return;
	pseudo = bpf_csum_diff(0, 0, &rest, sizeof(rest), pseudo);
	pseudo = bpf_csum_diff(0, 0, (void *)gue, sizeof(*gue), pseudo);
	checksum = folded(pseudo);
	gue->udp.checksum = checksum ? checksum : 0xffff;
}

ALWAYS_INLINE __u8 tunnel_protocol(const struct tunnel *tunnel, const struct inner *inner)
{
	if (tunnel->kind == TUNNEL_GUE)
		return PROTOCOL_UDP;
	return tunnel->kind == TUNNEL_GRE ? PROTOCOL_GRE : inner->protocol;
}

ALWAYS_INLINE void outer4(const struct tunnel *tunnel, const struct real *real,
			  const struct inner *inner, __u32 hash, struct outer *outer)
{
	struct ipv4 *ip = &outer->v4.ip;
	__u32 shim = fill_shim(tunnel, inner, hash, &outer->v4.shim);
	__u32 id = inner->dont_fragment ? 0 : bpf_get_prandom_u32();

	outer->length = sizeof(*ip) + shim;
	outer->type = be16(ETHERTYPE_IPV4);
	*ip = (struct ipv4){
		.version_ihl = 0x45,
		.tos = inner->tos,
		.total_length = be16(outer->length + inner->length),
		.id = id,
		.fragment = inner->dont_fragment ? be16(DONT_FRAGMENT) : 0,
		.ttl = inner->ttl,
		.protocol = tunnel_protocol(tunnel, inner),
		.source = tunnel->source[0],
		.destination = real->address[0],
	};
	ip->checksum = folded(bpf_csum_diff(0, 0, (void *)ip, sizeof(*ip), 0));
	sum_udp(tunnel, inner, &outer->v4.shim, bpf_csum_diff(0, 0, &ip->source, 8, inner->sum));
}

ALWAYS_INLINE void outer6(const struct tunnel *tunnel, const struct real *real,
			  const struct inner *inner, __u32 hash, struct outer *outer)
{
	struct ipv6 *ip = &outer->v6.ip;
	__u32 shim = fill_shim(tunnel, inner, hash, &outer->v6.shim);

	outer->length = sizeof(*ip) + shim;
	outer->type = be16(ETHERTYPE_IPV6);
	*ip = (struct ipv6){
		.version = 6 << 4 | inner->tos >> 4,
		.flow = { inner->tos << 4 },
		.payload_length = be16(shim + inner->length),
		.next = tunnel_protocol(tunnel, inner),
		.hop_limit = inner->ttl,
	};
	__builtin_memcpy(ip->source, tunnel->source, 16);
	__builtin_memcpy(ip->destination, real->address, 16);
	sum_udp(tunnel, inner, &outer->v6.shim, bpf_csum_diff(0, 0, ip->source, 32, inner->sum));
}

/* The headers that go before a packet whose TTL is decremented already. 0: they cannot be made. */
NOINLINE int make_outer(const struct window *window, const struct packet *packet, __u32 hash,
			struct outer *outer)
{
	__u32 index = packet->real;
	struct real *real = bpf_map_lookup_elem(&reals, &index);
	struct tunnel *tunnel = bpf_map_lookup_elem(&tunnels, &index);
	struct inner inner = {};

	if (!real || !tunnel)
		return 0;
	if (packet->is6 ? !inner6(window, packet, &inner) : !inner4(window, packet, &inner))
		return 0;
	outer->is6 = tunnel->flags & TUNNEL_OVER_IPV6;
	outer->kind = tunnel->kind;
	if (outer->is6)
		outer6(tunnel, real, &inner, hash, outer);
	else
		outer4(tunnel, real, &inner, hash, outer);
	return outer->length <= sizeof(outer->v6);
}

#endif

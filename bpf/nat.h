/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* NAT: a client's packet gets the real server's address and port, and the real server's answer, which
 * comes through this machine, the VIP's. The flow table alone knows of a flow: an answer is
 * recognised by whom it is from, and by the flow that it would answer to being there. So nothing is
 * kept twice, and flows that a peer told of are translated both ways at once.
 *
 * Checksums are changed by differences, never summed up (RFC 1624).
 */
#ifndef TRIMARAN_NAT_H
#define TRIMARAN_NAT_H

#include "answer.h"
#include "maps.h"
#include "parse.h"

#define NO_ORIGIN 0xffffffff
#define MAX_ORIGINS 16 /* NAT services that share a real server and port */
#define AF_INET 2
#define AF_INET6 10

/* What to write where. Offsets are in the frame. */
struct translation {
	__be32 outer[4]; /* the address that is replaced in the IP header */
	__be32 from[4];  /* the one that is replaced elsewhere: the same, but in a router's ICMP error */
	__be32 to[4];
	__be16 from_port;
	__be16 to_port;
	__u16 network;
	__u16 ports; /* 0: a later fragment has none */
	__u16 quoted; /* the packet in an ICMP error; else 0 */
	__u8 transport;
	__u8 is6;
	__u8 is_answer; /* the source is translated; else the destination */
};

ALWAYS_INLINE __u32 difference(const __be32 *from, const __be32 *to, int is6)
{
	if (is6)
		return bpf_csum_diff((__be32 *)from, 16, (__be32 *)to, 16, 0);
	return bpf_csum_diff((__be32 *)from, 4, (__be32 *)to, 4, 0);
}

/* Adds a difference to the checksum there. `flags` are those of bpf_l4_csum_replace. */
ALWAYS_INLINE long mend(void *context, __u32 offset, __u32 by, __u64 flags, const int is_xdp)
{
	__u16 sum;
	__u64 total;

	if (!is_xdp)
		return bpf_l4_csum_replace(context, offset, 0, by, flags);
	if (bpf_xdp_load_bytes(context, offset, &sum, 2))
		return -1;
	if (flags & BPF_F_MARK_MANGLED_0 && !sum)
		return 0;
	total = (__u64)(__u16)~sum + by;
	sum = folded((total & 0xffffffff) + (total >> 32));
	if (flags & BPF_F_MARK_MANGLED_0 && !sum)
		sum = 0xffff;
	return bpf_xdp_store_bytes(context, offset, &sum, 2);
}

ALWAYS_INLINE long mend_header(void *context, __u32 offset, __u32 by, const int is_xdp)
{
	return is_xdp ? mend(context, offset, by, 0, 1) : bpf_l3_csum_replace(context, offset, 0, by, 0);
}

ALWAYS_INLINE long put(void *context, __u32 offset, const void *from, __u32 length, const int is_xdp)
{
	return is_xdp ? bpf_xdp_store_bytes(context, offset, (void *)from, length) :
			bpf_skb_store_bytes(context, offset, from, length, 0);
}

ALWAYS_INLINE long put_address(void *context, __u32 ip, int source, const struct translation *t,
			       const int is_xdp)
{
	if (t->is6)
		return put(context, ip + (source ? 8 : 24), t->to, 16, is_xdp);
	return put(context, ip + (source ? 12 : 16), t->to, 4, is_xdp);
}

/* The quoted packet went the other way, so its other end is the translated one. Its own transport
 * checksum, if it is quoted at all, is left alone, as IPVS does. */
ALWAYS_INLINE long translate_error(void *context, const struct translation *t, __u32 of_outer,
				   __u32 of_port, const int is_xdp)
{
	__u32 of_quoted = difference(t->from, t->to, t->is6);
	__u32 checksum = t->quoted - sizeof(struct icmp) + 2;

	if (put_address(context, t->quoted, !t->is_answer, t, is_xdp) ||
	    put(context, t->ports + (t->is_answer ? 2 : 0), &t->to_port, 2, is_xdp) ||
	    mend(context, checksum, of_port, 0, is_xdp))
		return -1;
	if (!t->is6)
		return mend_header(context, t->quoted + 10, of_quoted, is_xdp);
	return mend(context, checksum, of_outer, BPF_F_PSEUDO_HDR, is_xdp) ||
	       mend(context, checksum, of_quoted, 0, is_xdp);
}

/* The whole of it, but for the TTL. Not 0: the packet is half changed and must be dropped. */
ALWAYS_INLINE long translate(void *context, const struct translation *t, const int is_xdp)
{
	__be32 from_port = t->from_port, to_port = t->to_port;
	__u32 of_outer = difference(t->outer, t->to, t->is6);
	__u32 of_port = difference(&from_port, &to_port, 0);
	__u64 flags = t->transport == PROTOCOL_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 checksum = t->ports + (t->transport == PROTOCOL_UDP ? 6 : 16);

	if (put_address(context, t->network, t->is_answer, t, is_xdp))
		return -1;
	if (!t->is6 && mend_header(context, t->network + 10, of_outer, is_xdp))
		return -1;
	if (t->quoted)
		return translate_error(context, t, of_outer, of_port, is_xdp);
	if (!t->ports)
		return 0;
	return mend(context, checksum, of_outer, flags | BPF_F_PSEUDO_HDR, is_xdp) ||
	       mend(context, checksum, of_port, flags, is_xdp) ||
	       put(context, t->ports + (t->is_answer ? 0 : 2), &t->to_port, 2, is_xdp);
}

ALWAYS_INLINE void begin_translation(const struct packet *packet, struct translation *t)
{
	t->network = packet->network;
	t->ports = packet->ports;
	t->quoted = packet->quoted;
	t->transport = packet->transport;
	t->is6 = packet->is6;
	t->is_answer = packet->forward & FROM_REAL ? 1 : 0;
}

/* To the real server that was chosen. */
ALWAYS_INLINE int to_real(const struct packet *packet, struct translation *t)
{
	__u32 index = packet->real;
	struct real *real = bpf_map_lookup_elem(&reals, &index);

	if (!real)
		return 0;
	begin_translation(packet, t);
	if (packet->is6) {
		__builtin_memcpy(t->from, packet->key6.address, 16);
		__builtin_memcpy(t->to, real->address, 16);
		t->from_port = packet->key6.port;
	} else {
		t->from[0] = packet->key.address;
		t->to[0] = real->address[0];
		t->from_port = packet->key.port;
	}
	__builtin_memcpy(t->outer, t->from, 16);
	t->to_port = real->port ? real->port : t->from_port;
	return 1;
}

/* From the real server, in the VIP's name. `outer` is who sent it. */
ALWAYS_INLINE int from_real(const struct packet *packet, const __be32 *outer, struct translation *t)
{
	__u32 index = packet->real;
	struct origin *origin = bpf_map_lookup_elem(&origins, &index);

	if (!origin)
		return 0;
	begin_translation(packet, t);
	__builtin_memcpy(t->to, origin->address, 16);
	if (packet->is6) {
		__builtin_memcpy(t->from, packet->key6.source_address, 16);
		__builtin_memcpy(t->outer, outer, 16);
		t->from_port = packet->key6.source_port;
	} else {
		t->from[0] = packet->key.source_address;
		t->outer[0] = outer[0];
		t->from_port = packet->key.source_port;
	}
	t->to_port = origin->port ? origin->port : t->from_port;
	return 1;
}

ALWAYS_INLINE struct flow *flow_of_answer(const struct packet *packet, const struct origin *origin)
{
	const struct flow_key *key = &packet->key;
	const struct flow_key6 *key6 = &packet->key6;

	if (packet->is6) {
		struct flow_key6 flow6 = {
			.source_port = key6->port,
			.port = origin->port ? origin->port : key6->source_port,
			.protocol = packet->protocol,
		};

		__builtin_memcpy(flow6.source_address, key6->address, 16);
		__builtin_memcpy(flow6.address, origin->address, 16);
		return bpf_map_lookup_elem(&flows6, &flow6);
	}
	struct flow_key flow = {
		.source_address = key->address,
		.address = origin->address[0],
		.source_port = key->port,
		.port = origin->port ? origin->port : key->source_port,
		.protocol = packet->protocol,
	};
	return bpf_map_lookup_elem(&flows, &flow);
}

/* The first of the NAT services whose real server sent this, from its service's port or, where it
 * serves all ports, from any. */
ALWAYS_INLINE __u32 first_origin(const struct packet *packet)
{
	struct origin_key key = {
		.protocol = packet->protocol,
		.version = packet->is6 ? 6 : 4,
	};
	__u32 *first;

	if (packet->is6)
		__builtin_memcpy(key.address, packet->key6.source_address, 16);
	else
		key.address[0] = packet->key.source_address;
	key.port = packet->is6 ? packet->key6.source_port : packet->key.source_port;
	first = bpf_map_lookup_elem(&nat_reals, &key);
	if (!first) {
		key.port = 0;
		first = bpf_map_lookup_elem(&nat_reals, &key);
	}
	return first ? *first : NO_ORIGIN;
}

/* Which real server of which service answers here: the one that has the flow. NO_ORIGIN: none, the
 * packet is no answer. */
APART __u32 origin_of(struct packet *packet)
{
	__u32 index;

	if (!packet)
		return NO_ORIGIN;
	index = first_origin(packet);
	for (int i = 0; i < MAX_ORIGINS && index != NO_ORIGIN; i++) {
		struct origin *origin = bpf_map_lookup_elem(&origins, &index);
		struct flow *flow;

		if (!origin)
			return NO_ORIGIN;
		flow = flow_of_answer(packet, origin);
		if (flow && flow->real == index) {
			if (flow->seen_s != now_s())
				flow->seen_s = now_s();
			return index;
		}
		index = origin->next;
	}
	return NO_ORIGIN;
}

/* The way to the client, by the kernel's routes. 0, or why there is none. */
ALWAYS_INLINE long route(void *context, const struct packet *packet, const struct translation *t,
			 __u32 interface, __u16 length, struct bpf_fib_lookup *fib)
{
	fib->family = packet->is6 ? AF_INET6 : AF_INET;
	fib->l4_protocol = packet->protocol;
	fib->tot_len = length;
	fib->ifindex = interface;
	if (packet->is6) {
		__builtin_memcpy(fib->ipv6_src, t->to, 16);
		__builtin_memcpy(fib->ipv6_dst, packet->key6.address, 16);
	} else {
		fib->ipv4_src = t->to[0];
		fib->ipv4_dst = packet->key.address;
	}
	return bpf_fib_lookup(context, fib, sizeof(*fib), 0);
}

#endif

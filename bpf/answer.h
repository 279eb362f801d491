/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* ICMP errors about packets that cannot go on, sent in the VIP's name as the stack would: time
 * exceeded, and packet too big (RFC 792, 1191, 4443). Built on the stack, put in the frame's place
 * by the entry point. */
#ifndef TRIMARAN_ANSWER_H
#define TRIMARAN_ANSWER_H

#include "maps.h"
#include "parse.h"

#define ANSWERS_PER_S 100 /* and CPU: a loop or a flood must not make us one more */
#define QUOTED_WORDS 24   /* of the packet in question; RFC 792 asks for its IP header and 8 bytes */
#define ANSWER_TTL 64
#define INTERNETWORK_CONTROL 0xc0
#define ANSWER_RESET 0xffffffff /* in place of an MTU: RST (reset.h) */

/* Takes one of this second's answers; 0 when none is left. */
ALWAYS_INLINE int may_answer(void)
{
	__u32 zero = 0, now = now_s();
	struct answers *answer = bpf_map_lookup_elem(&answers, &zero);

	if (!answer)
		return 0;
	if (answer->second != now) {
		answer->second = now;
		answer->sent = 0;
	}
	return answer->sent++ < ANSWERS_PER_S;
}

/* An ICMP message or a TCP segment of either version, from IP on. */
struct answer {
	union {
		struct {
			struct ipv4 ip;
			struct tcp tcp;
		} tcp4;
		struct {
			struct ipv6 ip;
			struct tcp tcp;
		} tcp6;
		struct {
			struct ipv4 ip;
			struct icmp icmp;
			__be32 quoted[QUOTED_WORDS];
		} v4;
		struct {
			struct ipv6 ip;
			struct icmp icmp;
			__be32 quoted[QUOTED_WORDS];
		} v6;
	};
};

ALWAYS_INLINE __u16 folded(__s64 sum)
{
	__u64 rest = (__u32)sum;

	rest = (rest & 0xffff) + (rest >> 16);
	rest = (rest & 0xffff) + (rest >> 16);
	return ~rest;
}

/* Copies the start of the packet in question; returns its length in bytes. */
ALWAYS_INLINE __u32 quote(const struct window *window, const struct packet *packet, __be32 *quoted)
{
	__be32 *from = network_header(window, packet);
	__u32 words = packet->ip_length / 4;

	for (__u32 i = 0; i < QUOTED_WORDS; i++) {
		if (i >= words || (void *)(from + i + 1) > window->end)
			return i * 4;
		quoted[i] = from[i];
	}
	return QUOTED_WORDS * 4;
}

/* `mtu` 0: its time is exceeded. Returns the answer's length. */
ALWAYS_INLINE __u32 answer4(const struct window *window, const struct packet *packet, __u32 mtu,
			    struct answer *answer)
{
	struct ipv4 *question = network_header(window, packet);
	struct ipv4 *ip = &answer->v4.ip;
	struct icmp *icmp = &answer->v4.icmp;
	__u32 length = quote(window, packet, answer->v4.quoted) + sizeof(*icmp);

	if ((void *)(question + 1) > window->end)
		return 0;
	*ip = (struct ipv4){
		.version_ihl = 0x45,
		.tos = INTERNETWORK_CONTROL,
		.total_length = be16(sizeof(*ip) + length),
		.ttl = ANSWER_TTL,
		.protocol = PROTOCOL_ICMP,
		.source = question->destination,
		.destination = question->source,
	};
	ip->checksum = folded(bpf_csum_diff(0, 0, (void *)ip, sizeof(*ip), 0));
	*icmp = (struct icmp){
		.type = mtu ? ICMP_UNREACHABLE : ICMP_TIME_EXCEEDED,
		.code = mtu ? ICMP_FRAGMENTATION_NEEDED : 0,
		.rest = (__be32)be16(mtu) << 16,
	};
	icmp->checksum = folded(bpf_csum_diff(0, 0, (void *)icmp, length, 0));
	return sizeof(*ip) + length;
}

ALWAYS_INLINE __u32 answer6(const struct window *window, const struct packet *packet, __u32 mtu,
			    struct answer *answer)
{
	struct ipv6 *ip = &answer->v6.ip;
	struct icmp *icmp = &answer->v6.icmp;
	__u32 length = quote(window, packet, answer->v6.quoted) + sizeof(*icmp);
	__be32 rest[2] = { __builtin_bswap32(length), __builtin_bswap32(PROTOCOL_ICMP6) };
	__s64 sum;

	*ip = (struct ipv6){
		.version = 6 << 4,
		.payload_length = be16(length),
		.next = PROTOCOL_ICMP6,
		.hop_limit = ANSWER_TTL,
	};
	__builtin_memcpy(ip->source, packet->key6.address, 16);
	__builtin_memcpy(ip->destination, packet->key6.source_address, 16);
	*icmp = (struct icmp){
		.type = mtu ? ICMP6_PACKET_TOO_BIG : ICMP6_TIME_EXCEEDED,
		.rest = __builtin_bswap32(mtu),
	};
	sum = bpf_csum_diff(0, 0, ip->source, 32, 0);
	sum = bpf_csum_diff(0, 0, rest, sizeof(rest), sum);
	icmp->checksum = folded(bpf_csum_diff(0, 0, (void *)icmp, length, sum));
	return sizeof(*ip) + length;
}

/* Back to whoever sent it: the MACs change places. */
ALWAYS_INLINE void swap_macs(const struct window *window)
{
	struct ethernet *ethernet = window->data;
	__u8 mac[6];

	if ((void *)(ethernet + 1) > window->end)
		return;
	__builtin_memcpy(mac, ethernet->destination, 6);
	__builtin_memcpy(ethernet->destination, ethernet->source, 6);
	__builtin_memcpy(ethernet->source, mac, 6);
}

#endif

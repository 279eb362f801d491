/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* RST in the VIP's name, for a flow whose real server is gone (RFC 9293 section 3.5.2, group 3). */
#ifndef TRIMARAN_RESET_H
#define TRIMARAN_RESET_H

#include "answer.h"

ALWAYS_INLINE int reset_of(const struct window *window, const struct packet *packet,
			   struct tcp *reset)
{
	struct tcp *segment =
		window->data + ((packet->network & 31) + (packet->ip_headers & 511));

	if ((void *)(segment + 1) > window->end)
		return 0;
	*reset = (struct tcp){
		.source = segment->destination,
		.destination = segment->source,
		.sequence = segment->acknowledgement,
		.offset = 5 << 4,
		.flags = TCP_RST,
	};
	return 1;
}

ALWAYS_INLINE __u32 reset4(const struct window *window, const struct packet *packet,
			   struct answer *answer)
{
	struct ipv4 *ip = &answer->tcp4.ip;
	struct tcp *tcp = &answer->tcp4.tcp;
	__be32 rest = be32(PROTOCOL_TCP << 16 | sizeof(*tcp));
	__s64 sum;

	if (!reset_of(window, packet, tcp))
		return 0;
	*ip = (struct ipv4){
		.version_ihl = 0x45,
		.total_length = be16(sizeof(answer->tcp4)),
		.fragment = be16(DONT_FRAGMENT),
		.ttl = ANSWER_TTL,
		.protocol = PROTOCOL_TCP,
		.source = packet->key.address,
		.destination = packet->key.source_address,
	};
	ip->checksum = folded(bpf_csum_diff(0, 0, (void *)ip, sizeof(*ip), 0));
	sum = bpf_csum_diff(0, 0, &ip->source, 8, 0);
	sum = bpf_csum_diff(0, 0, &rest, sizeof(rest), sum);
	tcp->checksum = folded(bpf_csum_diff(0, 0, (void *)tcp, sizeof(*tcp), sum));
	return sizeof(answer->tcp4);
}

ALWAYS_INLINE __u32 reset6(const struct window *window, const struct packet *packet,
			   struct answer *answer)
{
	struct ipv6 *ip = &answer->tcp6.ip;
	struct tcp *tcp = &answer->tcp6.tcp;
	__be32 rest[2] = { be32(sizeof(*tcp)), be32(PROTOCOL_TCP) };
	__s64 sum;

	if (!reset_of(window, packet, tcp))
		return 0;
	*ip = (struct ipv6){
		.version = 6 << 4,
		.payload_length = be16(sizeof(*tcp)),
		.next = PROTOCOL_TCP,
		.hop_limit = ANSWER_TTL,
	};
	__builtin_memcpy(ip->source, packet->key6.address, 16);
	__builtin_memcpy(ip->destination, packet->key6.source_address, 16);
	sum = bpf_csum_diff(0, 0, ip->source, 32, 0);
	sum = bpf_csum_diff(0, 0, rest, sizeof(rest), sum);
	tcp->checksum = folded(bpf_csum_diff(0, 0, (void *)tcp, sizeof(*tcp), sum));
	return sizeof(answer->tcp6);
}

/* What the verdict ANSWER asks for; `mtu` as in `direct`. Returns its length, 0: nothing. */
ALWAYS_INLINE __u32 made_answer(const struct window *window, const struct packet *packet, __u32 mtu,
				struct answer *answer)
{
	if (mtu == ANSWER_RESET)
		return packet->is6 ? reset6(window, packet, answer) :
				     reset4(window, packet, answer);
	return packet->is6 ? answer6(window, packet, mtu, answer) :
			     answer4(window, packet, mtu, answer);
}

#endif

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The hashes by which clients are told apart: IPVS's own, bit for bit, so that a kernel's director
 * and ours choose alike; and one for flows. */
#ifndef TRIMARAN_HASH_H
#define TRIMARAN_HASH_H

#include "parse.h"

#define GOLDEN_RATIO_32 0x61c88647
#define MAGLEV_KEY 2654435761ULL /* rust/datapath/src/maglev.rs fills the slots by it */

/* An address as one word: IPv6's four words together. */
ALWAYS_INLINE __u32 folded_address(const __be32 *address, const int is6)
{
	return be32(is6 ? address[0] ^ address[1] ^ address[2] ^ address[3] : address[0]);
}

ALWAYS_INLINE __u32 client_word(const struct packet *packet)
{
	return packet->is6 ? folded_address(packet->key6.source_address, 1) :
			     folded_address(&packet->key.source_address, 0);
}

ALWAYS_INLINE __u32 service_word(const struct packet *packet)
{
	return packet->is6 ? folded_address(packet->key6.address, 1) :
			     folded_address(&packet->key.address, 0);
}

ALWAYS_INLINE __u16 client_port(const struct packet *packet)
{
	return be16(packet->is6 ? packet->key6.source_port : packet->key.source_port);
}

/* sh and dh: the highest 8 bits of the product. */
ALWAYS_INLINE __u32 golden_hash(__u32 word)
{
	return (word * GOLDEN_RATIO_32) >> 24;
}

#define ROTATED(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
#define SIP_ROUND                                                                                  \
	do {                                                                                       \
		v0 += v1, v1 = ROTATED(v1, 13) ^ v0, v0 = ROTATED(v0, 32);                         \
		v2 += v3, v3 = ROTATED(v3, 16) ^ v2;                                               \
		v0 += v3, v3 = ROTATED(v3, 21) ^ v0;                                               \
		v2 += v1, v1 = ROTATED(v1, 17) ^ v2, v2 = ROTATED(v2, 32);                         \
	} while (0)

/* mh: SipHash-1-3 of one word, as the kernel's hsiphash has it on 64-bit machines. */
ALWAYS_INLINE __u32 maglev_hash(__u32 word)
{
	__u64 v0 = 0x736f6d6570736575ULL ^ MAGLEV_KEY, v1 = 0x646f72616e646f6dULL ^ MAGLEV_KEY;
	__u64 v2 = 0x6c7967656e657261ULL ^ MAGLEV_KEY, v3 = 0x7465646279746573ULL ^ MAGLEV_KEY;
	__u64 block = 4ULL << 56 | word;

	v3 ^= block;
	SIP_ROUND;
	v0 ^= block;
	v2 ^= 0xff;
	SIP_ROUND;
	SIP_ROUND;
	SIP_ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

/* murmur3's finaliser. */
ALWAYS_INLINE __u64 mixed(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h;
}

/* Of a flow. Equal on every director, so that they adopt an unknown flow alike. */
ALWAYS_INLINE __u32 hash_of(const struct packet *packet)
{
	const struct flow_key *key = &packet->key;
	const struct flow_key6 *key6 = &packet->key6;
	__u64 h;

	if (packet->is6) {
		h = (__u64)key6->source_address[0] << 32 | key6->source_address[1];
		h = mixed(h) ^ ((__u64)key6->source_address[2] << 32 | key6->source_address[3]);
		h = mixed(h) ^ ((__u64)key6->address[2] << 32 | key6->address[3]);
		h = mixed(h) ^ ((__u64)key6->source_port << 16 | key6->port);
	} else {
		h = ((__u64)key->source_address << 32 | key->address) * 0x9e3779b97f4a7c15ULL;
		h ^= (__u64)key->source_port << 16 | key->port;
	}
	return mixed(h) >> 32;
}

/* What a new flow is told apart by. */
struct newcomer {
	__u32 client;  /* its address, folded */
	__u32 service; /* the VIP, folded */
	__u32 hash;
	__u32 port;
	__u32 by_turn; /* 0: its beginning was not seen */
	__u32 real;    /* what was chosen */
};

ALWAYS_INLINE struct newcomer newcomer_of(const struct packet *packet, int by_turn)
{
	return (struct newcomer){
		.client = client_word(packet),
		.service = service_word(packet),
		.hash = hash_of(packet),
		.port = client_port(packet),
		.by_turn = by_turn,
	};
}

#endif

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Persistent services: a client that was here before goes where it went then. */
#ifndef TRIMARAN_PERSIST_H
#define TRIMARAN_PERSIST_H

#include "schedule.h"

ALWAYS_INLINE int forwards(const struct real *real)
{
	if (!(real->flags & REAL_LISTED))
		return 0;
	return real->flags & REAL_LOCAL || real->hops[real->current & 1].interface;
}

ALWAYS_INLINE struct client_key client_of(const struct service *service,
					  const struct packet *packet)
{
	struct client_key key = { .service = service->index };
	__u32 bits = service->granularity;

	if (!packet->is6) {
		key.address[0] = packet->key.source_address;
		if (bits < 32)
			key.address[0] &= be32(~(0xffffffffU >> (bits & 31)));
		return key;
	}
	for (__u32 i = 0; i < 4; i++) {
		__u32 left = bits > 32 * i ? bits - 32 * i : 0;

		key.address[i] = packet->key6.source_address[i];
		if (left < 32)
			key.address[i] &= be32(~(0xffffffffU >> (left & 31)));
	}
	return key;
}

/* One that drains or is down has lost its clients. */
ALWAYS_INLINE int keeps_clients(__u32 index)
{
	struct real *real = bpf_map_lookup_elem(&reals, &index);
	struct load *load = load_of(index);

	return real && load && load->weight && forwards(real);
}

/* Where it went when it was here before; NO_REAL if it was not, lately. */
NOINLINE __u32 place_of_client(const struct service *service, const struct packet *packet)
{
	struct client_key key = client_of(service, packet);
	struct client *client = bpf_map_lookup_elem(&clients, &key);
	__u32 now = now_s();

	if (!client || now - client->seen_s > service->persistence_s ||
	    !keeps_clients(client->real))
		return NO_REAL;
	client->seen_s = now;
	return client->real;
}

NOINLINE void remember_client(const struct service *service, const struct packet *packet,
			      __u32 real)
{
	struct client_key key = client_of(service, packet);
	struct client client = { .real = real, .seen_s = now_s() };

	bpf_map_update_elem(&clients, &key, &client, BPF_ANY);
}

/* The real server of a new flow. */
ALWAYS_INLINE __u32 place(const struct service *service, const struct packet *packet,
			  const struct newcomer *newcomer)
{
	__u32 real;

	if (LIKELY(!service->persistence_s))
		return choose(service, newcomer);
	real = place_of_client(service, packet);
	if (real != NO_REAL)
		return real;
	real = choose(service, newcomer);
	if (real != NO_REAL && newcomer->by_turn)
		remember_client(service, packet, real);
	return real;
}

#endif

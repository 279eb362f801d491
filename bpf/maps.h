/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The maps. Every entry point uses the same ones; all are pinned by name. */
#ifndef TRIMARAN_MAPS_H
#define TRIMARAN_MAPS_H

#include "helpers.h"
#include "layout.h"

/* VIP:port -> service. */
struct {
	NUMBER(type, BPF_MAP_TYPE_HASH);
	NUMBER(max_entries, MAX_SERVICES);
	NUMBER(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct service_key);
	TYPE(value, struct service);
} services SEC(".maps");

struct {
	NUMBER(type, BPF_MAP_TYPE_HASH);
	NUMBER(max_entries, MAX_SERVICES);
	NUMBER(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct service_key6);
	TYPE(value, struct service);
} services6 SEC(".maps");

/* Service -> its table. A table is built whole and then takes its place in one update: a reader
 * has the old one or the new one. Tables differ in length, hence BPF_F_INNER_MAP. */
struct table {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(map_flags, BPF_F_INNER_MAP);
	TYPE(key, __u32);
	TYPE(value, __u32);
};

struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	NUMBER(max_entries, MAX_SERVICES);
	TYPE(key, __u32);
	INNER(values, struct table);
} tables SEC(".maps");

/* Service -> how many turns of its table were taken. Shared by all CPUs: the order is exact. */
struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, MAX_SERVICES);
	TYPE(key, __u32);
	TYPE(value, __u64);
} cursors SEC(".maps");

struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, MAX_REALS);
	TYPE(key, __u32);
	TYPE(value, struct real);
} reals SEC(".maps");

/* By real. */
struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, MAX_REALS);
	TYPE(key, __u32);
	TYPE(value, struct tunnel);
} tunnels SEC(".maps");

/* A plain hash, not an LRU: a flood must not push live flows out, and user space alone ends
 * flows, so that its counts are exact. Preallocated: a new flow never waits or fails for memory. */
struct {
	NUMBER(type, BPF_MAP_TYPE_HASH);
	NUMBER(max_entries, DEFAULT_MAX_FLOWS);
	TYPE(key, struct flow_key);
	TYPE(value, struct flow);
} flows SEC(".maps");

struct {
	NUMBER(type, BPF_MAP_TYPE_HASH);
	NUMBER(max_entries, DEFAULT_MAX_FLOWS);
	TYPE(key, struct flow_key6);
	TYPE(value, struct flow);
} flows6 SEC(".maps");

/* An LRU: what is pushed out has waited longest for its fragments, and no count depends on it. */
struct {
	NUMBER(type, BPF_MAP_TYPE_LRU_HASH);
	NUMBER(max_entries, MAX_FRAGMENTED);
	TYPE(key, struct fragment_key);
	TYPE(value, struct fragment);
} fragments SEC(".maps");

struct {
	NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	NUMBER(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct answers);
} answers SEC(".maps");

/* The MAC that frames for this machine have, in the first 6 bytes; XDP alone must ask. */
struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, __u64);
} station SEC(".maps");

/* By real. User space maps the memory: it counts what it ends by the same atomic additions. */
struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, MAX_REALS);
	NUMBER(map_flags, BPF_F_MMAPABLE);
	TYPE(key, __u32);
	TYPE(value, struct load);
} loads SEC(".maps");

/* An LRU: the client that came least recently gives way. */
struct {
	NUMBER(type, BPF_MAP_TYPE_LRU_HASH);
	NUMBER(max_entries, DEFAULT_MAX_CLIENTS);
	TYPE(key, struct client_key);
	TYPE(value, struct client);
} clients SEC(".maps");

/* By service. */
struct {
	NUMBER(type, BPF_MAP_TYPE_HASH);
	NUMBER(max_entries, MAX_SERVICES);
	NUMBER(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, __u32);
	TYPE(value, struct favourites);
} favourites SEC(".maps");

/* By real. */
struct {
	NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	NUMBER(max_entries, MAX_REALS);
	TYPE(key, __u32);
	TYPE(value, struct counters);
} counters SEC(".maps");

/* By reason. */
struct {
	NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	NUMBER(max_entries, REASON_COUNT);
	TYPE(key, __u32);
	TYPE(value, __u64);
} reasons SEC(".maps");

/* What the peers are to be told, for the thread that tells them. */
struct {
	NUMBER(type, BPF_MAP_TYPE_RINGBUF);
	NUMBER(max_entries, 1 << 20);
} told SEC(".maps");

/* One entry, LAYOUT_VERSION: says what the pinned maps beside it are. */
struct {
	NUMBER(type, BPF_MAP_TYPE_ARRAY);
	NUMBER(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, __u32);
} layout SEC(".maps");

#endif

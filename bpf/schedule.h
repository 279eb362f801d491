/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which real server has a new flow. User space writes a table for every service (its file
 * director/schedulers.py says which); here is what is done with it: the next slot, the first that
 * may, the hashed one, or the one with the least load. The order of a table is the order of IPVS's
 * list, and of equals the first wins, as there. */
#ifndef TRIMARAN_SCHEDULE_H
#define TRIMARAN_SCHEDULE_H

#include "hash.h"
#include "load.h"

#define NO_REAL 0xffffffff
#define MOST_TRIES 4096         /* of turns, where real servers are overloaded */
#define FAVOURITE_S (24 * 3600) /* after so long the most loaded of a set leaves it (lblcr) */

/* What the loops share. */
struct choosing {
	void *table;
	__u32 service;
	__u8 scheduler;
	__u8 has_levels;
	__u64 load; /* of the best so far, */
	__u32 weight; /* for this weight */
	__u32 best, length;
	union {
		struct {
			__u32 word, slot; /* what is hashed, and where that is */
		};
		struct {
			__u32 turn, before; /* of an interleaved cycle, and of its levels so far */
			__u32 left;         /* how many come before the one in turn */
		};
		__u32 is_idle;
	};
};

/* twos: the two draws. */
struct draws {
	void *table;
	__u64 weight; /* of all so far */
	__u64 loads[2];
	__u32 weights[2], picks[2];
};

ALWAYS_INLINE __u32 slot_of(void *table, __u32 slot)
{
	__u32 *real;

	slot++;
	real = bpf_map_lookup_elem(table, &slot);
	return real ? *real : NO_REAL;
}

ALWAYS_INLINE int takes(__u32 real)
{
	struct load *load = load_of(real);

	return load && is_available(load);
}

ALWAYS_INLINE __u64 overhead(const struct load *load)
{
	return ((__u64)load->active << 8) + load->inactive;
}

/* The service's table, and the first word of it: 0 when it has none. */
ALWAYS_INLINE void *table_of(const struct service *service, __u32 *head)
{
	__u32 zero = 0, index = service->index;
	void *table = bpf_map_lookup_elem(&tables, &index);
	__u32 *first;

	*head = 0;
	if (!table)
		return 0;
	first = bpf_map_lookup_elem(table, &zero);
	if (first)
		*head = *first;
	return table;
}

ALWAYS_INLINE int open_table(struct choosing *choosing, const struct service *service)
{
	__u32 head;

	choosing->service = service->index;
	choosing->scheduler = service->scheduler;
	choosing->table = table_of(service, &head);
	choosing->length = head & ~TABLE_HAS_LEVELS;
	choosing->has_levels = !!(head & TABLE_HAS_LEVELS);
	return choosing->table && choosing->length && choosing->length <= MAX_SLOTS;
}

/* fo and ovf: the table falls by weight, so the first that may is the one. */
static long first_able(__u64 slot, struct choosing *choosing)
{
	__u32 real = slot_of(choosing->table, slot);
	struct load *load = load_of(real);

	if (!load || !is_available(load))
		return 0;
	if (choosing->scheduler == SCHEDULER_OVF && load->active > load->weight)
		return 0;
	choosing->best = real;
	return 1;
}

/* lc wlc sed nq: the least load for its weight. */
static long least_loaded(__u64 slot, struct choosing *choosing)
{
	__u32 real = slot_of(choosing->table, slot);
	__u8 scheduler = choosing->scheduler;
	struct load *load = load_of(real);
	__u64 has;
	__u32 weight;

	if (!load || !is_available(load))
		return 0;
	if (scheduler == SCHEDULER_NQ && !load->active) {
		choosing->best = real;
		return 1;
	}
	has = scheduler == SCHEDULER_SED || scheduler == SCHEDULER_NQ ? load->active + 1ULL :
									 overhead(load);
	weight = scheduler == SCHEDULER_LC ? 1 : load->weight;
	if (choosing->best == NO_REAL || choosing->load * weight > has * choosing->weight) {
		choosing->best = real;
		choosing->load = has;
		choosing->weight = weight;
	}
	return 0;
}

/* twos: two draws by weight, in one pass: each takes the place of the one drawn before with the
 * probability of its own weight among those so far. */
static long draw_two(__u64 slot, struct draws *draws)
{
	__u32 real = slot_of(draws->table, slot);
	struct load *load = load_of(real);

	if (!load || !is_available(load))
		return 0;
	draws->weight += load->weight;
	for (int i = 0; i < 2; i++) {
		if (bpf_get_prandom_u32() % draws->weight >= load->weight)
			continue;
		draws->picks[i] = real;
		draws->loads[i] = overhead(load);
		draws->weights[i] = load->weight;
	}
	return 0;
}

APART __u32 better_of_two(const struct service *service)
{
	struct draws draws = { .picks = { NO_REAL, NO_REAL } };
	__u32 length;

	if (!service)
		return NO_REAL;
	draws.table = table_of(service, &length);
	if (!draws.table || length > MAX_SLOTS)
		return NO_REAL;
	bpf_loop(length, draw_two, &draws, 0);
	if (draws.weights[1] * draws.loads[0] > draws.weights[0] * draws.loads[1])
		return draws.picks[1];
	return draws.picks[0];
}

/* sh-fallback and mh-fallback: as IPVS looks on where the hashed one may not. */
static long fall_back(__u64 offset, struct choosing *choosing)
{
	__u32 from = (choosing->slot + (__u32)offset) % choosing->length;
	__u32 slot = choosing->scheduler == SCHEDULER_MH ?
			     maglev_hash(choosing->word + from) :
			     golden_hash(choosing->word) + from;
	__u32 real = slot_of(choosing->table, slot % choosing->length);

	if (!takes(real))
		return 0;
	choosing->best = real;
	return 1;
}

APART __u32 hashed(const struct service *service, const struct newcomer *newcomer)
{
	struct choosing choosing = { .best = NO_REAL };
	__u32 real;

	if (!service || !newcomer || !open_table(&choosing, service))
		return NO_REAL;
	choosing.word = service->scheduler == SCHEDULER_DH ? newcomer->service : newcomer->client;
	if (service->flags & SERVICE_PORT)
		choosing.word += newcomer->port;
	choosing.slot = (service->scheduler == SCHEDULER_MH ? maglev_hash(choosing.word) :
							      golden_hash(choosing.word)) %
			choosing.length;
	real = slot_of(choosing.table, choosing.slot);
	if (LIKELY(takes(real)))
		return real;
	if (service->flags & SERVICE_FALLBACK)
		bpf_loop(choosing.length, fall_back, &choosing, 0);
	return choosing.best;
}

/* Of an interleaved cycle: the level that a turn falls into. A level is three slots behind
 * the table's own: its end, its least weight, how many reach that. */
static long find_level(__u64 level, struct choosing *choosing)
{
	__u32 slot = choosing->length + 1 + 3 * (__u32)level;
	__u32 end = slot_of(choosing->table, slot);

	if (choosing->turn >= end) {
		choosing->before = end;
		return 0;
	}
	choosing->weight = slot_of(choosing->table, slot + 1);
	choosing->left = slot_of(choosing->table, slot + 2);
	return 1;
}

/* ... and the one whose turn it is among those that reach the level. */
static long find_turn(__u64 slot, struct choosing *choosing)
{
	__u32 real = slot_of(choosing->table, slot);
	struct load *load = load_of(real);

	if (!load || load->weight < choosing->weight)
		return 0;
	if (choosing->left) {
		choosing->left--;
		return 0;
	}
	choosing->best = real;
	return 1;
}

ALWAYS_INLINE __u32 interleaved(struct choosing *choosing, __u64 turn)
{
	__u32 levels = slot_of(choosing->table, choosing->length);
	__u32 cycle = slot_of(choosing->table, choosing->length + 3 * levels - 2);

	if (!levels || levels > MAX_REALS || !cycle || cycle == NO_REAL)
		return NO_REAL;
	choosing->turn = turn % cycle;
	choosing->before = 0;
	choosing->left = 0;
	bpf_loop(levels, find_level, choosing, 0);
	if (!choosing->left)
		return NO_REAL;
	choosing->left = (choosing->turn - choosing->before) % choosing->left;
	choosing->best = NO_REAL;
	bpf_loop(choosing->length, find_turn, choosing, 0);
	return choosing->best;
}

/* rr and wrr. An overloaded one's turn is the next one's. */
static long take_turn(__u64 try, struct choosing *choosing)
{
	__u64 *cursor = bpf_map_lookup_elem(&cursors, &choosing->service);
	__u64 turn;
	__u32 real;

	(void)try;
	if (!cursor)
		return 1;
	turn = __sync_fetch_and_add(cursor, 1);
	if (choosing->has_levels)
		real = interleaved(choosing, turn);
	else
		real = slot_of(choosing->table, turn % choosing->length);
	choosing->best = takes(real) ? real : NO_REAL;
	return choosing->best != NO_REAL;
}

static long any_idle(__u64 slot, struct choosing *choosing)
{
	struct load *load = load_of(slot_of(choosing->table, slot));

	if (!load || load->active * 2ULL >= load->weight)
		return 0;
	choosing->is_idle = 1;
	return 1;
}

/* lblc and lblcr: it has more than its weight while another has less than half of its own. */
ALWAYS_INLINE int too_busy(struct choosing *choosing, __u32 real)
{
	struct load *load = load_of(real);

	if (!load || !is_available(load))
		return 1;
	if (load->active <= load->weight)
		return 0;
	choosing->is_idle = 0;
	bpf_loop(choosing->length, any_idle, choosing, 0);
	return choosing->is_idle;
}

/* The one of the set with the least load for its weight, or (`most`) with the most. */
NOINLINE __u32 of_set(const struct favourites *set, int most)
{
	__u32 found = NO_REAL;
	__u64 has = 0, weight = 1;

	for (int i = 0; i < MOST_FAVOURITES; i++) {
		struct load *load = load_of(set->reals[i]);

		if (i >= (int)set->count || !load || !is_available(load))
			continue;
		if (found == NO_REAL ||
		    (most ? has * load->weight < overhead(load) * weight :
			    has * load->weight > overhead(load) * weight)) {
			found = set->reals[i];
			has = overhead(load);
			weight = load->weight;
		}
	}
	return found;
}

NOINLINE void join(struct favourites *set, __u32 real)
{
	for (int i = 0; i < MOST_FAVOURITES; i++)
		if (i < (int)set->count && set->reals[i] == real)
			return;
	if (set->count >= MOST_FAVOURITES)
		set->count = 0;
	set->reals[set->count % MOST_FAVOURITES] = real;
	set->count++;
	set->changed_s = now_s();
}

NOINLINE void expel(struct favourites *set, __u32 real)
{
	__u32 last = set->count - 1;

	for (int i = 0; i < MOST_FAVOURITES; i++)
		if (i < (int)set->count && set->reals[i] == real) {
			set->reals[i] = set->reals[last % MOST_FAVOURITES];
			set->count = last;
			set->changed_s = now_s();
			return;
		}
}

static const struct favourites no_favourites;

/* lblc keeps to one real server, lblcr to a set of them, until they are too busy. */
APART __u32 favourite(const struct service *service)
{
	struct choosing choosing = { .best = NO_REAL };
	struct favourites *set;
	__u32 index, real = NO_REAL;
	int replicated;

	if (!service || !open_table(&choosing, service))
		return NO_REAL;
	index = service->index;
	replicated = service->scheduler == SCHEDULER_LBLCR;
	set = bpf_map_lookup_elem(&favourites, &index);
	if (!set) {
		bpf_map_update_elem(&favourites, &index, &no_favourites, BPF_NOEXIST);
		set = bpf_map_lookup_elem(&favourites, &index);
		if (!set)
			return NO_REAL;
	}
	if (set->count)
		real = of_set(set, 0);
	if (replicated && set->count > 1 && now_s() - set->changed_s > FAVOURITE_S)
		expel(set, of_set(set, 1));
	if (real != NO_REAL && !too_busy(&choosing, real))
		return real;
	bpf_loop(choosing.length, least_loaded, &choosing, 0);
	if (choosing.best == NO_REAL)
		return NO_REAL;
	if (!replicated)
		set->count = 0;
	join(set, choosing.best);
	return choosing.best;
}

APART __u32 in_turn(const struct service *service)
{
	struct choosing choosing = { .best = NO_REAL };

	if (!service || !open_table(&choosing, service))
		return NO_REAL;
	if (!take_turn(0, &choosing))
		bpf_loop(MOST_TRIES, take_turn, &choosing, 0);
	return choosing.best;
}

APART __u32 first_or_least(const struct service *service)
{
	struct choosing choosing = { .best = NO_REAL };

	if (!service || !open_table(&choosing, service))
		return NO_REAL;
	if (service->scheduler == SCHEDULER_FO || service->scheduler == SCHEDULER_OVF)
		bpf_loop(choosing.length, first_able, &choosing, 0);
	else
		bpf_loop(choosing.length, least_loaded, &choosing, 0);
	return choosing.best;
}

/* For a flow whose beginning was not seen: alike on every director. */
APART __u32 guessed(const struct service *service, const struct newcomer *newcomer)
{
	struct choosing choosing = {};

	if (!service || !newcomer || !open_table(&choosing, service))
		return NO_REAL;
	return slot_of(choosing.table, newcomer->hash % choosing.length);
}

ALWAYS_INLINE int is_hashed(__u8 scheduler)
{
	return scheduler == SCHEDULER_SH || scheduler == SCHEDULER_DH || scheduler == SCHEDULER_MH;
}

/* The real server of a new flow; NO_REAL when none may have it. */
ALWAYS_INLINE __u32 choose(const struct service *service, const struct newcomer *newcomer)
{
	if (is_hashed(service->scheduler))
		return hashed(service, newcomer);
	if (!newcomer->by_turn)
		return guessed(service, newcomer);
	switch (service->scheduler) {
	case SCHEDULER_TURNS:
		return in_turn(service);
	case SCHEDULER_TWOS:
		return better_of_two(service);
	case SCHEDULER_LBLC:
	case SCHEDULER_LBLCR:
		return favourite(service);
	default:
		return first_or_least(service);
	}
}

#endif

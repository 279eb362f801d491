/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The flows that every real server has now, counted as IPVS counts them (ActiveConn, InActConn). A
 * flow enters when it is pinned, changes sides with its state, and is taken out by user space, which
 * alone ends flows. Two CPUs with packets of one flow at once may both count its change: user space
 * sets right what drifted. */
#ifndef TRIMARAN_LOAD_H
#define TRIMARAN_LOAD_H

#include "maps.h"

#define ADD(place, number) ((void)__sync_fetch_and_add(place, number))

ALWAYS_INLINE struct load *load_of(__u32 real)
{
	return bpf_map_lookup_elem(&loads, &real);
}

/* May have a new flow. */
ALWAYS_INLINE int is_available(const struct load *load)
{
	return load->weight && !load->overloaded;
}

ALWAYS_INLINE int is_active(__u8 state)
{
	return state == STATE_ESTABLISHED || state == STATE_SYN_RECV;
}

ALWAYS_INLINE void enter(__u32 real, __u8 state)
{
	struct load *load = load_of(real);

	if (!load)
		return;
	ADD(is_active(state) ? &load->active : &load->inactive, 1);
	if (UNLIKELY(load->upper) && load->active + load->inactive >= load->upper)
		load->overloaded = 1;
}

ALWAYS_INLINE void leave(__u32 real, __u8 state)
{
	struct load *load = load_of(real);

	if (load)
		ADD(is_active(state) ? &load->active : &load->inactive, -1);
}

ALWAYS_INLINE void change(__u32 real, __u8 before, __u8 after)
{
	struct load *load = load_of(real);
	int by = is_active(after) - is_active(before);

	if (!load || !by)
		return;
	ADD(&load->active, by);
	ADD(&load->inactive, -by);
}

#endif

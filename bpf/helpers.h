/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The few helpers and macros we use, so that the build needs no libbpf. */
#ifndef TRIMARAN_HELPERS_H
#define TRIMARAN_HELPERS_H

#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* BTF map definitions: the numbers travel in types. */
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, value) value *name
#define INNER(name, value) value *name[]

/* Whether a 32-bit variable is within bounds, in a way in which the verifier sees that it is: it knows
 * of one register what was compared, of no copy that the compiler made. */
#define BETWEEN(value, low, high)                       \
	({                                              \
		__u32 over = (value) - (low);           \
		int is_between = 0;                     \
		if (over <= (high) - (low)) {           \
			asm volatile("" : "+r"(over));  \
			(value) = over + (low);         \
			is_between = 1;                 \
		}                                       \
		is_between;                             \
	})

#define NOINLINE static __attribute__((noinline))
/* Verified by itself, once, whoever calls it; what it is given may be null to it. */
#define APART __attribute__((noinline))
#define be32(x) __builtin_bswap32(x)
#define be16(x) ((__u16)__builtin_bswap16(x))

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 __u64 flags) = (void *)BPF_FUNC_map_update_elem;
static __u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)BPF_FUNC_ktime_get_coarse_ns;
static long (*const bpf_ringbuf_output)(void *ring, void *data, __u64 size,
				       __u64 flags) = (void *)BPF_FUNC_ringbuf_output;
static long (*const bpf_loop)(__u32 times, void *callback, void *context,
			     __u64 flags) = (void *)BPF_FUNC_loop;
static long (*const bpf_redirect)(__u32 interface, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const bpf_skb_pull_data)(struct __sk_buff *skb, __u32 length) = (void *)BPF_FUNC_skb_pull_data;

static long (*const bpf_skb_change_tail)(struct __sk_buff *skb, __u32 length,
					 __u64 flags) = (void *)BPF_FUNC_skb_change_tail;
static long (*const bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 length,
					 __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_xdp_adjust_tail)(struct xdp_md *xdp, int by) = (void *)BPF_FUNC_xdp_adjust_tail;
static long (*const bpf_xdp_store_bytes)(struct xdp_md *xdp, __u32 offset, void *from,
					 __u32 length) = (void *)BPF_FUNC_xdp_store_bytes;
static long (*const bpf_xdp_load_bytes)(struct xdp_md *xdp, __u32 offset, void *to,
					__u32 length) = (void *)BPF_FUNC_xdp_load_bytes;
static __u64 (*const bpf_xdp_get_buff_len)(struct xdp_md *xdp) = (void *)BPF_FUNC_xdp_get_buff_len;
static __s64 (*const bpf_csum_diff)(__be32 *from, __u32 from_size, __be32 *to, __u32 to_size,
				    __u32 seed) = (void *)BPF_FUNC_csum_diff;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static long (*const bpf_skb_adjust_room)(struct __sk_buff *skb, __s32 by, __u32 mode,
					 __u64 flags) = (void *)BPF_FUNC_skb_adjust_room;
static long (*const bpf_xdp_adjust_head)(struct xdp_md *xdp, int by) = (void *)BPF_FUNC_xdp_adjust_head;

/* The same number, of which the verifier no longer knows how it came about: so it does not look at all
 * that follows once for each way. `any` is any number that it does not know. */
ALWAYS_INLINE __u64 forgotten(__u64 number, __u64 any)
{
	asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(number) : "r"(any));
	return number;
}

#define NSEC_PER_SEC 1000000000ULL

ALWAYS_INLINE __u32 now_s(void)
{
	return bpf_ktime_get_coarse_ns() / NSEC_PER_SEC;
}

#endif

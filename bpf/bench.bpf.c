// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Entry points for bench/l4 alone, never shipped: each run of one BPF_PROG_TEST_RUN is given
 * another flow, and its TTL back (the kernel restores nothing between runs). The frame itself
 * carries the state: TCP's sequence number is a mask, its acknowledgement number a counter.
 *   mask 0: the flow is the counter's, which is raised: every packet is a new flow
 *   else:   the flow is a random number under the mask
 */
#include "director.bpf.c"

ALWAYS_INLINE int next_flow(struct __sk_buff *skb)
{
	struct ethernet *ethernet = (void *)(long)skb->data;
	struct ipv4 *ip = (void *)(ethernet + 1);
	struct tcp *tcp = (void *)(ip + 1);
	__u32 flow;

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end)
		return 0;
	flow = tcp->sequence ? bpf_get_prandom_u32() & tcp->sequence : tcp->acknowledgement++;
	ip->source = __builtin_bswap32(0x0a010000 + (flow >> 15));
	ip->ttl = 64;
	tcp->source = be16(1024 + (flow & 0x7fff));
	return 1;
}

SEC("classifier") int bench_director(struct __sk_buff *skb)
{
	return next_flow(skb) ? direct_tc(skb) : TC_ACT_SHOT;
}

/* What choosing the flow costs by itself. */
SEC("classifier") int bench_floor(struct __sk_buff *skb)
{
	return next_flow(skb) ? TC_ACT_OK : TC_ACT_SHOT;
}

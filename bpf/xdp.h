/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The XDP entry point: before any sk_buff is made. Included by director.bpf.c. */
#ifndef TRIMARAN_XDP_H
#define TRIMARAN_XDP_H

/* Frames of others come here too (promiscuous mode, a flooding switch): they are not balanced. */
ALWAYS_INLINE int is_for_us(const struct window *window)
{
	struct ethernet *ethernet = window->data;
	__u32 zero = 0;
	__u64 *mac = bpf_map_lookup_elem(&station, &zero);
	__u64 destination = 0;

	if (!mac || (void *)(ethernet + 1) > window->end)
		return 0;
	__builtin_memcpy(&destination, ethernet->destination, 6);
	return destination == *mac;
}

ALWAYS_INLINE struct window window_of_xdp(struct xdp_md *xdp)
{
	return (struct window){
		.data = (void *)(long)xdp->data,
		.end = (void *)(long)xdp->data_end,
		.length = bpf_xdp_get_buff_len(xdp),
		.segments = 1,
	};
}

APART int answer_xdp(struct xdp_md *xdp, struct packet *packet, __u32 mtu)
{
	struct window window = window_of_xdp(xdp);
	struct answer answer;
	__u32 length, network;

	if (!packet)
		return XDP_DROP;
	length = made_answer(&window, packet, mtu, &answer);
	network = packet->network;
	swap_macs(&window);
	if (!BETWEEN(length, 1, sizeof(answer)) ||
	    bpf_xdp_adjust_tail(xdp, (int)(network + length) - (int)window.length) ||
	    bpf_xdp_store_bytes(xdp, network, &answer, length))
		return XDP_DROP;
	return XDP_TX;
}

ALWAYS_INLINE int send_xdp(struct xdp_md *xdp, const struct next_hop *hop)
{
	return hop->interface == xdp->ingress_ifindex ? XDP_TX : bpf_redirect(hop->interface, 0);
}

/* The Ethernet header moves to the front, with its tags. */
APART int tunnel_xdp(struct xdp_md *xdp, struct packet *packet, struct next_hop *hop)
{
	struct window window = window_of_xdp(xdp);
	struct outer outer;
	__u8 link[MAX_LINK_HEADER];
	__u32 length, network;

	if (!packet || !hop || !take_hop(&window, packet) ||
	    !make_outer(&window, packet, hash_of(packet), &outer))
		return XDP_DROP;
	network = packet->network & 31;
	length = outer.length;
	if (!BETWEEN(length, 1, sizeof(outer.v6)) ||
	    bpf_xdp_load_bytes(xdp, 0, link, sizeof(link)) ||
	    bpf_xdp_adjust_head(xdp, -(int)length)) {
		count(REASON_ENCAPSULATION);
		return XDP_DROP;
	}
	__builtin_memcpy(link, hop->destination_mac, 6);
	__builtin_memcpy(link + 6, hop->source_mac, 6);
	if (bpf_xdp_store_bytes(xdp, 0, link, sizeof(link)) || /* the outer header overwrites its end */
	    bpf_xdp_store_bytes(xdp, network - 2, &outer.type, 2) ||
	    bpf_xdp_store_bytes(xdp, network, &outer, length))
		return XDP_DROP;
	return send_xdp(xdp, hop);
}

APART int nat_xdp(struct xdp_md *xdp, struct packet *packet, struct next_hop *hop)
{
	struct window window = window_of_xdp(xdp);
	struct translation t = {};

	if (!packet || !hop || !rewrite(&window, packet, hop) || !to_real(packet, &t) || translate(xdp, &t, 1)) {
		count(REASON_INTERNAL);
		return XDP_DROP;
	}
	return send_xdp(xdp, hop);
}

/* As route_tc; where the kernel must find out a MAC, tc's program does all of it. */
APART int route_xdp(struct xdp_md *xdp, struct packet *packet, struct next_hop *hop)
{
	struct window window = window_of_xdp(xdp);
	struct bpf_fib_lookup fib = {};
	struct translation t = {};
	__be32 sender[4] = {};
	long found;

	if (!packet || !hop || !sender_of(&window, packet, sender) ||
	    !from_real(packet, sender, &t)) {
		count(REASON_INTERNAL);
		return XDP_DROP;
	}
	found = route(xdp, packet, &t, xdp->ingress_ifindex, packet->ip_length, &fib);
	if (found == BPF_FIB_LKUP_RET_NO_NEIGH)
		return XDP_PASS;
	if (found) {
		hop->mtu = fib.mtu_result;
		return refuse_route(found) == ANSWER ? MUST_ANSWER : XDP_DROP;
	}
	__builtin_memcpy(hop->destination_mac, fib.dmac, 6);
	__builtin_memcpy(hop->source_mac, fib.smac, 6);
	hop->interface = fib.ifindex;
	if (!rewrite(&window, packet, hop) || translate(xdp, &t, 1)) {
		count(REASON_INTERNAL);
		return XDP_DROP;
	}
	return send_xdp(xdp, hop);
}

ALWAYS_INLINE int direct_xdp(struct xdp_md *xdp)
{
	struct next_hop hop = {};
	struct packet packet = {};
	struct window window = window_of_xdp(xdp);
	int action;

	if (!is_for_us(&window))
		return XDP_PASS;
	switch (decide(&window, &packet, &hop)) {
	case PASS:
		return XDP_PASS;
	case DROP:
		return XDP_DROP;
	case ANSWER:
		return answer_xdp(xdp, &packet, hop.mtu);
	case ROUTE:
		action = route_xdp(xdp, &packet, &hop);
		return action == MUST_ANSWER ? answer_xdp(xdp, &packet, hop.mtu) : action;
	case FORWARD:
		break;
	}
	if (packet.forward & REAL_NAT)
		return nat_xdp(xdp, &packet, &hop);
	if (packet.forward & REAL_TUNNEL)
		return tunnel_xdp(xdp, &packet, &hop);
	if (!rewrite(&window, &packet, &hop))
		return XDP_DROP;
	return send_xdp(xdp, &hop);
}

#endif

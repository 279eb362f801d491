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

NOINLINE int answer_xdp(struct xdp_md *xdp, const struct window *window,
			const struct packet *packet, __u32 mtu)
{
	struct answer answer;
	__u32 length = made_answer(window, packet, mtu, &answer);
	__u32 network = packet->network;

	swap_macs(window);
	if (!BETWEEN(length, 1, sizeof(answer)) ||
	    bpf_xdp_adjust_tail(xdp, (int)(network + length) - (int)window->length) ||
	    bpf_xdp_store_bytes(xdp, network, &answer, length))
		return XDP_DROP;
	return XDP_TX;
}

ALWAYS_INLINE int send_xdp(struct xdp_md *xdp, const struct next_hop *hop)
{
	return hop->interface == xdp->ingress_ifindex ? XDP_TX : bpf_redirect(hop->interface, 0);
}

/* The Ethernet header moves to the front, with its tags. */
NOINLINE int tunnel_xdp(struct xdp_md *xdp, const struct window *window,
			const struct packet *packet, const struct next_hop *hop)
{
	struct outer outer;
	__u8 link[MAX_LINK_HEADER];
	__u32 length, network = packet->network;

	if (!take_hop(window, packet) || !make_outer(window, packet, hash_of(packet), &outer))
		return XDP_DROP;
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

ALWAYS_INLINE int direct_xdp(struct xdp_md *xdp)
{
	struct next_hop hop;
	struct packet packet;
	struct window window = {
		.data = (void *)(long)xdp->data,
		.end = (void *)(long)xdp->data_end,
		.length = bpf_xdp_get_buff_len(xdp),
		.segments = 1,
	};

	if (!is_for_us(&window))
		return XDP_PASS;
	switch (decide(&window, &packet, &hop)) {
	case PASS:
		return XDP_PASS;
	case DROP:
		return XDP_DROP;
	case ANSWER:
		return answer_xdp(xdp, &window, &packet, hop.mtu);
	case FORWARD:
		break;
	}
	if (packet.forward & REAL_TUNNEL)
		return tunnel_xdp(xdp, &window, &packet, &hop);
	if (!rewrite(&window, &packet, &hop))
		return XDP_DROP;
	return send_xdp(xdp, &hop);
}

#endif

/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The tc entry point: GSO packets, hardware VLAN tags and all. Included by director.bpf.c. */
#ifndef TRIMARAN_TC_H
#define TRIMARAN_TC_H

#define TC_ACT_OK 0
#define TC_ACT_SHOT 2
#define PACKET_HOST 0
/* What is looked at: Ethernet with tags, IPv4 with options, TCP without; the second for IPv6 with
 * its extension headers. */
#define HEADERS_LENGTH (ETHERNET_LENGTH + 8 + 60 + TCP_LENGTH)
#define LONG_HEADERS_LENGTH 256

ALWAYS_INLINE struct window window_of(struct __sk_buff *skb)
{
	return (struct window){
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.length = skb->len,
		.segments = skb->gso_segs ? skb->gso_segs : 1,
		.gso_size = skb->gso_size,
	};
}

NOINLINE int answer_tc(struct __sk_buff *skb, const struct window *window,
		       const struct packet *packet, __u32 mtu)
{
	struct answer answer;
	__u32 length = made_answer(window, packet, mtu, &answer);
	__u32 network = packet->network;

	swap_macs(window);
	if (!BETWEEN(length, 1, sizeof(answer)) || bpf_skb_change_tail(skb, network + length, 0) ||
	    bpf_skb_store_bytes(skb, network, &answer, length, 0))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

ALWAYS_INLINE __u64 room_flags(const struct outer *outer)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	flags |= outer->is6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	if (outer->kind == TUNNEL_GUE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	if (outer->kind == TUNNEL_GRE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	return flags;
}

/* GSO packets stay whole: the kernel cuts them behind the tunnel's headers. A tag in the frame
 * itself (the second of two) leaves no place for them, as the kernel sees it. */
NOINLINE int tunnel_tc(struct __sk_buff *skb, const struct window *window,
		       const struct packet *packet, const struct next_hop *hop)
{
	struct outer outer;
	struct ethernet ethernet;
	__u32 length;

	if (!take_hop(window, packet) || !make_outer(window, packet, hash_of(packet), &outer))
		return TC_ACT_SHOT;
	__builtin_memcpy(ethernet.destination, hop->destination_mac, 6);
	__builtin_memcpy(ethernet.source, hop->source_mac, 6);
	ethernet.type = outer.type;
	length = outer.length;
	if (!BETWEEN(length, 1, sizeof(outer.v6)) || packet->network != ETHERNET_LENGTH ||
	    bpf_skb_adjust_room(skb, length, BPF_ADJ_ROOM_MAC, room_flags(&outer)) ||
	    bpf_skb_store_bytes(skb, ETHERNET_LENGTH, &outer, length, 0) ||
	    bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), 0)) {
		count(REASON_ENCAPSULATION);
		return TC_ACT_SHOT;
	}
	return bpf_redirect(hop->interface, 0);
}

ALWAYS_INLINE int direct_tc(struct __sk_buff *skb)
{
	struct next_hop hop;
	struct packet packet;
	struct window window;
	__u32 wanted = skb->protocol == be16(ETHERTYPE_IPV4) ? HEADERS_LENGTH : LONG_HEADERS_LENGTH;

	if (skb->pkt_type != PACKET_HOST)
		return TC_ACT_OK;
	window = window_of(skb);
	if (skb->len < wanted)
		wanted = skb->len;
	if (UNLIKELY(window.data + wanted > window.end)) {
		/* Headers beyond the linear part. Cannot fail for lack of bytes. */
		if (bpf_skb_pull_data(skb, wanted))
			return TC_ACT_SHOT;
		window = window_of(skb);
	}
	switch (decide(&window, &packet, &hop)) {
	case PASS:
		return TC_ACT_OK;
	case DROP:
		return TC_ACT_SHOT;
	case ANSWER:
		return answer_tc(skb, &window, &packet, hop.mtu);
	case FORWARD:
		break;
	}
	if (packet.forward & REAL_TUNNEL)
		return tunnel_tc(skb, &window, &packet, &hop);
	if (!rewrite(&window, &packet, &hop))
		return TC_ACT_SHOT;
	return bpf_redirect(hop.interface, 0);
}

#endif

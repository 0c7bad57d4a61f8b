/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which frames are the generator's: TCP and UDP between its client addresses and anybody, sent to this port, the same in
 * a tunnel from a client, and what comes from the addresses and ports that the balancer puts in clients' place. Everything
 * else (ARP, ND, health checks, other people's traffic) is the kernel's. */

#include "ip.h"

enum { NETS = 8 };

struct net4 {
	__u32 net, mask;
};

struct net6 {
	__u32 net[4], mask[4];
};

/* src/tap.rs has the same layout. Addresses and masks are in network order. */
struct filter {
	__u32 net4, mask4;
	__u32 net6[4], mask6[4];
	__u8 mac[6];
	__u8 any;    /* all TCP and UDP, whatever the addresses: capture replay */
	__u8 unused;
	__u16 tunnel;                 /* GUE's UDP port, in network order; 0: no tunnels, not even IPIP */
	__u16 snat_first, snat_last;  /* in this machine's order */
	__u16 unused2;
	struct net4 snat4[NETS];      /* an entry with mask 0 and net not 0 holds nothing */
	struct net6 snat6[NETS];
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	TYPE(key, __u32);
	TYPE(value, struct filter);
	UINT(max_entries, 1);
} filter SECTION(".maps");

struct {
	UINT(type, BPF_MAP_TYPE_XSKMAP);
	UINT(key_size, 4);
	UINT(value_size, 4);
	UINT(max_entries, 64);
} sockets SECTION(".maps");

struct udp {
	__u16 source, destination, length, checksum;
};

enum { IPV4_INSIDE = 4, TCP = 6, UDP = 17, IPV6_INSIDE = 41, FRAGMENT = 44 };

INLINE void *bytes_at(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	void *data = (void *)(long)ctx->data + offset;

	return data + length > (void *)(long)ctx->data_end ? 0 : data;
}

INLINE int in4(__u32 address, __u32 net, __u32 mask)
{
	return (address & mask) == net;
}

INLINE int in6(const __u32 *a, const __u32 *net, const __u32 *mask)
{
	return (a[0] & mask[0]) == net[0] && (a[1] & mask[1]) == net[1] && (a[2] & mask[2]) == net[2] &&
	       (a[3] & mask[3]) == net[3];
}

INLINE int client4(const struct filter *f, __u32 address)
{
	return in4(address, f->net4, f->mask4);
}

INLINE int client6(const struct filter *f, const __u32 *address)
{
	return in6(address, f->net6, f->mask6);
}

/* Whether the source port of the segment at `offset` is one that the balancer puts in clients' place. */
INLINE int snat_port(struct xdp_md *ctx, const struct filter *f, __u32 offset)
{
	__u16 *source = bytes_at(ctx, offset, 2);

	return source && BE16(*source) >= f->snat_first && BE16(*source) <= f->snat_last;
}

INLINE int snat4(const struct filter *f, __u32 source)
{
#pragma unroll
	for (int i = 0; i < NETS; i++)
		if (in4(source, f->snat4[i].net, f->snat4[i].mask))
			return 1;
	return 0;
}

INLINE int snat6(const struct filter *f, const __u32 *source)
{
#pragma unroll
	for (int i = 0; i < NETS; i++)
		if (in6(source, f->snat6[i].net, f->snat6[i].mask))
			return 1;
	return 0;
}

/* Whether a packet from a client begins at `offset`, in whatever tunnel. */
INLINE int inside(struct xdp_md *ctx, const struct filter *f, __u32 offset)
{
	__u8 *first = bytes_at(ctx, offset, 1);

	if (!first)
		return 0;
	if (*first >> 4 == 4) {
		struct ipv4 *h = bytes_at(ctx, offset, sizeof(*h));

		return h && client4(f, h->source);
	}
	if (*first >> 4 == 6) {
		struct ipv6 *h = bytes_at(ctx, offset, sizeof(*h));

		return h && client6(f, h->source);
	}
	return 0;
}

/* The same behind an outer IP header that ends at `offset` and names `protocol`. */
INLINE int tunnelled(struct xdp_md *ctx, const struct filter *f, __u32 offset, __u8 protocol)
{
	if (!f->tunnel)
		return 0;
	if (protocol == IPV4_INSIDE || protocol == IPV6_INSIDE)
		return inside(ctx, f, offset);
	struct udp *h = bytes_at(ctx, offset, sizeof(*h));

	if (protocol != UDP || !h || h->destination != f->tunnel)
		return 0;
	offset += sizeof(*h);
	__u8 *first = bytes_at(ctx, offset, 1);

	/* GUE of variant 0 has a header of its own; in variant 1 the packet's version follows. */
	return first && inside(ctx, f, *first >> 6 ? offset : offset + 4);
}

INLINE int ours(struct xdp_md *ctx, const struct filter *f)
{
	__u32 offset = 12;
	__u8 *mac = bytes_at(ctx, 0, 14);

	if (!mac)
		return 0;
	/* A switch that does not know a port yet floods: what is sent to another port is not for us. */
	for (int i = 0; i < 6; i++)
		if (mac[i] != f->mac[i])
			return 0;
	__u16 *type = bytes_at(ctx, offset, 2);

#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (!type || (*type != BE16(0x8100) && *type != BE16(0x88a8)))
			break;
		offset += 4;
		type = bytes_at(ctx, offset, 2);
	}
	if (!type)
		return 0;
	offset += 2;
	if (*type == BE16(0x0800)) {
		struct ipv4 *h = bytes_at(ctx, offset, sizeof(*h));

		if (!h)
			return 0;
		if (tunnelled(ctx, f, offset + sizeof(*h), h->protocol))
			return 1;
		if (h->protocol != TCP && h->protocol != UDP)
			return 0;
		if (f->any || client4(f, h->source) || client4(f, h->destination))
			return 1;
		/* Fragments but the first have no ports. */
		return snat4(f, h->source) &&
		       (h->fragment & BE16(0x1fff) || snat_port(ctx, f, offset + sizeof(*h)));
	}
	if (*type == BE16(0x86dd)) {
		struct ipv6 *h = bytes_at(ctx, offset, sizeof(*h));

		if (!h)
			return 0;
		if (tunnelled(ctx, f, offset + sizeof(*h), h->next))
			return 1;
		if (h->next != TCP && h->next != UDP && h->next != FRAGMENT)
			return 0;
		if (f->any || client6(f, h->source) || client6(f, h->destination))
			return 1;
		return snat6(f, h->source) && (h->next == FRAGMENT || snat_port(ctx, f, offset + sizeof(*h)));
	}
	return 0;
}

SECTION("xdp") int tap(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct filter *f = map_lookup(&filter, &zero);

	if (!f || !ours(ctx, f))
		return XDP_PASS;
	return (int)redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

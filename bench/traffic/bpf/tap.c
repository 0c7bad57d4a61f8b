/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which frames are the generator's: TCP and UDP between its client addresses and anybody, sent to this port. Everything
 * else (ARP, ND, health checks, other people's traffic) is the kernel's. */

#include "kernel.h"

/* src/tap.rs has the same layout. Addresses and masks are in network order. */
struct filter {
	__u32 net4, mask4;
	__u32 net6[4], mask6[4];
	__u8 mac[6];
	__u8 any;    /* all TCP and UDP, whatever the addresses: capture replay */
	__u8 unused;
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

struct ipv4 {
	__u8 version_words, service;
	__u16 length, id, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, destination;
};

struct ipv6 {
	__u8 version_class, flow[3];
	__u16 length;
	__u8 next, hops;
	__u32 source[4], destination[4];
};

enum { TCP = 6, UDP = 17, FRAGMENT = 44 };

INLINE void *bytes_at(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	void *data = (void *)(long)ctx->data + offset;

	return data + length > (void *)(long)ctx->data_end ? 0 : data;
}

INLINE int in4(const struct filter *f, __u32 address)
{
	return (address & f->mask4) == f->net4;
}

INLINE int in6(const struct filter *f, const __u32 *a)
{
	return (a[0] & f->mask6[0]) == f->net6[0] && (a[1] & f->mask6[1]) == f->net6[1] &&
	       (a[2] & f->mask6[2]) == f->net6[2] && (a[3] & f->mask6[3]) == f->net6[3];
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
	if (*type == BE16(0x0800)) {
		struct ipv4 *h = bytes_at(ctx, offset + 2, sizeof(*h));

		if (!h || (h->protocol != TCP && h->protocol != UDP))
			return 0;
		return f->any || in4(f, h->source) || in4(f, h->destination);
	}
	if (*type == BE16(0x86dd)) {
		struct ipv6 *h = bytes_at(ctx, offset + 2, sizeof(*h));

		if (!h || (h->next != TCP && h->next != UDP && h->next != FRAGMENT))
			return 0;
		return f->any || in6(f, h->source) || in6(f, h->destination);
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

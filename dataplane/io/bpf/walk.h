/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From an IP header to the transport header. Only the frame's end bounds the walk: what lies about its own length is still
 * steered by its headers, and the worker drops it by name. */
#ifndef RINGLEAD_WALK_H
#define RINGLEAD_WALK_H

#include "maps.h"
#include "ip.h"

enum { TCP = 6, UDP = 17, ICMP = 1, ICMPV6 = 58 };
enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, DESTINATION = 60 };

/* Extension headers walked; src/steer/front.rs has the same number. */
#define EXTENSIONS_MAX 6

enum shape {
	SHAPE_BAD,      /* truncated, wrong version, a mapped address in a real IPv6 header: the kernel's */
	SHAPE_WHOLE,    /* `protocol` starts at `transport` */
	SHAPE_FRAGMENT, /* `protocol` is what the fragment header names, perhaps an extension header */
	SHAPE_LONG,     /* more extension headers than we walk */
};

struct packet {
	union address source;
	union address destination;
	__u32 transport;
	__u8 protocol;
	__u8 shape;
	__u8 first; /* of a fragment: offset 0, so `transport` is one */
};

/* `length` bytes at `offset`, or 0 when the frame is shorter. */
INLINE void *bytes_at(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	if (offset > 0x7fff)
		return 0;
	data += offset;
	return data + length > end ? 0 : data;
}

INLINE int is_extension(__u8 protocol)
{
	return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == FRAGMENT || protocol == AUTHENTICATION ||
	       protocol == DESTINATION;
}

INLINE void walk_v4(struct xdp_md *ctx, __u32 offset, struct packet *p)
{
	struct ipv4 *h = bytes_at(ctx, offset, sizeof(*h));

	p->shape = SHAPE_BAD;
	if (!h || h->version_words >> 4 != 4 || (h->version_words & 15) < 5)
		return;
	map_v4(&p->source, h->source);
	map_v4(&p->destination, h->destination);
	p->protocol = h->protocol;
	p->transport = offset + (h->version_words & 15) * 4;
	/* More fragments, or an offset. */
	p->first = !(h->fragment & BE16(0x1fff));
	p->shape = h->fragment & BE16(0x3fff) ? SHAPE_FRAGMENT : SHAPE_WHOLE;
}

/* The eight bytes that every extension header has; `fragment` is the fragment header's. */
struct extension {
	__u8 next;
	__u8 length;
	__u16 fragment;
	__u32 rest;
};

INLINE void walk_v6(struct xdp_md *ctx, __u32 offset, struct packet *p)
{
	struct ipv6 *h = bytes_at(ctx, offset, sizeof(*h));

	p->shape = SHAPE_BAD;
	if (!h || h->version_class >> 4 != 6)
		return;
	__builtin_memcpy(&p->source, h->source, 16);
	__builtin_memcpy(&p->destination, h->destination, 16);
	if (is_mapped(&p->source) || is_mapped(&p->destination))
		return;
	p->protocol = h->next;
	offset += sizeof(*h);
#pragma unroll
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		if (!is_extension(p->protocol))
			break;
		struct extension *e = bytes_at(ctx, offset, sizeof(*e));

		if (!e)
			return;
		__u8 kind = p->protocol;

		p->protocol = e->next;
		if (kind == FRAGMENT) {
			/* Offset or M; without both it is atomic, a whole packet (RFC 6946). */
			if (e->fragment & BE16(0xfff9)) {
				p->transport = offset + 8;
				p->first = !(e->fragment & BE16(0xfff8));
				p->shape = SHAPE_FRAGMENT;
				return;
			}
			offset += 8;
		} else if (kind == AUTHENTICATION) {
			offset += ((__u32)e->length + 2) * 4;
		} else {
			offset += ((__u32)e->length + 1) * 8;
		}
	}
	p->transport = offset;
	p->first = 0;
	p->shape = is_extension(p->protocol) ? SHAPE_LONG : SHAPE_WHOLE;
}

#endif

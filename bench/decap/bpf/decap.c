/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Takes the outer headers off packets in IPIP and GUE that are sent to this server's own tunnel addresses, and passes the
 * inner packet to the kernel. Everything else passes as it came. XDP comes before routing and its filters, so the kernel
 * never sees the outer addresses. */

#include "ip.h"

/* src/layout.rs has the same layouts and numbers. */
struct settings {
	__u16 gue_port; /* network order; 0: no GUE */
};

struct address {
	__u32 family; /* 4 or 6 */
	__u32 bytes[4]; /* network order; IPv4: the first, the others 0 */
};

enum { ADDRESSES_MAX = 64, OUTERS = 64 };

enum kind { IPIP, GUE_0, GUE_1, KINDS };

/* The first KINDS * 4 counters are packets taken, by kind, outer and inner family: see taken(). */
enum { DROPPED_ECN = KINDS * 4, REFUSED, PASSED, COUNTERS };

struct outer {
	__u64 number; /* from 1, in the order taken; 0: never written */
	__u32 source[4], destination[4]; /* as in struct address */
	__u16 port; /* UDP source port, network order; 0 for IPIP */
	__u8 family, kind;
	__u8 service; /* TOS or traffic class */
	__u8 unused[3];
};

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	TYPE(key, __u32);
	TYPE(value, struct settings);
	UINT(max_entries, 1);
} settings SECTION(".maps");

struct {
	UINT(type, BPF_MAP_TYPE_HASH);
	TYPE(key, struct address);
	TYPE(value, __u32);
	UINT(max_entries, ADDRESSES_MAX);
} addresses SECTION(".maps");

struct {
	UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	TYPE(key, __u32);
	TYPE(value, __u64);
	UINT(max_entries, COUNTERS);
} counters SECTION(".maps");

/* The last outer headers taken, a ring. */
struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	TYPE(key, __u32);
	TYPE(value, struct outer);
	UINT(max_entries, OUTERS);
} outers SECTION(".maps");

struct {
	UINT(type, BPF_MAP_TYPE_ARRAY);
	TYPE(key, __u32);
	TYPE(value, __u64);
	UINT(max_entries, 1);
} number SECTION(".maps");

struct udp {
	__u16 source, destination, length, checksum;
};

/* draft-ietf-intarea-gue section 3.1: two bits of version, the control bit, five bits of header words behind this one. */
struct gue {
	__u8 version_control_words, protocol;
	__u16 flags;
};

enum { IPV4_INSIDE = 4, UDP = 17, IPV6_INSIDE = 41 };
enum { ETHERNET = 14, TAG = 4 };

/* What a packet is to us. */
enum finding {
	OTHER,   /* no tunnel packet, or not sent to one of our tunnel addresses */
	DAMAGED, /* a tunnel packet to us that nobody could take */
	FOUND,
};

/* What is known of a packet so far. Offsets are from its start. */
struct tunnel {
	__u32 link;  /* length of the link header with its tags: where the outer header begins */
	__u32 at;    /* where what is looked at next begins: at last the inner header */
	__u32 end;   /* where the outer packet's payload ends */
	__u8 next;   /* protocol of what begins there */
	__u8 inner;  /* 4 or 6 */
	struct outer outer;
};

/* Read anew each time: a copy of the 32 bits that the compiler keeps for later is no packet pointer to the verifier. */
INLINE void *start(struct xdp_md *ctx)
{
	return (void *)(long)*(volatile __u32 *)&ctx->data;
}

INLINE void *end(struct xdp_md *ctx)
{
	return (void *)(long)*(volatile __u32 *)&ctx->data_end;
}

INLINE void *bytes_at(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	void *bytes = start(ctx) + offset;

	return bytes + length > end(ctx) ? 0 : bytes;
}

INLINE void count(__u32 which)
{
	__u64 *counter = map_lookup(&counters, &which);

	if (counter)
		*counter += 1;
}

/* The same order as in src/layout.rs. */
INLINE __u32 taken(const struct tunnel *t)
{
	return t->outer.kind * 4u + (t->outer.family == 6) * 2u + (t->inner == 6);
}

INLINE int may_be_tunnel(__u8 protocol)
{
	return protocol == IPV4_INSIDE || protocol == IPV6_INSIDE || protocol == UDP;
}

INLINE int is_ours(const struct outer *o)
{
	struct address key = {
		.family = o->family,
		.bytes = {o->destination[0], o->destination[1], o->destination[2], o->destination[3]},
	};

	return map_lookup(&addresses, &key) != 0;
}

/* RFC 1071 over a header without options: 0 when it is right. */
INLINE __u16 checksum4(const struct ipv4 *h)
{
	const __u16 *word = (const __u16 *)h;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* Ethernet and up to two VLAN tags. Returns the EtherType in network order, 0 when there is none. */
INLINE __u16 read_link(struct xdp_md *ctx, struct tunnel *t)
{
	t->link = ETHERNET;
	__u16 *type = bytes_at(ctx, ETHERNET - 2, 2);

#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (!type || (*type != BE16(0x8100) && *type != BE16(0x88a8)))
			break;
		t->link += TAG;
		type = bytes_at(ctx, t->link - 2, 2);
	}
	return type ? *type : 0;
}

INLINE enum finding read_outer4(struct xdp_md *ctx, struct tunnel *t)
{
	struct ipv4 *h = bytes_at(ctx, t->link, sizeof(*h));

	/* With options or in fragments (more to come, or an offset): the kernel's. */
	if (!h || h->version_words != 0x45 || (h->fragment & BE16(0x3fff)) || !may_be_tunnel(h->protocol))
		return OTHER;
	t->outer.family = 4;
	t->outer.service = h->service;
	t->outer.source[0] = h->source;
	t->outer.destination[0] = h->destination;
	t->next = h->protocol;
	t->at = t->link + sizeof(*h);
	t->end = t->link + BE16(h->length);
	if (!is_ours(&t->outer))
		return OTHER;
	return checksum4(h) || t->end < t->at ? DAMAGED : FOUND;
}

INLINE enum finding read_outer6(struct xdp_md *ctx, struct tunnel *t)
{
	struct ipv6 *h = bytes_at(ctx, t->link, sizeof(*h));

	/* With extension headers, fragments among them: the kernel's. */
	if (!h || h->version_class >> 4 != 6 || !may_be_tunnel(h->next))
		return OTHER;
	t->outer.family = 6;
	t->outer.service = (__u8)(h->version_class << 4 | h->class_flow >> 4);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		t->outer.source[i] = h->source[i];
		t->outer.destination[i] = h->destination[i];
	}
	t->next = h->next;
	t->at = t->link + sizeof(*h);
	t->end = t->at + BE16(h->length);
	return is_ours(&t->outer) ? FOUND : OTHER;
}

/* The UDP checksum is not verified: the inner packet's own checksums cover what is delivered (RFC 6935, RFC 6936). */
INLINE enum finding read_gue(struct xdp_md *ctx, struct tunnel *t)
{
	__u32 zero = 0;
	struct settings *s = map_lookup(&settings, &zero);
	struct udp *u = bytes_at(ctx, t->at, sizeof(*u));

	if (!s || !s->gue_port || !u || u->destination != s->gue_port)
		return OTHER;
	__u32 length = BE16(u->length);

	if (length < sizeof(*u) || t->at + length > t->end)
		return DAMAGED;
	t->outer.port = u->source;
	t->end = t->at + length;
	t->at += sizeof(*u);

	struct gue *g = bytes_at(ctx, t->at, sizeof(*g));

	if (!g)
		return DAMAGED;
	if (g->version_control_words >> 6 == 1) {
		/* Variant 1 (section 4): an IP header at once, whose version begins with the same two bits. */
		t->outer.kind = GUE_1;
		t->next = g->version_control_words >> 4 == 4 ? IPV4_INSIDE : IPV6_INSIDE;
		return FOUND;
	}
	/* Variant 0 without control messages, optional fields or private data: nothing else is agreed with the balancer. */
	if (g->version_control_words || g->flags)
		return DAMAGED;
	t->outer.kind = GUE_0;
	t->next = g->protocol;
	t->at += sizeof(*g);
	return FOUND;
}

/* The inner header is whole, of the version that was said, and its packet fits into the outer's payload. */
INLINE enum finding read_inner(struct xdp_md *ctx, struct tunnel *t)
{
	__u32 length;

	if (t->next == IPV4_INSIDE) {
		struct ipv4 *h = bytes_at(ctx, t->at, sizeof(*h));

		if (!h || h->version_words >> 4 != 4)
			return DAMAGED;
		t->inner = 4;
		length = BE16(h->length);
		if (length < sizeof(*h))
			return DAMAGED;
	} else if (t->next == IPV6_INSIDE) {
		struct ipv6 *h = bytes_at(ctx, t->at, sizeof(*h));

		if (!h || h->version_class >> 4 != 6)
			return DAMAGED;
		t->inner = 6;
		length = sizeof(*h) + BE16(h->length);
	} else {
		return DAMAGED;
	}
	if (t->at + length > t->end || start(ctx) + t->end > end(ctx))
		return DAMAGED;
	return FOUND;
}

INLINE enum finding find(struct xdp_md *ctx, struct tunnel *t)
{
	__u16 type = read_link(ctx, t);
	enum finding outer = OTHER;

	if (type == BE16(0x0800))
		outer = read_outer4(ctx, t);
	else if (type == BE16(0x86dd))
		outer = read_outer6(ctx, t);
	if (outer == FOUND && t->next == UDP)
		outer = read_gue(ctx, t);
	return outer == FOUND ? read_inner(ctx, t) : outer;
}

enum { NOT_ECT, ECT_1, ECT_0, CE };

/* RFC 6040 section 4.2, figure 4: the inner packet's ECN field afterwards; negative: drop it. */
INLINE int merged_ecn(__u8 inner, __u8 outer)
{
	if (outer == CE)
		return inner == NOT_ECT ? -1 : CE;
	return outer == ECT_1 && inner == ECT_0 ? ECT_1 : inner;
}

/* The ECN field of the inner header at `at`; 0 when it is not there. */
INLINE __u8 inner_ecn(struct xdp_md *ctx, __u32 at, __u8 family)
{
	__u8 *h = bytes_at(ctx, at, 2);

	if (!h)
		return 0;
	return family == 4 ? h[1] & 3 : h[1] >> 4 & 3;
}

/* Writes the ECN field of the inner header at `at`, which begins there whole. */
INLINE int mark(struct xdp_md *ctx, __u32 at, __u8 family, __u8 ecn)
{
	if (family == 6) {
		__u8 *h = bytes_at(ctx, at, 2);

		if (!h)
			return -1;
		h[1] = (__u8)((h[1] & 0xcf) | ecn << 4);
		return 0;
	}
	struct ipv4 *h = bytes_at(ctx, at, sizeof(*h));

	if (!h)
		return -1;
	__u16 before = *(__u16 *)h;

	h->service = (__u8)((h->service & 0xfc) | ecn);
	if (*(__u16 *)h == before)
		return 0;
	/* RFC 1624, equation 3. A sum of ones' complement does not mind the byte order. */
	__u32 sum = (__u16)~h->checksum + (__u32)(__u16)~before + *(__u16 *)h;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	h->checksum = (__u16)~sum;
	return 0;
}

/* Moves the link header of `link` bytes, a constant, in front of the inner header. Negative: nothing has changed. */
INLINE int strip(struct xdp_md *ctx, const __u32 link, const struct tunnel *t)
{
	__u8 kept[ETHERNET + 2 * TAG - 2];
	__u8 *bytes = bytes_at(ctx, 0, link);

	if (!bytes)
		return -1;
#pragma unroll
	for (__u32 i = 0; i < link - 2; i++)
		kept[i] = bytes[i];
	if (adjust_head(ctx, (int)(t->at - link)))
		return -1;
	bytes = bytes_at(ctx, 0, link);
	if (!bytes)
		return 0; /* never: the inner header is behind it */
#pragma unroll
	for (__u32 i = 0; i < link - 2; i++)
		bytes[i] = kept[i];
	*(__u16 *)(bytes + link - 2) = t->inner == 4 ? BE16(0x0800) : BE16(0x86dd);
	return 0;
}

INLINE int strip_any(struct xdp_md *ctx, const struct tunnel *t)
{
	switch (t->link) {
	case ETHERNET:
		return strip(ctx, ETHERNET, t);
	case ETHERNET + TAG:
		return strip(ctx, ETHERNET + TAG, t);
	default:
		return strip(ctx, ETHERNET + 2 * TAG, t);
	}
}

/* Two processors write the same slot at once only when one lags by a whole ring: its readers want a sample. */
INLINE void remember(struct outer *outer)
{
	__u32 zero = 0;
	__u64 *last = map_lookup(&number, &zero);

	if (!last)
		return;
	outer->number = __sync_fetch_and_add(last, 1) + 1;
	__u32 slot = outer->number % OUTERS;
	struct outer *place = map_lookup(&outers, &slot);

	if (place)
		*place = *outer;
}

SECTION("xdp") int decap(struct xdp_md *ctx)
{
	struct tunnel t = {};
	enum finding finding = find(ctx, &t);

	if (finding != FOUND) {
		count(finding == OTHER ? PASSED : REFUSED);
		return XDP_PASS;
	}
	int ecn = merged_ecn(inner_ecn(ctx, t.at, t.inner), t.outer.service & 3);

	if (ecn < 0) {
		count(DROPPED_ECN);
		return XDP_DROP;
	}
	if (strip_any(ctx, &t)) {
		count(REFUSED);
		return XDP_PASS;
	}
	if (mark(ctx, t.link, t.inner, (__u8)ecn))
		return XDP_ABORTED; /* never: the inner header is there */
	remember(&t.outer);
	count(taken(&t));
	return XDP_PASS;
}

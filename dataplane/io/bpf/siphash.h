/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The front's hash: SipHash-1-3 (Aumasson and Bernstein, 2012) over the 37 bytes that dataplane/pick writes down: source and
 * destination address, source and destination port, protocol. tests/siphash.rs holds it against that crate's vectors. */
#ifndef RINGLEAD_SIPHASH_H
#define RINGLEAD_SIPHASH_H

#include "address.h"

/* A flow, seen from its client. Ports are in network order. */
struct flow {
	union address client;
	union address service;
	__u16 client_port;
	__u16 service_port;
	__u8 protocol;
};

struct sip {
	__u64 v0, v1, v2, v3;
};

INLINE __u64 rotate(__u64 x, int by)
{
	return x << by | x >> (64 - by);
}

INLINE void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
}

INLINE void sip_word(struct sip *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

/* `k0` and `k1` are the key's halves, as numbers. */
INLINE __u64 flow_hash(__u64 k0, __u64 k1, const struct flow *f)
{
	struct sip s = {
		k0 ^ 0x736f6d6570736575ULL,
		k1 ^ 0x646f72616e646f6dULL,
		k0 ^ 0x6c7967656e657261ULL,
		k1 ^ 0x7465646279746573ULL,
	};
	/* What is behind the addresses: two ports, the protocol, and the number of bytes as the last one. */
	__u64 rest = (__u64)LE16(f->client_port) | (__u64)LE16(f->service_port) << 16 | (__u64)f->protocol << 32 | 37ULL << 56;

	sip_word(&s, LE64(f->client.halves[0]));
	sip_word(&s, LE64(f->client.halves[1]));
	sip_word(&s, LE64(f->service.halves[0]));
	sip_word(&s, LE64(f->service.halves[1]));
	sip_word(&s, rest);
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif

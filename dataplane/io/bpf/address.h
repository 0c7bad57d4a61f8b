/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* An address of either family, as every map and the front's hash have it. */
#ifndef RINGLEAD_ADDRESS_H
#define RINGLEAD_ADDRESS_H

#include "kernel.h"

/* IPv4 as ::ffff:a.b.c.d. */
union address {
	__u8 bytes[16];
	__u32 words[4];
	__u64 halves[2];
};

INLINE void map_v4(union address *to, __u32 address)
{
	to->words[0] = 0;
	to->words[1] = 0;
	to->words[2] = BE32(0xffff);
	to->words[3] = address;
}

INLINE int is_mapped(const union address *a)
{
	return !(a->words[0] | a->words[1]) && a->words[2] == BE32(0xffff);
}

#endif

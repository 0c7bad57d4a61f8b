/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* IP headers as they stand on the wire; every number in network order. */
#ifndef RINGLEAD_IP_H
#define RINGLEAD_IP_H

#include "kernel.h"

/* RFC 791 section 3.1. */
struct ipv4 {
	__u8 version_words, service;
	__u16 length, id, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, destination;
};

/* RFC 8200 section 3. */
struct ipv6 {
	__u8 version_class, class_flow, flow[2];
	__u16 length;
	__u8 next, hops;
	__u32 source[4], destination[4];
};

#endif

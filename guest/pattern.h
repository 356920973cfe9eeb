/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every 8 bytes of the test disk must contain: a function of the place on
 * the disk, so that a block that went astray is found as well as one that was
 * damaged. Used in the guest and, on the image afterwards, by the host.
 */
#ifndef PATTERN_H
#define PATTERN_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stddef.h>
#include <stdint.h>
#endif

static inline uint64_t pattern(uint64_t offset)
{
	uint64_t x = offset + 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline void pattern_fill(void *buf, uint64_t offset, size_t len)
{
	uint64_t *p = buf;

	for (size_t i = 0; i < len / 8; i++)
		p[i] = pattern(offset + 8 * i);
}

/* Number of bytes that differ from the pattern, in units of 8 */
static inline uint64_t pattern_mismatches(const void *buf, uint64_t offset,
					  size_t len)
{
	const uint64_t *p = buf;
	uint64_t bad = 0;

	for (size_t i = 0; i < len / 8; i++)
		if (p[i] != pattern(offset + 8 * i))
			bad += 8;
	return bad;
}

#endif /* PATTERN_H */

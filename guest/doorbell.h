/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The doorbell: a device that does with a piece of memory what the guest asks for,
 * and says whether it could. It has 8 banks of registers of 8 bytes each, one for
 * every CPU, and a page of memory of its own behind them.
 *
 * A guest writes DB_ADDR, DB_LEN and DB_SEED and then a command to DB_CMD. When that
 * write is done the command is, too, and DB_STATUS tells what came of it. The memory
 * is compared with or filled with doorbell_byte(seed, 0), doorbell_byte(seed, 1), ...
 *
 * Shared by the vmm, the test module of the guest and its init.
 */
#ifndef DOORBELL_H
#define DOORBELL_H

#include "pattern.h"

#define DB_BANKS	8
#define DB_BANK_SIZE	0x100
#define DB_MEMORY	0x1000		/* a page of memory, for peers to reach */
#define DB_MEMORY_SIZE	0x1000
#define DB_SIZE		0x2000

/* What init leaves behind in memory that it frees, and the host must not find */
#define DB_SECRET	0x5ec2e75ec2e75ec2ULL

/* Offsets in a bank */
#define DB_ID		0x00	/* reads as DB_ID_VALUE */
#define DB_KIND		0x08	/* reads as a set of DB_KIND_* */
#define DB_ADDR		0x10
#define DB_LEN		0x18	/* DB_MAX_LEN at most */
#define DB_SEED		0x20
#define DB_CMD		0x28	/* write only */
#define DB_STATUS	0x30	/* read only */
#define DB_ALIAS	0x38	/* reads as the bit by which memory has two addresses, or 0 */

#define DB_BITS		0x40	/* reads as how many bits of an address the device has */

#define DB_ID_VALUE	0x6c6c6562726f6f64ULL	/* "doorbell" */
#define DB_MAX_LEN	(1 << 20)

#define DB_KIND_PROTECTED	(1 << 0)	/* the guest's memory is private */
#define DB_KIND_REALM		(1 << 1)	/* in a realm */
#define DB_KIND_TRUSTED		(1 << 2)	/* this device reaches private memory only */
#define DB_KIND_C_BIT		(1 << 3)	/* the bit of DB_ALIAS is that of private memory */

enum {
	DB_CMD_LOAD	= 1,	/* read the memory and compare it with the pattern */
	DB_CMD_STORE	= 2,	/* fill the memory with the pattern */
	/*
	 * The same, for an address that the device must not reach. A fault is the
	 * answer that is wanted, and the vmm counts it as such; it counts it as a
	 * mistake if there is none.
	 */
	DB_CMD_LOAD_FAULT  = 3,
	DB_CMD_STORE_FAULT = 4,
	/* DB_SEED to DB_LEN bytes is what the guest says it shares now */
	DB_CMD_SHARED	= 5,
	/* Nothing that init has left in memory is in what it shares now */
	DB_CMD_SECRETS	= 6,
};

enum {
	DB_STATUS_OK		= 0,
	DB_STATUS_FAULT		= 1,	/* no byte was stored */
	DB_STATUS_DIFFERS	= 2,	/* loaded, but it is not the pattern */
	DB_STATUS_INVALID	= 3,	/* no such command, or too long */
};

/* What is written to /dev/doorbellN: a command for the buffer that it maps */
struct doorbell_request {
	uint64_t cmd, seed, len;
};

static inline unsigned char doorbell_byte(uint64_t seed, uint64_t i)
{
	return pattern(seed + i / 8) >> (i % 8 * 8);
}

#endif /* DOORBELL_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * The doorbell device, see ../doorbell.h.
 */
#include <stdlib.h>
#include <string.h>

#include "../doorbell.h"
#include "vmm.h"

struct doorbell {
	struct {
		uint64_t addr, len, seed, status;
	} bank[DB_BANKS];
	unsigned char	memory[DB_MEMORY_SIZE];
	unsigned char	buf[DB_MAX_LEN];
};

static uint64_t ring(struct device *dev, unsigned int bank, uint64_t cmd)
{
	struct doorbell *db = dev->priv;
	const uint64_t addr = db->bank[bank].addr, len = db->bank[bank].len;
	const uint64_t seed = db->bank[bank].seed;
	const bool store = cmd == DB_CMD_STORE || cmd == DB_CMD_STORE_FAULT;
	const bool fault = cmd == DB_CMD_LOAD_FAULT || cmd == DB_CMD_STORE_FAULT;

	if (cmd == DB_CMD_SHARED) {
		dev->vmm->shared_asked = true;
		dev->vmm->shared_least = seed;
		dev->vmm->shared_most = len;
		dev->vmm->shared_found = guest_shared(dev->vmm);
		return DB_STATUS_OK;
	}
	if (cmd == DB_CMD_SECRETS) {
		dev->vmm->secrets_asked = true;
		guest_shared(dev->vmm);
		return DB_STATUS_OK;
	}
	if (cmd < DB_CMD_LOAD || cmd > DB_CMD_STORE_FAULT || len > sizeof(db->buf))
		return DB_STATUS_INVALID;
	for (uint64_t i = 0; store && i < len; i++)
		db->buf[i] = doorbell_byte(seed, i);
	if (!(fault ? device_dma_fault : device_dma)(dev, addr, db->buf, len, store))
		return DB_STATUS_FAULT;
	for (uint64_t i = 0; !store && i < len; i++)
		if (db->buf[i] != doorbell_byte(seed, i))
			return DB_STATUS_DIFFERS;
	return DB_STATUS_OK;
}

static uint64_t doorbell_read(struct device *dev, uint64_t offset, unsigned int len)
{
	struct doorbell *db = dev->priv;
	unsigned int bank = offset / DB_BANK_SIZE;
	uint64_t kind = 0;

	(void)len;
	if (bank >= DB_BANKS)
		return 0;
	if (has_private(dev->vmm))
		kind |= DB_KIND_PROTECTED;
	if (dev->vmm->kind == REALM)
		kind |= DB_KIND_REALM;
	if (dev->trusted)
		kind |= DB_KIND_TRUSTED;
	if (dev->vmm->alias_bit && dev->vmm->bit_is_private)
		kind |= DB_KIND_C_BIT;
	switch (offset % DB_BANK_SIZE) {
	case DB_ID:	return DB_ID_VALUE;
	case DB_KIND:	return kind;
	case DB_STATUS:	return db->bank[bank].status;
	case DB_BITS:	return dev->addr_bits ?: 64;
	case DB_ALIAS:	return dev->vmm->alias_bit;
	default:	return 0;
	}
}

static void doorbell_write(struct device *dev, uint64_t offset, uint64_t value)
{
	struct doorbell *db = dev->priv;
	unsigned int bank = offset / DB_BANK_SIZE;

	if (bank >= DB_BANKS)
		return;
	switch (offset % DB_BANK_SIZE) {
	case DB_ADDR:	db->bank[bank].addr = value; break;
	case DB_LEN:	db->bank[bank].len = value; break;
	case DB_SEED:	db->bank[bank].seed = value; break;
	case DB_CMD:	db->bank[bank].status = ring(dev, bank, value); break;
	}
}

static void *doorbell_memory(struct device *dev, uint64_t offset, size_t len)
{
	struct doorbell *db = dev->priv;

	if (offset < DB_MEMORY || offset - DB_MEMORY + len > DB_MEMORY_SIZE)
		return NULL;
	return db->memory + (offset - DB_MEMORY);
}

struct device *doorbell_new(const char *name, uint64_t base, bool trusted, bool coherent)
{
	struct device *dev = xcalloc(1, sizeof(*dev));

	*dev = (struct device) {
		.name = name, .base = base, .size = DB_SIZE, .trusted = trusted,
		.coherent = coherent, .compatible = "dma,doorbell",
		.read = doorbell_read, .write = doorbell_write,
		.memory = doorbell_memory,
		.priv = xcalloc(1, sizeof(struct doorbell)),
	};
	return dev;
}

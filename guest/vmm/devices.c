// SPDX-License-Identifier: GPL-2.0
/*
 * The devices of a guest: which registers are whose, and their way to memory. All
 * that a device is refused is counted here, and said.
 */
#include <string.h>

#include "vmm.h"

/* Only so many faults are worth a line each */
#define FAULTS_SAID	8

void device_add(struct vmm *vmm, struct device *dev)
{
	if (vmm->nr_devices == MAX_DEVICES)
		die("too many devices");
	dev->vmm = vmm;
	vmm->devices[vmm->nr_devices++] = dev;
}

static struct device *device_at(struct vmm *vmm, uint64_t addr, size_t len)
{
	for (unsigned int i = 0; i < vmm->nr_devices; i++) {
		struct device *dev = vmm->devices[i];

		if (addr >= dev->base && addr + len <= dev->base + dev->size)
			return dev;
	}
	return NULL;
}

bool device_mmio(struct vmm *vmm, uint64_t addr, void *data, unsigned int len, bool write)
{
	struct device *dev = device_at(vmm, addr, len);
	uint64_t value = 0;
	char *memory;

	if (!dev)
		return false;
	pthread_mutex_lock(&vmm->lock);
	memory = dev->memory ? dev->memory(dev, addr - dev->base, len) : NULL;
	if (write)
		memcpy(&value, data, len);
	if (memory && write)
		memcpy(memory, &value, len);
	else if (memory)
		memcpy(&value, memory, len);
	else if (write)
		dev->write(dev, addr - dev->base, value);
	else
		value = dev->read(dev, addr - dev->base, len);
	if (!write)
		memcpy(data, &value, len);
	pthread_mutex_unlock(&vmm->lock);
	return true;
}

/* Where memory has two aliases, a trusted device uses the private ones, no other does */
static bool dma(struct device *dev, uint64_t addr, void *buf, size_t len, bool write,
		const char **why)
{
	struct vmm *vmm = dev->vmm;
	bool private = dev->trusted;
	struct device *peer;
	char *memory;

	if (dev->addr_bits && len && (addr + len - 1) >> dev->addr_bits) {
		*why = "is more than the device can say";
		return false;
	}
	if (vmm->alias_bit) {
		private = !!(addr & vmm->alias_bit) == vmm->bit_is_private;
		if (private != dev->trusted && !vmm->any_alias) {
			*why = private ? "is that of private memory" :
					 "is that of shared memory";
			return false;
		}
		addr &= ~vmm->alias_bit;
	}
	if (addr >= vmm->ram_base && len <= vmm->ram_size &&
	    addr - vmm->ram_base <= vmm->ram_size - len)
		return guest_copy(vmm, addr, private, buf, len, write, why);

	peer = device_at(vmm, addr, len);
	memory = peer && peer->memory ? peer->memory(peer, addr - peer->base, len) : NULL;
	if (!memory) {
		*why = "is neither RAM nor a peer's memory";
		return false;
	}
	if (write)
		memcpy(memory, buf, len);
	else
		memcpy(buf, memory, len);
	return true;
}

bool device_dma(struct device *dev, uint64_t addr, void *buf, size_t len, bool write)
{
	const char *why = NULL;

	dev->accesses++;
	if (dma(dev, addr, buf, len, write, &why)) {
		dev->bytes += len;
		return true;
	}
	if (dev->faults++ < FAULTS_SAID)
		say("fault device=%s %s=%zu at=%#llx why=\"%s\"", dev->name,
		    write ? "store" : "load", len, (unsigned long long)addr, why);
	return false;
}

bool device_dma_fault(struct device *dev, uint64_t addr, void *buf, size_t len, bool write)
{
	struct vmm *vmm = dev->vmm;
	const char *why = NULL;

	if (!dma(dev, addr, buf, len, write, &why)) {
		vmm->wanted_faults++;
		return false;
	}
	if (vmm->missed_faults++ < FAULTS_SAID)
		say("missed device=%s %s=%zu at=%#llx", dev->name,
		    write ? "store" : "load", len, (unsigned long long)addr);
	return true;
}

int verdict(struct vmm *vmm)
{
	bool bad = vmm->missed_faults || vmm->cpu_faults;

	for (unsigned int i = 0; i < vmm->nr_devices; i++) {
		struct device *dev = vmm->devices[i];
		uint64_t written, mismatches;

		if (!dev->accesses)
			continue;
		bad |= dev->faults;
		say("dma device=%s trusted=%d accesses=%llu bytes=%llu faults=%llu",
		    dev->name, dev->trusted, (unsigned long long)dev->accesses,
		    (unsigned long long)dev->bytes, (unsigned long long)dev->faults);
		mismatches = virtio_blk_mismatches(dev, &written);
		if (!written)
			continue;
		bad |= mismatches;
		say("disk device=%s written=%llu mismatched=%llu", dev->name,
		    (unsigned long long)written, (unsigned long long)mismatches);
	}
	say("negative wanted=%llu missed=%llu",
	    (unsigned long long)vmm->wanted_faults,
	    (unsigned long long)vmm->missed_faults);
	say("cpu faults=%llu", (unsigned long long)vmm->cpu_faults);
	if (vmm->secrets_asked) {
		say("secrets found=%llu of=%llu", (unsigned long long)vmm->secrets,
		    (unsigned long long)vmm->looked_at);
		bad |= vmm->secrets || !vmm->looked_at;
	}
	if (vmm->shared_asked) {
		say("shared least=%llu most=%llu found=%llu",
		    (unsigned long long)vmm->shared_least,
		    (unsigned long long)vmm->shared_most,
		    (unsigned long long)vmm->shared_found);
		bad |= has_private(vmm) && (vmm->shared_found < vmm->shared_least ||
					    vmm->shared_found > vmm->shared_most);
	}
	say("result=%s", bad ? "FAIL" : "PASS");
	return bad;
}

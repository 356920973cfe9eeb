// SPDX-License-Identifier: GPL-2.0
/*
 * An Arm CCA realm without the hardware: a plain KVM guest whose Realm Services
 * Interface is answered here, after the RMM specification (DEN0137).
 *
 * The guest's memory has two aliases, at its address and at that with the shared bit.
 * Each page is behind one of them at a time, as its RIPAS (realm IPA state) says; the
 * mapping of the other is closed, so that a CPU that uses it stops. What a page held
 * is lost when its state changes.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arm64.h"

#define RSI_FID(n)		(0xc4000000 + (n))
#define RSI_ABI_VERSION		RSI_FID(0x190)
#define RSI_REALM_CONFIG	RSI_FID(0x196)
#define RSI_IPA_STATE_SET	RSI_FID(0x197)
#define RSI_IPA_STATE_GET	RSI_FID(0x198)

#define RSI_VERSION_1_0		0x10000
#define RSI_SUCCESS		0
#define RSI_ERROR_INPUT		1
#define RSI_ACCEPT		0
#define RSI_REJECT		1

enum ripas { EMPTY, RAM, DESTROYED, DEV };

static unsigned char *ripas;		/* one a granule of RAM */
static char *alias[2];			/* what the CPUs see: protected, unprotected */
static uint64_t changes, rejected, changed_bytes;

static void set_state(struct vmm *vmm, uint64_t base, uint64_t top, enum ripas state)
{
	for (uint64_t at = base - vmm->ram_base; at < top - vmm->ram_base; at += GRANULE) {
		if (ripas[at / GRANULE] == state)
			continue;
		/* The guest must not count on finding anything there */
		memset(vmm->ram + at, 0x5a, GRANULE);
		ripas[at / GRANULE] = state;
		changed_bytes += GRANULE;
	}
	for (int i = 0; i < 2; i++)
		if (mprotect(alias[i] + (base - vmm->ram_base), top - base,
			     (i == 1) == (state == EMPTY) ? PROT_READ | PROT_WRITE : PROT_NONE))
			die("cannot change the state of memory");
}

/* Private, but for what is to be shared from the start */
void realm_make_memory(struct arm64 *a, uint64_t shared_offset, uint64_t shared_size)
{
	struct vmm *vmm = &a->vmm;
	int fd = memfd_create("realm", MFD_CLOEXEC);
	char **map[] = { &vmm->ram, &alias[0], &alias[1] };

	if (fd < 0 || ftruncate(fd, vmm->ram_size))
		die("no memory for a realm");
	for (int i = 0; i < 3; i++) {
		*map[i] = mmap(NULL, vmm->ram_size, i == 2 ? PROT_NONE : PROT_READ | PROT_WRITE,
			       MAP_SHARED, fd, 0);
		if (*map[i] == MAP_FAILED)
			die("cannot map a realm's memory");
	}
	vmm->alias_bit = 1ULL << (a->ipa_bits - 1);
	ripas = xcalloc(vmm->ram_size / GRANULE, 1);
	memset(ripas, RAM, vmm->ram_size / GRANULE);
	if (shared_size)
		set_state(vmm, vmm->ram_base + shared_offset,
			  vmm->ram_base + shared_offset + shared_size, EMPTY);
}

void realm_add_slots(struct arm64 *a)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct kvm_userspace_memory_region slot = {
			.slot = i, .memory_size = a->vmm.ram_size,
			.guest_phys_addr = a->vmm.ram_base | (i ? a->vmm.alias_bit : 0),
			.userspace_addr = (uintptr_t)alias[i],
		};

		XIOCTL(a->vm, KVM_SET_USER_MEMORY_REGION, &slot);
	}
}

static uint64_t reg(int vcpu, unsigned int nr, const uint64_t *set)
{
	uint64_t value = set ? *set : 0;
	struct kvm_one_reg r = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      (offsetof(struct kvm_regs, regs.regs[0]) / sizeof(uint32_t) + nr * 2),
		.addr = (uintptr_t)&value,
	};

	if (set)
		XIOCTL(vcpu, KVM_SET_ONE_REG, &r);
	else
		XIOCTL(vcpu, KVM_GET_ONE_REG, &r);
	return value;
}

static bool in_ram(struct vmm *vmm, uint64_t base, uint64_t top)
{
	return base % GRANULE == 0 && top % GRANULE == 0 && base >= vmm->ram_base &&
		top > base && top - vmm->ram_base <= vmm->ram_size;
}

static void state_set(struct arm64 *a, const uint64_t *x, uint64_t *ret)
{
	struct vmm *vmm = &a->vmm;
	uint64_t base = x[1], top = x[2];

	ret[1] = base;
	if (!in_ram(vmm, base, top) || x[3] > RAM) {
		ret[0] = RSI_ERROR_INPUT;
		return;
	}
	/* The first ones are the guest's claim on all of its memory */
	if (x[3] != RAM || top - base != vmm->ram_size)
		changes++;
	if (a->reject && changes == a->reject) {
		a->reject = 0;
		rejected++;
		say("rejected change=%llu state=%s base=%#llx bytes=%llu",
		    (unsigned long long)changes, x[3] == EMPTY ? "shared" : "private",
		    (unsigned long long)base, (unsigned long long)(top - base));
		ret[2] = RSI_REJECT;
		return;
	}
	/* An RMM may do a part and be asked for the rest */
	if (a->partial && top - base > a->partial)
		top = base + a->partial;
	set_state(vmm, base, top, x[3]);
	ret[1] = top;
	ret[2] = RSI_ACCEPT;
}

/* What is not RAM is emulated by the host, but for what a trusted device has */
static enum ripas state_of(struct vmm *vmm, uint64_t at)
{
	if (in_ram(vmm, at, at + GRANULE))
		return ripas[(at - vmm->ram_base) / GRANULE];
	for (unsigned int i = 0; i < vmm->nr_devices; i++) {
		struct device *dev = vmm->devices[i];

		if (dev->trusted && at >= dev->base / GRANULE * GRANULE &&
		    at < dev->base + dev->size)
			return DEV;
	}
	return EMPTY;
}

static void state_get(struct arm64 *a, const uint64_t *x, uint64_t *ret)
{
	uint64_t at = x[1], top = x[2];
	enum ripas state = state_of(&a->vmm, at);

	if (at % GRANULE || top <= at) {
		ret[0] = RSI_ERROR_INPUT;
		return;
	}
	do
		at += GRANULE;
	while (at < top && state_of(&a->vmm, at) == state);
	ret[1] = at;
	ret[2] = state;
}

void realm_call(struct arm64 *a, int vcpu, uint64_t function)
{
	uint64_t x[5], ret[4] = { RSI_SUCCESS };
	struct vmm *vmm = &a->vmm;

	for (int i = 1; i < 5; i++)
		x[i] = reg(vcpu, i, NULL);
	pthread_mutex_lock(&vmm->lock);
	switch (function) {
	case RSI_ABI_VERSION:
		ret[1] = ret[2] = RSI_VERSION_1_0;
		break;
	case RSI_REALM_CONFIG:
		if (in_ram(vmm, x[1], x[1] + GRANULE)) {
			memset(vmm->ram + (x[1] - vmm->ram_base), 0, GRANULE);
			*(uint64_t *)(vmm->ram + (x[1] - vmm->ram_base)) = a->ipa_bits;
		} else {
			ret[0] = RSI_ERROR_INPUT;
		}
		break;
	case RSI_IPA_STATE_SET:
		state_set(a, x, ret);
		break;
	case RSI_IPA_STATE_GET:
		state_get(a, x, ret);
		break;
	default:
		ret[0] = -1;		/* SMCCC: not supported */
	}
	pthread_mutex_unlock(&vmm->lock);
	for (int i = 0; i < 4; i++)
		reg(vcpu, i, &ret[i]);
}

bool realm_copy(struct arm64 *a, uint64_t gpa, bool private, void *buf, size_t len,
		bool write, const char **why)
{
	uint64_t at = gpa - a->vmm.ram_base;
	enum ripas wanted = private ? RAM : EMPTY;

	for (uint64_t g = at / GRANULE; g <= (at + len - 1) / GRANULE && len; g++) {
		if (ripas[g] == wanted)
			continue;
		*why = private ? "is shared" : "is private";
		return false;
	}
	if (write)
		memcpy(a->vmm.ram + at, buf, len);
	else
		memcpy(buf, a->vmm.ram + at, len);
	return true;
}

uint64_t realm_shared(struct arm64 *a)
{
	uint64_t n = 0;

	for (uint64_t g = 0; g < a->vmm.ram_size / GRANULE; g++)
		n += ripas[g] == EMPTY;
	return n * GRANULE;
}

void realm_say(struct arm64 *a)
{
	say("states changes=%llu bytes=%llu rejected=%llu shared=%llu",
	    (unsigned long long)changes, (unsigned long long)changed_bytes,
	    (unsigned long long)rejected, (unsigned long long)realm_shared(a));
}

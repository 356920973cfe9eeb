// SPDX-License-Identifier: GPL-2.0
/*
 * An SEV guest without the hardware: a plain KVM guest whose memory has two aliases, at
 * its address and at that with the C-bit, which hold different bytes. The guest says
 * with KVM_HC_MAP_GPA_RANGE which pages it shares; they are to be used without the
 * C-bit, all others with it. The other alias of each is closed, so that a CPU that uses
 * it stops. What a page held is lost when its state changes, in the alias that is left;
 * the other one has been written already when the guest converts memory in place.
 *
 * Until KVM_MIGRATION_READY, when the guest has said which pages of its image it shares,
 * both aliases are the same memory. They stay it below 1 MiB, as processors that start
 * there do not use the C-bit, where real ones see private memory without it, too. A
 * device is refused all of that, since it is private.
 *
 * An SME host has the two aliases as well, but nobody to keep its memory from: nothing
 * is closed. Its devices use both, by the address.
 */
#define _GNU_SOURCE
#include <linux/kvm_para.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "x86.h"

#define FIRST_GPA	MIB		/* below it both aliases are the same */

static unsigned char *shared;		/* one a granule: 0, 1, or SHARED_EARLY */
#define SHARED_EARLY	2		/* by the kernel and KVM, not by the DMA layer */
static char *alias[2];			/* what the CPUs see: with C-bit, without */
static bool enforcing;
static uint64_t changes, changed_bytes, in_place;
/* A page converted in place: opened when it was touched, to be announced next */
static uint64_t opened, opened_by;	/* the address with the C-bit, if any; rip */

/* The first violation ends the run */
static void violation(struct x86 *x86, uint64_t gpa, uint64_t rip)
{
	say("cpu fault: a CPU used memory through the wrong alias gpa=%#llx rip=%#llx",
	    (unsigned long long)gpa, (unsigned long long)rip);
	x86->vmm.cpu_faults++;
	opened = 0;
	memory_say(x86);
	exit(verdict(&x86->vmm));
}

void memory_make(struct x86 *x86)
{
	struct vmm *vmm = &x86->vmm;
	int fd = memfd_create("guest", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, vmm->ram_size))
		die("no memory for a guest");
	for (int i = 0; i < 2; i++) {
		alias[i] = mmap(NULL, vmm->ram_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (alias[i] == MAP_FAILED)
			die("cannot map a guest's memory");
	}
	vmm->ram = alias[0];
	if (vmm->kind == PLAIN)
		return;
	vmm->alias_bit = 1ULL << x86->c_bit;
	vmm->bit_is_private = true;
	vmm->any_alias = vmm->kind == SME;
	shared = xcalloc(vmm->ram_size / GRANULE, 1);
}

void memory_add_slots(struct x86 *x86)
{
	for (unsigned int i = 0; i < (x86->vmm.alias_bit ? 2 : 1); i++) {
		struct kvm_userspace_memory_region slot = {
			.slot = i, .memory_size = x86->vmm.ram_size,
			.guest_phys_addr = i ? 0 : x86->vmm.alias_bit,
			.userspace_addr = (uintptr_t)alias[i],
		};

		XIOCTL(x86->vm, KVM_SET_USER_MEMORY_REGION, &slot);
	}
	/* A host's aliases are different from the start; it was loaded without C-bit */
	if (x86->vmm.kind == SME) {
		void *p = mmap(alias[0], x86->vmm.ram_size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

		if (p == MAP_FAILED)
			die("cannot take a host's aliases apart");
	}
}

/* A closed alias is said to be private memory, of which the slot has none */
static void close_alias(struct x86 *x86, int which, uint64_t gpa, uint64_t size, bool closed)
{
	struct kvm_memory_attributes a = {
		.address = gpa | (which ? 0 : x86->vmm.alias_bit), .size = size,
		.attributes = closed ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	XIOCTL(x86->vm, KVM_SET_MEMORY_ATTRIBUTES, &a);
}

static void close_other(struct x86 *x86, uint64_t gpa, uint64_t size, bool is_shared)
{
	if (gpa < FIRST_GPA) {
		if (gpa + size <= FIRST_GPA)
			return;
		size -= FIRST_GPA - gpa;
		gpa = FIRST_GPA;
	}
	close_alias(x86, !is_shared, gpa, size, true);
	close_alias(x86, is_shared, gpa, size, false);
}

void memory_enforce(struct x86 *x86)
{
	uint64_t at, next, size = x86->vmm.ram_size;

	pthread_mutex_lock(&x86->vmm.lock);
	if (enforcing)
		goto out;
	enforcing = true;
	if (mmap(alias[1] + FIRST_GPA, size - FIRST_GPA, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("cannot take a guest's aliases apart");
	for (at = FIRST_GPA; at < size; at += GRANULE)
		if (shared[at / GRANULE])
			memcpy(alias[1] + at, alias[0] + at, GRANULE);
	for (at = FIRST_GPA; at < size; at = next) {
		for (next = at; next < size && !shared[next / GRANULE] == !shared[at / GRANULE];
		     next += GRANULE)
			if (shared[next / GRANULE])
				shared[next / GRANULE] = SHARED_EARLY;
		close_other(x86, at, next - at, shared[at / GRANULE]);
	}
out:
	pthread_mutex_unlock(&x86->vmm.lock);
}

void memory_state(struct x86 *x86, uint64_t gpa, uint64_t pages, uint64_t attrs)
{
	const bool to_shared = !(attrs & KVM_MAP_GPA_RANGE_ENCRYPTED);
	const uint64_t bit = x86->vmm.alias_bit, size = pages * GRANULE;
	uint64_t page = 0;

	gpa &= ~bit;
	if (gpa % GRANULE || pages > x86->vmm.ram_size / GRANULE ||
	    gpa > x86->vmm.ram_size - size)
		die("the guest speaks of %llu pages at %#llx, which it does not have",
		    (unsigned long long)pages, (unsigned long long)gpa);
	if (enforcing && to_shared && gpa < FIRST_GPA)
		die("the guest shares %#llx, where both aliases are the same",
		    (unsigned long long)gpa);
	pthread_mutex_lock(&x86->vmm.lock);
	changes += enforcing;
	if (opened) {
		/* The alias that was used is the one that is opened now, once a CPU */
		page = opened & ~bit & ~(GRANULE - 1);
		if (page < gpa || page >= gpa + size || !shared[page / GRANULE] != to_shared ||
		    !(opened & bit) != to_shared || in_place++ == x86->cpus)
			violation(x86, opened, opened_by);
		opened = 0;
	}
	for (uint64_t at = gpa; at < gpa + size; at += GRANULE) {
		unsigned char *state = &shared[at / GRANULE];

		if (!*state == !to_shared)
			continue;
		/* The guest must not count on finding anything there */
		if (enforcing && at >= FIRST_GPA)
			memset(alias[!to_shared] + at, 0x5a, GRANULE);
		*state = !to_shared ? 0 : page && at == page ? SHARED_EARLY : 1;
		changed_bytes += GRANULE;
	}
	if (enforcing)
		close_other(x86, gpa, size, to_shared);
	pthread_mutex_unlock(&x86->vmm.lock);
}

/*
 * The kernel converts a page in place before it says so: it copies what is there to the
 * alias that it is about to open. It does that early in the boot only.
 */
void memory_fault(struct x86 *x86, int vcpu, uint64_t gpa)
{
	struct kvm_regs regs;
	uint64_t at = gpa & ~x86->vmm.alias_bit & ~(GRANULE - 1);

	XIOCTL(vcpu, KVM_GET_REGS, &regs);
	pthread_mutex_lock(&x86->vmm.lock);
	if (opened || x86->devices_used || at >= x86->vmm.ram_size)
		violation(x86, gpa, regs.rip);
	opened = gpa;
	opened_by = regs.rip;
	close_alias(x86, 0, at, GRANULE, false);
	close_alias(x86, 1, at, GRANULE, false);
	pthread_mutex_unlock(&x86->vmm.lock);
}

bool guest_copy(struct vmm *vmm, uint64_t gpa, bool private, void *buf, size_t len, bool write,
		const char **why)
{
	char *ram = alias[vmm->alias_bit && !private] + gpa;

	if (vmm->kind == SEV) {
		for (uint64_t g = gpa / GRANULE; len && g <= (gpa + len - 1) / GRANULE; g++) {
			if (!shared[g] == private)
				continue;
			*why = private ? "is shared" : "is private";
			return false;
		}
	}
	if (write)
		memcpy(ram, buf, len);
	else
		memcpy(buf, ram, len);
	return true;
}

uint64_t guest_shared(struct vmm *vmm)
{
	uint64_t n = 0;

	for (uint64_t g = 0; vmm->kind == SEV && g < vmm->ram_size / GRANULE; g++)
		n += shared[g] == 1;
	return n * GRANULE;
}

void memory_say(struct x86 *x86)
{
	if (x86->vmm.kind != SEV)
		return;
	if (!enforcing)
		die("the guest never said that it is done with its first pages");
	if (opened)
		violation(x86, opened, opened_by);
	say("states changes=%llu bytes=%llu shared=%llu in_place=%llu",
	    (unsigned long long)changes, (unsigned long long)changed_bytes,
	    (unsigned long long)guest_shared(&x86->vmm), (unsigned long long)in_place);
}

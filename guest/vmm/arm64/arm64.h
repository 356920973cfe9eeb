/* SPDX-License-Identifier: GPL-2.0 */
#ifndef ARM64_H
#define ARM64_H

#include <linux/kvm.h>

#include "vmm.h"

#define MAX_CPUS	4

struct arm64 {
	struct vmm	vmm;
	int		kvm, vm, gic;
	int		vcpu[MAX_CPUS];
	unsigned int	cpus, ipa_bits;
	/* Realm only: which change of state to refuse, and where to stop half-way */
	uint64_t	reject, partial;
};

/* realm.c */
void realm_make_memory(struct arm64 *a, uint64_t shared_offset, uint64_t shared_size);
void realm_add_slots(struct arm64 *a);
void realm_call(struct arm64 *a, int vcpu, uint64_t function);
bool realm_copy(struct arm64 *a, uint64_t gpa, bool private, void *buf, size_t len,
		bool write, const char **why);
uint64_t realm_shared(struct arm64 *a);
void realm_say(struct arm64 *a);

#endif /* ARM64_H */

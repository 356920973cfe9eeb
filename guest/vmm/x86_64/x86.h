/* SPDX-License-Identifier: GPL-2.0 */
#ifndef X86_H
#define X86_H

#include <linux/kvm.h>

#include "vmm.h"

#define MAX_CPUS	4

#define MSR_SYSCFG	0xc0010010
#define MSR_SEV_STATUS	0xc0010131

struct x86 {
	struct vmm	vmm;
	int		kvm, vm;
	int		vcpu[MAX_CPUS];
	unsigned int	cpus, c_bit;
	/* Set by the first access to a device: from then on nothing is converted in place */
	volatile bool	devices_used;
};

/* sev.c: the two aliases of memory */
void memory_make(struct x86 *x86);
void memory_add_slots(struct x86 *x86);
/* The guest has said all that it has to say about its first pages */
void memory_enforce(struct x86 *x86);
/* KVM_HC_MAP_GPA_RANGE */
void memory_state(struct x86 *x86, uint64_t gpa, uint64_t pages, uint64_t attrs);
void memory_fault(struct x86 *x86, int vcpu, uint64_t gpa);
void memory_say(struct x86 *x86);

#endif /* X86_H */

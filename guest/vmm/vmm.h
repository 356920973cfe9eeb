/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the vmm share: the machine, its devices, and how a device
 * reaches the guest's memory.
 */
#ifndef VMM_H
#define VMM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIB		(1ULL << 20)
#define GRANULE		4096ULL		/* in which a hypervisor keeps states */

struct vmm;

/* A device: some registers, and accesses to memory that are counted */
struct device {
	const char	*name;
	uint64_t	base, size;
	unsigned int	irq;		/* 0 without one */
	bool		trusted;	/* T=1: reaches private memory only */
	unsigned int	addr_bits;	/* of an address; 0 for all */
	bool		coherent;
	const char	*compatible;
	uint64_t	(*read)(struct device *dev, uint64_t offset, unsigned int len);
	void		(*write)(struct device *dev, uint64_t offset, uint64_t value);
	/* Memory of its own at an offset, that other devices may reach; or NULL */
	void		*(*memory)(struct device *dev, uint64_t offset, size_t len);
	void		*priv;
	struct vmm	*vmm;
	uint64_t	accesses, bytes, faults;
};

/* What the guest runs in; an SME host is alone on its machine */
enum kind { PLAIN, PROTECTED, REALM, SEV, SME };

#define MAX_DEVICES	16

struct vmm {
	enum kind	kind;
	char		*ram;		/* as the devices see it */
	uint64_t	ram_base, ram_size;
	uint64_t	alias_bit;	/* of an address, by which memory has two, or 0 */
	bool		bit_is_private;	/* it is set in that of private memory */
	bool		any_alias;	/* all devices may use both */
	bool		access_platform;
	struct device	*devices[MAX_DEVICES];
	unsigned int	nr_devices;
	pthread_mutex_t	lock;		/* devices and page states */

	/* Faults that the guest asked for, and those that did not come */
	uint64_t	wanted_faults, missed_faults;
	uint64_t	cpu_faults;	/* by the guest's CPUs, through the wrong alias */
	uint64_t	shared_least, shared_most, shared_found;
	uint64_t	looked_at;	/* bytes of shared pages, for secrets */
	uint64_t	secrets;	/* bytes of those that have one */
	bool		secrets_asked;
	bool		shared_asked;
};

/* Is the memory of the guest kept from its host? */
static inline bool has_private(const struct vmm *vmm)
{
	return vmm->kind != PLAIN && vmm->kind != SME;
}

/* How a state of the guest's memory is found out; by the architecture */

/*
 * Copies between @buf and the guest's memory at @gpa, without the bit, as private or
 * shared memory. The whole of it is in RAM. False if it is in the other state.
 */
bool guest_copy(struct vmm *vmm, uint64_t gpa, bool private, void *buf, size_t len,
		bool write, const char **why);
/* Bytes of RAM that the host can reach now and the guest has used */
uint64_t guest_shared(struct vmm *vmm);
void guest_irq(struct vmm *vmm, unsigned int irq, bool level);

/* devices.c */
void device_add(struct vmm *vmm, struct device *dev);
bool device_mmio(struct vmm *vmm, uint64_t addr, void *data, unsigned int len, bool write);
/* Returns false for a fault, which is counted */
bool device_dma(struct device *dev, uint64_t addr, void *buf, size_t len, bool write);
/* The same for a fault that the guest wants */
bool device_dma_fault(struct device *dev, uint64_t addr, void *buf, size_t len, bool write);
/* Says what came of it; the exit status of the vmm */
int verdict(struct vmm *vmm);

/* doorbell.c, virtio.c */
struct device *doorbell_new(const char *name, uint64_t base, bool trusted, bool coherent);
struct device *virtio_blk_new(const char *name, uint64_t base, unsigned int irq,
			      bool trusted, uint64_t bytes);
struct device *virtio_net_new(const char *name, uint64_t base, unsigned int irq);
/* Bytes of the disk that are not the pattern, of those that were written */
uint64_t virtio_blk_mismatches(struct device *dev, uint64_t *written);

/* common.c */
int xioctl(int fd, const char *name, unsigned long request, uintptr_t arg);
#define XIOCTL(fd, request, arg) \
	xioctl(fd, #request, request, (uintptr_t)(arg))
/* A file in memory, for munmap() */
char *map_file(const char *path, uint64_t *size);
/* What the guest prints comes by whole lines, or ours would be in the middle of one */
void console_byte(char c);

__attribute__((format(printf, 1, 2), noreturn)) void die(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);
void *xcalloc(size_t n, size_t size);
/* The number that an option's argument is, or usage() */
uint64_t number(const char *text);
/* By the architecture: says what options there are, and ends */
__attribute__((noreturn)) void usage(void);

static inline uint64_t align_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

#endif /* VMM_H */

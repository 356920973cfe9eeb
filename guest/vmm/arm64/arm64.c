// SPDX-License-Identifier: GPL-2.0
/*
 * vmm - boot a Linux kernel in an arm64 KVM guest, with devices that tell what of
 * the guest's memory they could reach. See usage() for the options.
 *
 * A PROTECTED guest is kept from this program by pKVM. A REALM is a plain KVM guest
 * whose RSI is answered in realm.c. What is said begins with "vmm: "; the rest is the
 * guest's console. Exit status 0 means that the guest switched itself off, which is
 * also what a panic with panic=-1 does, and that the verdict is good.
 *
 * Memory belongs to a protected guest as soon as the guest has touched it. All that
 * is given to it is therefore there before it runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../doorbell.h"
#include "arm64.h"
#include "fdt.h"

#ifndef KVM_VM_TYPE_ARM_PROTECTED
#define KVM_VM_TYPE_ARM_PROTECTED	(1UL << 31)
#endif

/* The guest's addresses */
#define GICD_BASE	0x08000000ULL
#define GICD_SIZE	0x00010000ULL
#define GICR_BASE	0x080a0000ULL
#define GICR_SIZE	0x00020000ULL	/* of one CPU */
#define UART_BASE	0x09000000ULL
#define UART_SIZE	0x00001000ULL
#define DEVICE_BASE	0x0a000000ULL
#define DEVICE_SPACING	0x00010000ULL	/* a page of any size for each */
#define RAM_BASE	0x40000000ULL

#define IMAGE_ALIGN	(2 * MIB)
#define DTB_MAX		0x10000
#define GIC_IRQS	64		/* with the 32 that belong to a CPU */
#define UART_SPI	1

/* Of a PL011 this is all that a driver needs to print */
#define UART_DR		0x00
#define UART_FR		0x18
#define UART_FR_TXFE	(1 << 7)
#define UART_FR_RXFE	(1 << 4)

/* Calls of the RSI, which a realm's vmm answers */
#define RSI_FIRST	0xc4000190
#define RSI_CALLS	0x30

static struct arm64 arm = {
	.vmm = {
		.access_platform = true, .ram_base = RAM_BASE,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	},
	.cpus = 1, .ipa_bits = 40,
};
static struct vmm *const vmm = &arm.vmm;

static struct {
	const char	*image, *initrd, *cmdline;
	uint64_t	pool, pool_offset;	/* size of the restricted pool, 0 for none */
	uint64_t	private_pool;		/* that of trusted devices, behind it */
	bool		trusted, window, pool_shared;
	uint64_t	disk;
} opt = { .cmdline = "", .disk = 16 * MIB };

/* What was loaded, to tell what a guest has not touched */
static uint64_t entry, dtb, initrd_start, initrd_end;
static char *loaded;
static uint64_t loaded_size;

enum { PHANDLE_GIC = 1, PHANDLE_POOL, PHANDLE_PRIVATE_POOL };
enum { IRQ_SPI, IRQ_PPI };
enum { IRQ_EDGE = 1, IRQ_LEVEL = 4 };

static void fdt_chosen(void)
{
	fdt_begin("chosen");
	fdt_string("bootargs", opt.cmdline);
	fdt_string("stdout-path", "/uart");
	if (initrd_start != initrd_end) {
		FDT_CELLS("linux,initrd-start", FDT_U64(initrd_start));
		FDT_CELLS("linux,initrd-end", FDT_U64(initrd_end));
	}
	fdt_end();
}

static void fdt_cpus(void)
{
	fdt_begin("cpus");
	FDT_CELLS("#address-cells", 1);
	FDT_CELLS("#size-cells", 0);
	for (unsigned int i = 0; i < arm.cpus; i++) {
		char name[16];

		snprintf(name, sizeof(name), "cpu@%x", i);
		fdt_begin(name);
		fdt_string("device_type", "cpu");
		fdt_string("compatible", "arm,armv8");
		fdt_string("enable-method", "psci");
		FDT_CELLS("reg", i);
		fdt_end();
	}
	fdt_end();

	/* A realm knows by the conduit that it may be one */
	fdt_begin("psci");
	fdt_string("compatible", "arm,psci-0.2");
	fdt_string("method", vmm->kind == REALM ? "smc" : "hvc");
	fdt_end();

	/* secure, non-secure, virtual, hypervisor */
	fdt_begin("timer");
	fdt_string("compatible", "arm,armv8-timer");
	FDT_CELLS("interrupts", IRQ_PPI, 13, IRQ_LEVEL, IRQ_PPI, 14, IRQ_LEVEL,
		  IRQ_PPI, 11, IRQ_LEVEL, IRQ_PPI, 10, IRQ_LEVEL);
	fdt_prop("always-on", NULL, 0);
	fdt_end();
}

static void fdt_gic(void)
{
	fdt_begin("gic");
	fdt_string("compatible", "arm,gic-v3");
	fdt_prop("interrupt-controller", NULL, 0);
	FDT_CELLS("#interrupt-cells", 3);
	FDT_CELLS("reg", FDT_U64(GICD_BASE), FDT_U64(GICD_SIZE),
		  FDT_U64(GICR_BASE), FDT_U64(GICR_SIZE * arm.cpus));
	FDT_CELLS("phandle", PHANDLE_GIC);
	fdt_end();
}

/* SBSA: a PL011 that needs no clock and is not asked who it is */
static void fdt_uart(void)
{
	fdt_begin("uart");
	fdt_string("compatible", "arm,sbsa-uart");
	FDT_CELLS("reg", FDT_U64(UART_BASE), FDT_U64(UART_SIZE));
	FDT_CELLS("interrupts", IRQ_SPI, UART_SPI, IRQ_LEVEL);
	FDT_CELLS("current-speed", 115200);
	fdt_end();
}

static void fdt_pool(const char *name, uint64_t start, uint64_t size, const char *state,
		     uint32_t phandle)
{
	fdt_begin(name);
	fdt_string("compatible", "restricted-dma-pool");
	FDT_CELLS("reg", FDT_U64(start), FDT_U64(size));
	if (state)
		fdt_string("encryption-state", state);
	FDT_CELLS("phandle", phandle);
	fdt_end();
}

static void fdt_pools(void)
{
	uint64_t start = RAM_BASE + opt.pool_offset;

	fdt_begin("reserved-memory");
	FDT_CELLS("#address-cells", 2);
	FDT_CELLS("#size-cells", 2);
	fdt_prop("ranges", NULL, 0);
	if (opt.pool)
		fdt_pool("restricted-dma-pool", start, opt.pool,
			 opt.pool_shared ? "shared" : NULL, PHANDLE_POOL);
	if (opt.private_pool)
		fdt_pool("private-dma-pool", start + opt.pool, opt.private_pool, "private",
			 PHANDLE_PRIVATE_POOL);
	fdt_end();
}

static void fdt_device(const struct device *dev)
{
	char name[64];

	snprintf(name, sizeof(name), "%s@%llx",
		 strcmp(dev->compatible, "virtio,mmio") ? "doorbell" : "virtio",
		 (unsigned long long)dev->base);
	fdt_begin(name);
	fdt_string("compatible", dev->compatible);
	FDT_CELLS("reg", FDT_U64(dev->base), FDT_U64(dev->size));
	if (dev->irq)
		FDT_CELLS("interrupts", IRQ_SPI, dev->irq, IRQ_LEVEL);
	if (dev->coherent)
		fdt_prop("dma-coherent", NULL, 0);
	if (opt.pool && !dev->trusted)
		FDT_CELLS("memory-region", PHANDLE_POOL);
	if (opt.private_pool && dev->trusted)
		FDT_CELLS("memory-region", PHANDLE_PRIVATE_POOL);
	fdt_end();
}

/* Trusted devices are behind a bus whose driver accepts them, others on one of theirs */
static void fdt_bus(bool trusted)
{
	fdt_begin(trusted ? "trusted-bus" : "bus");
	fdt_string("compatible", trusted ? "dma,trusted-bus" : "simple-bus");
	FDT_CELLS("#address-cells", 2);
	FDT_CELLS("#size-cells", 2);
	fdt_prop("ranges", NULL, 0);
	/* RAM and nothing else, at its own address */
	if (opt.window && !trusted)
		FDT_CELLS("dma-ranges", FDT_U64(RAM_BASE), FDT_U64(RAM_BASE),
			  FDT_U64(vmm->ram_size));
	for (unsigned int i = 0; i < vmm->nr_devices; i++)
		if (vmm->devices[i]->trusted == trusted)
			fdt_device(vmm->devices[i]);
	fdt_end();
}

static size_t make_dtb(char *where)
{
	fdt_begin("");
	fdt_string("compatible", "linux,dummy-virt");
	FDT_CELLS("#address-cells", 2);
	FDT_CELLS("#size-cells", 2);
	FDT_CELLS("interrupt-parent", PHANDLE_GIC);
	fdt_begin("memory");
	fdt_string("device_type", "memory");
	FDT_CELLS("reg", FDT_U64(RAM_BASE), FDT_U64(vmm->ram_size));
	fdt_end();
	fdt_chosen();
	fdt_cpus();
	fdt_gic();
	fdt_uart();
	if (opt.pool || opt.private_pool)
		fdt_pools();
	fdt_bus(false);
	if (opt.trusted)
		fdt_bus(true);
	fdt_end();
	return fdt_finish(where, DTB_MAX);
}

/* Puts a file into the guest's memory at @addr, returns where it ends */
static uint64_t load(const char *path, uint64_t addr)
{
	uint64_t size, room = vmm->ram_size - (addr - RAM_BASE);
	char *file = map_file(path, &size);

	if (size > room)
		die("%s does not fit into the guest's memory", path);
	memcpy(vmm->ram + (addr - RAM_BASE), file, size);
	munmap(file, size);
	return addr + size;
}

static bool is_zero(const char *page)
{
	return !*page && !memcmp(page, page + 1, GRANULE - 1);
}

/* An arm64 Image says where it wants to be and how much it uses */
struct image_header {
	uint32_t	code[2];
	uint64_t	text_offset, image_size, flags, res[3];
	char		magic[4];
	uint32_t	res5;
};

/* The kernel at the start of memory, then the device tree, then the initrd */
static void load_all(void)
{
	struct image_header h;

	load(opt.image, RAM_BASE);
	memcpy(&h, vmm->ram, sizeof(h));
	if (memcmp(h.magic, "ARM\x64", sizeof(h.magic)))
		die("%s is not an uncompressed arm64 Image", opt.image);
	if (h.text_offset)
		die("%s is too old: its text_offset is not 0", opt.image);
	entry = RAM_BASE;
	dtb = RAM_BASE + align_up(h.image_size, IMAGE_ALIGN);
	initrd_start = initrd_end = dtb + IMAGE_ALIGN;
	if (initrd_start > RAM_BASE + vmm->ram_size)
		die("%s does not fit into the guest's memory", opt.image);
	if (opt.initrd)
		initrd_end = load(opt.initrd, initrd_start);
	make_dtb(vmm->ram + (dtb - RAM_BASE));
	if (vmm->kind == PROTECTED) {
		loaded_size = align_up(initrd_end - RAM_BASE, GRANULE);
		loaded = xcalloc(loaded_size, 1);
		memcpy(loaded, vmm->ram, loaded_size);
		/* Zeroes need not be there; if they are later, the guest put them there */
		for (uint64_t i = 0; i < loaded_size; i += GRANULE)
			if (is_zero(loaded + i))
				madvise(vmm->ram + i, GRANULE, MADV_DONTNEED);
	}
}

/* A load or store that the hypervisor refuses arrives as a signal */
static __thread sigjmp_buf refused;
static __thread volatile sig_atomic_t expecting;

static void on_signal(int sig)
{
	if (expecting)
		siglongjmp(refused, 1);
	signal(sig, SIG_DFL);
	raise(sig);
}

bool guest_copy(struct vmm *v, uint64_t gpa, bool private, void *buf, size_t len, bool write,
		const char **why)
{
	char *ram = v->ram + (gpa - v->ram_base);

	if (v->kind == REALM)
		return realm_copy(&arm, gpa, private, buf, len, write, why);
	if (sigsetjmp(refused, 1)) {
		expecting = 0;
		*why = "is private";
		return false;
	}
	expecting = 1;
	if (write)
		memcpy(ram, buf, len);
	else
		memcpy(buf, ram, len);
	expecting = 0;
	return true;
}

/* Sixteen words of it are no accident */
static bool has_secret(const char *page)
{
	const uint64_t *word = (const uint64_t *)page;
	unsigned int i, n = 0;

	for (i = 0; i < GRANULE / sizeof(*word) && n < 16; i++)
		n = word[i] == DB_SECRET ? n + 1 : 0;
	return n == 16;
}

/*
 * Of a protected guest every page is tried: write(2) fails for one that is private and
 * does it no harm. A page that the guest has not used yet is still the host's. It is
 * not there at all, or it holds what was loaded.
 */
uint64_t guest_shared(struct vmm *v)
{
	uint64_t n = 0, pages = v->ram_size / GRANULE;
	const unsigned int host_page = sysconf(_SC_PAGESIZE);
	unsigned char *present;
	int fd;

	if (v->kind == REALM)
		return realm_shared(&arm);
	if (v->kind == PLAIN)
		return 0;
	present = xcalloc(pages, 1);
	fd = memfd_create("probe", MFD_CLOEXEC);
	if (fd < 0 || mincore(v->ram, v->ram_size, present))
		die("cannot look at the guest's pages: %s", strerror(errno));
	for (uint64_t i = 0; i < pages; i++) {
		char *page = v->ram + i * GRANULE;

		if (!(present[i * GRANULE / host_page] & 1) || pwrite(fd, page, 1, 0) != 1)
			continue;
		if (i * GRANULE < loaded_size && !is_zero(page) &&
		    !memcmp(page, loaded + i * GRANULE, GRANULE))
			continue;
		n += GRANULE;
		if (!v->secrets_asked || v->shared_asked)
			continue;
		v->looked_at += GRANULE;
		v->secrets += has_secret(page) ? GRANULE : 0;
	}
	close(fd);
	free(present);
	return n;
}

void guest_irq(struct vmm *v, unsigned int irq, bool level)
{
	struct kvm_irq_level l = {
		.irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (32 + irq),
		.level = level,
	};

	(void)v;
	XIOCTL(arm.vm, KVM_IRQ_LINE, &l);
}

static void make_vm(void)
{
	struct kvm_userspace_memory_region ram = {
		.guest_phys_addr = RAM_BASE, .memory_size = vmm->ram_size,
		.userspace_addr = (uintptr_t)vmm->ram,
	};

	arm.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (arm.kvm < 0)
		die("/dev/kvm: %s", strerror(errno));
	arm.vm = XIOCTL(arm.kvm, KVM_CREATE_VM,
			vmm->kind == PROTECTED ? KVM_VM_TYPE_ARM_PROTECTED :
			vmm->kind == REALM ? arm.ipa_bits : 0);
	if (vmm->kind == REALM) {
		struct kvm_smccc_filter filter = {
			.base = RSI_FIRST, .nr_functions = RSI_CALLS,
			.action = KVM_SMCCC_FILTER_FWD_TO_USER,
		};
		struct kvm_device_attr a = {
			.group = KVM_ARM_VM_SMCCC_CTRL, .attr = KVM_ARM_VM_SMCCC_FILTER,
			.addr = (uintptr_t)&filter,
		};

		XIOCTL(arm.vm, KVM_SET_DEVICE_ATTR, &a);
		realm_add_slots(&arm);
	} else {
		XIOCTL(arm.vm, KVM_SET_USER_MEMORY_REGION, &ram);
	}
}

static void set_reg(int vcpu, size_t offset, uint64_t value)
{
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      offset / sizeof(uint32_t),
		.addr = (uintptr_t)&value,
	};

	XIOCTL(vcpu, KVM_SET_ONE_REG, &reg);
}

static void make_vcpus(void)
{
	struct kvm_vcpu_init init;

	XIOCTL(arm.vm, KVM_ARM_PREFERRED_TARGET, &init);
	init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
	/* A guest that sees pointer authentication needs both kinds */
	if (ioctl(arm.vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PTRAUTH_ADDRESS) > 0 &&
	    ioctl(arm.vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PTRAUTH_GENERIC) > 0)
		init.features[0] |= 1 << KVM_ARM_VCPU_PTRAUTH_ADDRESS |
				    1 << KVM_ARM_VCPU_PTRAUTH_GENERIC;
	for (unsigned int i = 0; i < arm.cpus; i++) {
		arm.vcpu[i] = XIOCTL(arm.vm, KVM_CREATE_VCPU, i);
		XIOCTL(arm.vcpu[i], KVM_ARM_VCPU_INIT, &init);
		/* The others wait for the first */
		init.features[0] |= 1 << KVM_ARM_VCPU_POWER_OFF;
	}
	set_reg(arm.vcpu[0], offsetof(struct kvm_regs, regs.pc), entry);
	set_reg(arm.vcpu[0], offsetof(struct kvm_regs, regs.regs[0]), dtb);
}

static void set_gic(uint32_t group, uint64_t attr, uint64_t value)
{
	struct kvm_device_attr a = {
		.group = group, .attr = attr, .addr = (uintptr_t)&value,
	};

	XIOCTL(arm.gic, KVM_SET_DEVICE_ATTR, &a);
}

/* What the host emulates is in the unprotected half of a realm's addresses */
static void make_gic(void)
{
	struct kvm_create_device gic = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };

	XIOCTL(arm.vm, KVM_CREATE_DEVICE, &gic);
	arm.gic = gic.fd;
	set_gic(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST,
		GICD_BASE | vmm->alias_bit);
	set_gic(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST,
		GICR_BASE | vmm->alias_bit);
	set_gic(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, GIC_IRQS);
	set_gic(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0);
}

static uint64_t uart_read(struct device *dev, uint64_t offset, unsigned int len)
{
	(void)dev, (void)len;
	return offset == UART_FR ? UART_FR_TXFE | UART_FR_RXFE : 0;
}

static void uart_write(struct device *dev, uint64_t offset, uint64_t value)
{
	(void)dev;
	if (offset == UART_DR)
		console_byte(value);
}

static struct device uart = {
	.name = "uart", .base = UART_BASE, .size = UART_SIZE,
	.read = uart_read, .write = uart_write,
};

static void mmio(struct kvm_run *run)
{
	uint64_t addr = run->mmio.phys_addr & ~vmm->alias_bit;

	if (addr >= UART_BASE && addr < UART_BASE + UART_SIZE) {
		uint64_t value = 0;

		pthread_mutex_lock(&vmm->lock);
		if (run->mmio.is_write)
			uart.write(&uart, addr - UART_BASE, run->mmio.data[0]);
		else
			value = uart.read(&uart, addr - UART_BASE, 4);
		pthread_mutex_unlock(&vmm->lock);
		if (!run->mmio.is_write)
			memcpy(run->mmio.data, &value, sizeof(value));
	} else if (!device_mmio(vmm, addr, run->mmio.data, run->mmio.len,
				run->mmio.is_write)) {
		die("the guest %s %u bytes at %#llx, where nothing is",
		    run->mmio.is_write ? "wrote" : "read", run->mmio.len,
		    (unsigned long long)run->mmio.phys_addr);
	}
}

/* A realm's CPU used the alias that is closed: the guest gets an external abort */
static void abort_access(int vcpu)
{
	struct kvm_vcpu_events events = { .exception.ext_dabt_pending = 1 };

	pthread_mutex_lock(&vmm->lock);
	if (vmm->cpu_faults++ < 4)
		say("cpu fault: a CPU used memory through the wrong alias");
	if (vmm->cpu_faults > 100)
		die("the guest does not stop using the wrong alias");
	pthread_mutex_unlock(&vmm->lock);
	XIOCTL(vcpu, KVM_SET_VCPU_EVENTS, &events);
}

static void *run_vcpu(void *arg)
{
	int vcpu = *(int *)arg;
	int size = XIOCTL(arm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (run == MAP_FAILED)
		die("no kvm_run: %s", strerror(errno));
	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			if (errno == EFAULT && vmm->kind == REALM) {
				abort_access(vcpu);
				continue;
			}
			die("KVM_RUN: %s", strerror(errno));
		}
		switch (run->exit_reason) {
		case KVM_EXIT_MMIO:
			mmio(run);
			break;
		case KVM_EXIT_HYPERCALL:
			realm_call(&arm, vcpu, run->hypercall.nr);
			break;
		case KVM_EXIT_SYSTEM_EVENT:
			if (run->system_event.type != KVM_SYSTEM_EVENT_SHUTDOWN &&
			    run->system_event.type != KVM_SYSTEM_EVENT_RESET)
				die("the guest ended with system event %u",
				    run->system_event.type);
			pthread_mutex_lock(&vmm->lock);
			if (vmm->kind == REALM)
				realm_say(&arm);
			exit(verdict(vmm));
		default:
			die("KVM_RUN ended for reason %u", run->exit_reason);
		}
	}
	return NULL;
}

static void make_devices(void)
{
	uint64_t base = DEVICE_BASE;
	unsigned int irq = UART_SPI + 1;

#define NEXT	(base += DEVICE_SPACING) - DEVICE_SPACING
	device_add(vmm, doorbell_new("doorbell", NEXT, false, true));
	device_add(vmm, doorbell_new("doorbell-noncoherent", NEXT, false, false));
	device_add(vmm, virtio_blk_new("disk", NEXT, irq++, false, opt.disk));
	device_add(vmm, virtio_net_new("net", NEXT, irq++));
	if (opt.trusted) {
		device_add(vmm, doorbell_new("trusted-doorbell", NEXT, true, true));
		device_add(vmm, doorbell_new("trusted-doorbell-noncoherent", NEXT, true, false));
		device_add(vmm, virtio_blk_new("trusted-disk", NEXT, irq++, true, opt.disk));
	}
#undef NEXT
}

void usage(void)
{
	fputs("usage: vmm [OPTION...] IMAGE [CMDLINE...]\n"
	      "  -t plain|protected|realm  what the guest runs in (plain)\n"
	      "  -m MIB   memory (256)\n"
	      "  -c N     CPUs (1)\n"
	      "  -i FILE  initrd\n"
	      "  -d MIB   size of a disk (16)\n"
	      "  -p KIB   a restricted pool of this size, for all untrusted devices\n"
	      "  -o BYTES by how much the pool is off a boundary of 2 MiB (0)\n"
	      "  -S       the guest is told that the pool is shared already: in a realm it is\n"
	      "  -w       devices on a bus whose dma-ranges are RAM and nothing else\n"
	      "  -x       virtio without VIRTIO_F_ACCESS_PLATFORM\n"
	      "of a realm:\n"
	      "  -b N     bits of an address (40)\n"
	      "  -T       with trusted devices, too\n"
	      "  -P KIB   a restricted pool of private memory for these\n"
	      "  -r N     refuse the Nth change of the state of memory\n"
	      "  -s KIB   change the state of so much at a time\n", stderr);
	exit(2);
}

static void options(int argc, char **argv)
{
	static char cmdline[2048];
	int c;

	vmm->ram_size = 256 * MIB;
	while ((c = getopt(argc, argv, "+t:m:c:i:d:p:o:Swxb:TP:r:s:")) != -1) {
		switch (c) {
		case 't':
			if (!strcmp(optarg, "protected"))
				vmm->kind = PROTECTED;
			else if (!strcmp(optarg, "realm"))
				vmm->kind = REALM;
			else if (strcmp(optarg, "plain"))
				usage();
			break;
		case 'm': vmm->ram_size = number(optarg) * MIB; break;
		case 'c': arm.cpus = number(optarg); break;
		case 'i': opt.initrd = optarg; break;
		case 'd': opt.disk = number(optarg) * MIB; break;
		case 'p': opt.pool = number(optarg) << 10; break;
		case 'o': opt.pool_offset = number(optarg); break;
		case 'S': opt.pool_shared = true; break;
		case 'w': opt.window = true; break;
		case 'x': vmm->access_platform = false; break;
		case 'b': arm.ipa_bits = number(optarg); break;
		case 'T': opt.trusted = true; break;
		case 'P': opt.private_pool = number(optarg) << 10; break;
		case 'r': arm.reject = number(optarg); break;
		case 's': arm.partial = number(optarg) << 10; break;
		default: usage();
		}
	}
	if (optind == argc || !arm.cpus || arm.cpus > MAX_CPUS || vmm->ram_size < 64 * MIB ||
	    arm.ipa_bits < 32 || arm.ipa_bits > 52 ||
	    opt.pool + opt.private_pool > vmm->ram_size / 4 ||
	    (opt.pool_shared && !opt.pool) || (opt.private_pool && !opt.trusted) ||
	    (opt.trusted && vmm->kind != REALM))
		usage();
	/* In the last quarter of memory, out of the way of the kernel and the initrd */
	opt.pool_offset += vmm->ram_size / 4 * 3;
	opt.image = argv[optind];
	while (++optind < argc) {
		if (strlen(cmdline) + strlen(argv[optind]) + 2 > sizeof(cmdline))
			die("the command line is too long");
		strcat(strcat(cmdline, *cmdline ? " " : ""), argv[optind]);
	}
	opt.cmdline = cmdline;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };
	pthread_t thread;

	options(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	if (vmm->kind == REALM)
		realm_make_memory(&arm, opt.pool_offset, opt.pool_shared ? opt.pool : 0);
	else
		vmm->ram = mmap(NULL, vmm->ram_size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vmm->ram == MAP_FAILED)
		die("no memory: %s", strerror(errno));
	make_devices();
	load_all();
	make_vm();
	make_vcpus();
	make_gic();
	for (unsigned int i = 1; i < arm.cpus; i++)
		if (pthread_create(&thread, NULL, run_vcpu, &arm.vcpu[i]))
			die("no thread for a CPU");
	run_vcpu(&arm.vcpu[0]);
	return 1;
}

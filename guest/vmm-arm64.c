// SPDX-License-Identifier: GPL-2.0
/*
 * vmm IMAGE INITRD|- RAM_MIB protected|plain [CMDLINE] - boot a Linux kernel in a
 * KVM guest, protected by pKVM or not.
 *
 * One CPU, one piece of memory, a GICv3, PSCI and a UART whose output goes to
 * stdout. Exit status 0 means that the guest switched itself off or reset itself,
 * which is also what a panic with panic=-1 does.
 *
 * Memory belongs to a protected guest as soon as the guest has touched it. All that
 * is given to it is therefore there before it runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/kvm.h>

#ifndef KVM_VM_TYPE_ARM_PROTECTED	/* headers of an older kernel */
#define KVM_VM_TYPE_ARM_PROTECTED	(1UL << 31)
#endif

/* The guest's addresses */
#define GICD_BASE	0x08000000ULL
#define GICD_SIZE	0x00010000ULL
#define GICR_BASE	0x080a0000ULL
#define GICR_SIZE	0x00020000ULL	/* of one CPU */
#define UART_BASE	0x09000000ULL
#define UART_SIZE	0x00001000ULL
#define RAM_BASE	0x40000000ULL

#define MIB		(1ULL << 20)
#define IMAGE_ALIGN	(2 * MIB)
#define DTB_MAX		0x10000

#define GIC_IRQS	64		/* with the 32 that belong to a CPU */
#define UART_SPI	1

/* Of a PL011 this is all that a driver needs to print */
#define UART_DR		0x00
#define UART_FR		0x18
#define UART_FR_TXFE	(1 << 7)
#define UART_FR_RXFE	(1 << 4)

struct guest {
	char		*ram;
	uint64_t	ram_size;
	uint64_t	entry;
	uint64_t	dtb;
	uint64_t	initrd, initrd_end;	/* equal without an initrd */
	const char	*cmdline;
	int		kvm, vm, vcpu, gic;
	struct kvm_run	*run;
};

static void die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "vmm: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static int xioctl(int fd, const char *name, unsigned long request, uintptr_t arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		die("%s: %s", name, strerror(errno));
	return ret;
}
#define XIOCTL(fd, request, arg) \
	xioctl(fd, #request, request, (uintptr_t)(arg))

static uint64_t align_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/*
 * The device tree, flattened: a header, an empty list of reserved memory, the
 * nodes and the names of the properties. A name is stored anew each time.
 */
#define FDT_MAGIC	0xd00dfeed
#define FDT_BEGIN_NODE	1
#define FDT_END_NODE	2
#define FDT_PROP	3
#define FDT_END		9

struct fdt_header {
	uint32_t magic, totalsize, off_struct, off_strings, off_reserved;
	uint32_t version, compatible, boot_cpu, size_strings, size_struct;
};

struct fdt {
	char	nodes[DTB_MAX / 2], names[DTB_MAX / 4];
	size_t	nodes_len, names_len;
};

static void fdt_add(struct fdt *fdt, const void *data, size_t len)
{
	if (fdt->nodes_len + len + 4 > sizeof(fdt->nodes))
		die("the device tree is too large");
	memcpy(fdt->nodes + fdt->nodes_len, data, len);
	fdt->nodes_len = align_up(fdt->nodes_len + len, 4);
}

static void fdt_add_u32(struct fdt *fdt, uint32_t value)
{
	value = __builtin_bswap32(value);
	fdt_add(fdt, &value, sizeof(value));
}

static void fdt_begin(struct fdt *fdt, const char *name)
{
	fdt_add_u32(fdt, FDT_BEGIN_NODE);
	fdt_add(fdt, name, strlen(name) + 1);
}

static void fdt_end(struct fdt *fdt)
{
	fdt_add_u32(fdt, FDT_END_NODE);
}

static void fdt_prop(struct fdt *fdt, const char *name, const void *data, size_t len)
{
	size_t name_len = strlen(name) + 1;

	if (fdt->names_len + name_len > sizeof(fdt->names))
		die("the device tree has too many names");
	fdt_add_u32(fdt, FDT_PROP);
	fdt_add_u32(fdt, len);
	fdt_add_u32(fdt, fdt->names_len);
	fdt_add(fdt, data, len);
	memcpy(fdt->names + fdt->names_len, name, name_len);
	fdt->names_len += name_len;
}

static void fdt_string(struct fdt *fdt, const char *name, const char *value)
{
	fdt_prop(fdt, name, value, strlen(value) + 1);
}

static void fdt_cells(struct fdt *fdt, const char *name, const uint32_t *cells, size_t n)
{
	uint32_t be[16];

	if (n > sizeof(be) / sizeof(be[0]))
		die("%s has too many cells", name);
	for (size_t i = 0; i < n; i++)
		be[i] = __builtin_bswap32(cells[i]);
	fdt_prop(fdt, name, be, n * sizeof(be[0]));
}
#define FDT_CELLS(fdt, name, ...)						\
	fdt_cells(fdt, name, (const uint32_t[]){ __VA_ARGS__ },			\
		  sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))
#define FDT_U64(value)	(uint32_t)((value) >> 32), (uint32_t)(value)

/* Returns the size of what was written to @dtb */
static size_t fdt_finish(struct fdt *fdt, char *dtb)
{
	static const char no_reserved_memory[16];
	struct fdt_header h;
	uint32_t *field = (uint32_t *)&h;

	fdt_add_u32(fdt, FDT_END);
	h = (struct fdt_header) {
		.magic = FDT_MAGIC, .version = 17, .compatible = 16,
		.size_struct = fdt->nodes_len, .size_strings = fdt->names_len,
	};
	h.off_reserved = align_up(sizeof(h), 8);
	h.off_struct = h.off_reserved + sizeof(no_reserved_memory);
	h.off_strings = h.off_struct + h.size_struct;
	h.totalsize = h.off_strings + h.size_strings;

	memcpy(dtb + h.off_reserved, no_reserved_memory, sizeof(no_reserved_memory));
	memcpy(dtb + h.off_struct, fdt->nodes, fdt->nodes_len);
	memcpy(dtb + h.off_strings, fdt->names, fdt->names_len);
	for (size_t i = 0; i < sizeof(h) / sizeof(*field); i++)
		field[i] = __builtin_bswap32(field[i]);
	memcpy(dtb, &h, sizeof(h));
	return __builtin_bswap32(h.totalsize);
}

enum { PHANDLE_GIC = 1 };
enum { IRQ_SPI, IRQ_PPI };
enum { IRQ_EDGE = 1, IRQ_LEVEL = 4 };

static void fdt_chosen(struct fdt *fdt, const struct guest *g)
{
	fdt_begin(fdt, "chosen");
	fdt_string(fdt, "bootargs", g->cmdline);
	fdt_string(fdt, "stdout-path", "/uart");
	if (g->initrd != g->initrd_end) {
		FDT_CELLS(fdt, "linux,initrd-start", FDT_U64(g->initrd));
		FDT_CELLS(fdt, "linux,initrd-end", FDT_U64(g->initrd_end));
	}
	fdt_end(fdt);
}

static void fdt_cpu(struct fdt *fdt)
{
	fdt_begin(fdt, "cpus");
	FDT_CELLS(fdt, "#address-cells", 1);
	FDT_CELLS(fdt, "#size-cells", 0);
	fdt_begin(fdt, "cpu@0");
	fdt_string(fdt, "device_type", "cpu");
	fdt_string(fdt, "compatible", "arm,armv8");
	fdt_string(fdt, "enable-method", "psci");
	FDT_CELLS(fdt, "reg", 0);
	fdt_end(fdt);
	fdt_end(fdt);

	fdt_begin(fdt, "psci");
	fdt_string(fdt, "compatible", "arm,psci-0.2");
	fdt_string(fdt, "method", "hvc");
	fdt_end(fdt);

	/* secure, non-secure, virtual, hypervisor */
	fdt_begin(fdt, "timer");
	fdt_string(fdt, "compatible", "arm,armv8-timer");
	FDT_CELLS(fdt, "interrupts", IRQ_PPI, 13, IRQ_LEVEL, IRQ_PPI, 14, IRQ_LEVEL,
		  IRQ_PPI, 11, IRQ_LEVEL, IRQ_PPI, 10, IRQ_LEVEL);
	fdt_prop(fdt, "always-on", NULL, 0);
	fdt_end(fdt);
}

static void fdt_gic(struct fdt *fdt)
{
	fdt_begin(fdt, "gic");
	fdt_string(fdt, "compatible", "arm,gic-v3");
	fdt_prop(fdt, "interrupt-controller", NULL, 0);
	FDT_CELLS(fdt, "#interrupt-cells", 3);
	FDT_CELLS(fdt, "reg", FDT_U64(GICD_BASE), FDT_U64(GICD_SIZE),
		  FDT_U64(GICR_BASE), FDT_U64(GICR_SIZE));
	FDT_CELLS(fdt, "phandle", PHANDLE_GIC);
	fdt_end(fdt);
}

/* SBSA: a PL011 that needs no clock and is not asked who it is */
static void fdt_uart(struct fdt *fdt)
{
	fdt_begin(fdt, "uart");
	fdt_string(fdt, "compatible", "arm,sbsa-uart");
	FDT_CELLS(fdt, "reg", FDT_U64(UART_BASE), FDT_U64(UART_SIZE));
	FDT_CELLS(fdt, "interrupts", IRQ_SPI, UART_SPI, IRQ_LEVEL);
	FDT_CELLS(fdt, "current-speed", 115200);
	fdt_end(fdt);
}

static size_t make_dtb(const struct guest *g, char *dtb)
{
	static struct fdt fdt;

	fdt_begin(&fdt, "");
	fdt_string(&fdt, "compatible", "linux,dummy-virt");
	FDT_CELLS(&fdt, "#address-cells", 2);
	FDT_CELLS(&fdt, "#size-cells", 2);
	FDT_CELLS(&fdt, "interrupt-parent", PHANDLE_GIC);
	fdt_begin(&fdt, "memory");
	fdt_string(&fdt, "device_type", "memory");
	FDT_CELLS(&fdt, "reg", FDT_U64(RAM_BASE), FDT_U64(g->ram_size));
	fdt_end(&fdt);
	fdt_chosen(&fdt, g);
	fdt_cpu(&fdt);
	fdt_gic(&fdt);
	fdt_uart(&fdt);
	fdt_end(&fdt);
	return fdt_finish(&fdt, dtb);
}

/* Reads a file to the guest's memory at @addr, returns where it ends */
static uint64_t load(struct guest *g, const char *path, uint64_t addr)
{
	uint64_t room = g->ram_size - (addr - RAM_BASE);
	int fd = open(path, O_RDONLY);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	if ((uint64_t)st.st_size > room)
		die("%s does not fit into the guest's memory", path);
	for (off_t done = 0; done < st.st_size; done += n) {
		n = read(fd, g->ram + (addr - RAM_BASE) + done, st.st_size - done);
		if (n <= 0)
			die("%s: %s", path, n ? strerror(errno) : "too short");
	}
	close(fd);
	return addr + st.st_size;
}

/* An arm64 Image says where it wants to be and how much it uses */
struct image_header {
	uint32_t	code[2];
	uint64_t	text_offset, image_size, flags, res[3];
	char		magic[4];
	uint32_t	res5;
};

/* The kernel at the start of memory, then the device tree, then the initrd */
static void load_all(struct guest *g, const char *image, const char *initrd)
{
	struct image_header h;
	uint64_t end;

	load(g, image, RAM_BASE);
	memcpy(&h, g->ram, sizeof(h));
	if (memcmp(h.magic, "ARM\x64", sizeof(h.magic)))
		die("%s is not an uncompressed arm64 Image", image);
	if (h.text_offset)
		die("%s is too old: its text_offset is not 0", image);
	g->entry = RAM_BASE;
	g->dtb = RAM_BASE + align_up(h.image_size, IMAGE_ALIGN);
	g->initrd = g->dtb + IMAGE_ALIGN;
	g->initrd_end = g->initrd;
	if (g->initrd > RAM_BASE + g->ram_size)
		die("%s does not fit into the guest's memory", image);
	if (strcmp(initrd, "-"))
		g->initrd_end = load(g, initrd, g->initrd);
	end = g->dtb + make_dtb(g, g->ram + (g->dtb - RAM_BASE));
	if (end > g->initrd)
		die("the device tree is too large");
}

static void make_vm(struct guest *g, int protect)
{
	struct kvm_userspace_memory_region ram = {
		.guest_phys_addr = RAM_BASE, .memory_size = g->ram_size,
		.userspace_addr = (uintptr_t)g->ram,
	};

	g->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (g->kvm < 0)
		die("/dev/kvm: %s", strerror(errno));
	g->vm = XIOCTL(g->kvm, KVM_CREATE_VM, protect ? KVM_VM_TYPE_ARM_PROTECTED : 0);
	XIOCTL(g->vm, KVM_SET_USER_MEMORY_REGION, &ram);
}

static void set_reg(struct guest *g, size_t offset, uint64_t value)
{
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      offset / sizeof(uint32_t),
		.addr = (uintptr_t)&value,
	};

	XIOCTL(g->vcpu, KVM_SET_ONE_REG, &reg);
}

static void make_vcpu(struct guest *g)
{
	struct kvm_vcpu_init init;
	int size;

	g->vcpu = XIOCTL(g->vm, KVM_CREATE_VCPU, 0);
	XIOCTL(g->vm, KVM_ARM_PREFERRED_TARGET, &init);
	init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
	/* A guest that sees pointer authentication needs both kinds */
	if (ioctl(g->vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PTRAUTH_ADDRESS) > 0 &&
	    ioctl(g->vm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PTRAUTH_GENERIC) > 0)
		init.features[0] |= 1 << KVM_ARM_VCPU_PTRAUTH_ADDRESS |
				    1 << KVM_ARM_VCPU_PTRAUTH_GENERIC;
	XIOCTL(g->vcpu, KVM_ARM_VCPU_INIT, &init);
	set_reg(g, offsetof(struct kvm_regs, regs.pc), g->entry);
	set_reg(g, offsetof(struct kvm_regs, regs.regs[0]), g->dtb);

	size = XIOCTL(g->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	g->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (g->run == MAP_FAILED)
		die("no kvm_run: %s", strerror(errno));
}

static void set_gic(struct guest *g, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr a = {
		.group = group, .attr = attr, .addr = (uintptr_t)value,
	};

	XIOCTL(g->gic, KVM_SET_DEVICE_ATTR, &a);
}

static void make_gic(struct guest *g)
{
	struct kvm_create_device gic = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	const uint64_t dist = GICD_BASE, redist = GICR_BASE;
	const uint32_t irqs = GIC_IRQS;

	XIOCTL(g->vm, KVM_CREATE_DEVICE, &gic);
	g->gic = gic.fd;
	set_gic(g, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &dist);
	set_gic(g, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, &redist);
	set_gic(g, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &irqs);
	set_gic(g, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
}

static void uart(struct kvm_run *run)
{
	uint64_t offset = run->mmio.phys_addr - UART_BASE;

	if (run->mmio.is_write) {
		if (offset == UART_DR)
			putchar(run->mmio.data[0]);
		return;
	}
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	if (offset == UART_FR)
		run->mmio.data[0] = UART_FR_TXFE | UART_FR_RXFE;
}

static void mmio(struct kvm_run *run)
{
	uint64_t addr = run->mmio.phys_addr;

	if (addr >= UART_BASE && addr - UART_BASE < UART_SIZE)
		uart(run);
	else
		die("the guest %s %u bytes at %#llx, where nothing is",
		    run->mmio.is_write ? "wrote" : "read", run->mmio.len,
		    (unsigned long long)addr);
}

static void run_guest(struct guest *g)
{
	struct kvm_run *run = g->run;

	for (;;) {
		if (ioctl(g->vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			die("KVM_RUN: %s", strerror(errno));
		}
		switch (run->exit_reason) {
		case KVM_EXIT_MMIO:
			mmio(run);
			break;
		case KVM_EXIT_SYSTEM_EVENT:
			if (run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ||
			    run->system_event.type == KVM_SYSTEM_EVENT_RESET)
				return;
			die("the guest ended with system event %u",
			    run->system_event.type);
			break;
		default:
			die("KVM_RUN ended for reason %u", run->exit_reason);
		}
	}
}

int main(int argc, char **argv)
{
	struct guest g = { .cmdline = argc == 6 ? argv[5] : "" };
	int protect;

	if (argc < 5 || argc > 6)
		die("usage: vmm IMAGE INITRD|- RAM_MIB protected|plain [CMDLINE]");
	protect = !strcmp(argv[4], "protected");
	if (!protect && strcmp(argv[4], "plain"))
		die("'%s' is neither protected nor plain", argv[4]);
	g.ram_size = strtoull(argv[3], NULL, 10) * MIB;
	g.ram = mmap(NULL, g.ram_size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (g.ram == MAP_FAILED)
		die("%s MiB of memory: %s", argv[3], strerror(errno));

	setvbuf(stdout, NULL, _IOLBF, 0);
	load_all(&g, argv[1], argv[2]);
	make_vm(&g, protect);
	make_vcpu(&g);
	make_gic(&g);
	run_guest(&g);
	return 0;
}

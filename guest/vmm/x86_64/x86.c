// SPDX-License-Identifier: GPL-2.0
/*
 * vmm - boot a Linux kernel in an x86 KVM guest, with devices that tell what of the
 * guest's memory they could reach. See usage() for the options.
 *
 * An SEV guest is a plain KVM guest that is told by CPUID and MSRs that it has SEV;
 * sev.c has the two aliases of its memory. So is an SME host. What is said begins with
 * "vmm: "; the rest is the guest's console. Exit status 0 means that the guest switched
 * itself off, which is also what a panic with panic=-1 does, and that the verdict is
 * good.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <asm/bootparam.h>
#include <asm/kvm_para.h>
#include <linux/kvm_para.h>

#include "x86.h"

/* Where things are in the guest's memory. What is below 1 MiB is not for devices. */
#define PAGE_TABLES	0x1000ULL	/* 6 pages */
#define BOOT_PARAMS	0x10000ULL
#define CMDLINE		0x20000ULL
#define CMDLINE_MAX	0x1000
#define LOW_RAM		0x9f000ULL
#define MP_TABLE	0xf0000ULL
#define HIGH_RAM	0x100000ULL
#define IOAPIC_BASE	0xfec00000ULL
#define LAPIC_BASE	0xfee00000ULL
#define DEVICE_BASE	0xd0000000ULL
#define DEVICE_SPACING	0x4000ULL

/* Kinds of memory */
#define E820_RAM	1
#define E820_RESERVED	2

#define FIRST_IRQ	9		/* of a device; below are those of a PC */

/* Ports of a PC of which something is there */
#define COM1		0x3f8
#define COM1_IRQ	4
#define KEYBOARD	0x64
#define KEYBOARD_RESET	0xfe
#define CMOS		0x71

static struct x86 x86 = {
	.vmm = { .access_platform = true, .lock = PTHREAD_MUTEX_INITIALIZER },
	.cpus = 1, .c_bit = 39,
};
static struct vmm *const vmm = &x86.vmm;

static struct {
	const char	*image, *initrd;
	char		cmdline[CMDLINE_MAX];
	bool		trusted;
	uint64_t	disk;
} opt = { .disk = 16 * MIB };

static uint64_t entry;

__attribute__((format(printf, 1, 2)))
static void add_to_cmdline(const char *fmt, ...)
{
	size_t len = strlen(opt.cmdline);
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(opt.cmdline + len, CMDLINE_MAX - len, fmt, ap) >= (int)(CMDLINE_MAX - len))
		die("the command line is too long");
	va_end(ap);
}

/* To what an ELF kernel says, returns where it ends */
static uint64_t load_kernel(const char *path)
{
	uint64_t size, end = 0;
	char *file = map_file(path, &size);
	const Elf64_Ehdr *h = (void *)file;

	if (size < sizeof(*h) || memcmp(h->e_ident, ELFMAG, SELFMAG) ||
	    h->e_machine != EM_X86_64)
		die("%s is not an x86_64 vmlinux", path);
	for (int i = 0; i < h->e_phnum; i++) {
		const Elf64_Phdr *p = (void *)(file + h->e_phoff + i * h->e_phentsize);

		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_paddr < HIGH_RAM || p->p_paddr + p->p_memsz > vmm->ram_size ||
		    p->p_offset + p->p_filesz > size)
			die("%s does not fit into the guest's memory", path);
		memcpy(vmm->ram + p->p_paddr, file + p->p_offset, p->p_filesz);
		if (p->p_paddr + p->p_memsz > end)
			end = p->p_paddr + p->p_memsz;
	}
	entry = h->e_entry;
	munmap(file, size);
	return end;
}

static void load_all(void)
{
	struct boot_params *bp = (void *)(vmm->ram + BOOT_PARAMS);
	uint64_t end = load_kernel(opt.image), size, at;

	bp->hdr.boot_flag = 0xaa55;
	bp->hdr.header = 0x53726448;
	bp->hdr.type_of_loader = 0xff;
	bp->hdr.loadflags = LOADED_HIGH;
	/* What the part of a bzImage that unpacks it makes of mem_encrypt=on */
	if (vmm->kind == SME)
		bp->hdr.xloadflags = XLF_MEM_ENCRYPTION;
	bp->hdr.cmd_line_ptr = CMDLINE;
	bp->hdr.cmdline_size = CMDLINE_MAX;
	if (opt.initrd) {
		char *file = map_file(opt.initrd, &size);

		at = (vmm->ram_size - size) & ~(MIB - 1);
		if (size > vmm->ram_size || at < end + 16 * MIB)
			die("%s does not fit into the guest's memory", opt.initrd);
		memcpy(vmm->ram + at, file, size);
		munmap(file, size);
		bp->hdr.ramdisk_image = at;
		bp->hdr.ramdisk_size = size;
	}
	bp->e820_entries = 3;
	bp->e820_table[0] = (struct boot_e820_entry){ 0, LOW_RAM, E820_RAM };
	bp->e820_table[1] = (struct boot_e820_entry){
		LOW_RAM, HIGH_RAM - LOW_RAM, E820_RESERVED
	};
	bp->e820_table[2] = (struct boot_e820_entry){
		HIGH_RAM, vmm->ram_size - HIGH_RAM, E820_RAM
	};
	memcpy(vmm->ram + CMDLINE, opt.cmdline, CMDLINE_MAX);
}

/*
 * Intel MultiProcessor specification 1.4: which CPUs there are, and that pin N of the
 * IOAPIC is interrupt N of an ISA bus
 */
struct mp_floating {
	char		signature[4];
	uint32_t	table;
	uint8_t		length, revision, checksum, feature[5];
} __attribute__((packed));

struct mp_header {
	char		signature[4];
	uint16_t	length;
	uint8_t		revision, checksum;
	char		oem[8], product[12];
	uint32_t	oem_table;
	uint16_t	oem_size, entries;
	uint32_t	lapic, reserved;
} __attribute__((packed));

static uint8_t checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return -sum;
}

static void make_mp_table(void)
{
	struct mp_floating *f = (void *)(vmm->ram + MP_TABLE);
	struct mp_header *h = (void *)(f + 1);
	uint8_t *p = (void *)(h + 1);

#define MP_ENTRY(...) do {						\
	const uint8_t e[] = { __VA_ARGS__ };				\
	memcpy(p, e, sizeof(e));					\
	p += sizeof(e);							\
	h->entries++;							\
} while (0)
#define MP_32(n)	(uint8_t)(n), (uint8_t)((n) >> 8), (uint8_t)((n) >> 16), (uint8_t)((n) >> 24)
	for (unsigned int i = 0; i < x86.cpus; i++)
		MP_ENTRY(0, i, 0x14, i ? 1 : 3, MP_32(0x800f12), MP_32(0x201),
			 MP_32(0), MP_32(0));
	MP_ENTRY(1, 0, 'I', 'S', 'A', ' ', ' ', ' ');
	MP_ENTRY(2, x86.cpus, 0x11, 1, MP_32(IOAPIC_BASE));
	for (unsigned int i = 0; i < 16; i++)
		MP_ENTRY(3, 0, 0, 0, 0, i, x86.cpus, i);
	MP_ENTRY(4, 3, 0, 0, 0, 0, 0xff, 0);
	MP_ENTRY(4, 1, 0, 0, 0, 0, 0xff, 1);
#undef MP_32
#undef MP_ENTRY
	memcpy(h->signature, "PCMP", 4);
	memcpy(h->oem, "DMA     ", 8);
	memcpy(h->product, "GUEST       ", 12);
	h->length = p - (uint8_t *)h;
	h->revision = 4;
	h->lapic = LAPIC_BASE;
	h->checksum = checksum(h, h->length);
	memcpy(f->signature, "_MP_", 4);
	f->table = MP_TABLE + sizeof(*f);
	f->length = 1;
	f->revision = 4;
	f->checksum = checksum(f, sizeof(*f));
}

/* 4 GiB at their own address */
static void make_page_tables(void)
{
	uint64_t *table = (void *)(vmm->ram + PAGE_TABLES);

	table[0] = (PAGE_TABLES + 0x1000) | 3;
	for (int i = 0; i < 4; i++)
		table[512 + i] = (PAGE_TABLES + 0x2000 + i * 0x1000) | 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		table[1024 + i] = i << 21 | 0x83;
}

static struct kvm_cpuid2 *cpuid;

static struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	for (unsigned int i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	return NULL;
}

/* What KVM can do, less the state that it takes a while to switch, plus encryption */
static void make_cpuid(void)
{
	enum { MAX = 256 };
	struct kvm_cpuid_entry2 *e;

	cpuid = xcalloc(1, sizeof(*cpuid) + MAX * sizeof(cpuid->entries[0]));
	cpuid->nent = MAX - 1;
	XIOCTL(x86.kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	e = leaf(1, 0);
	/* FMA, XSAVE, OSXSAVE, AVX, F16C */
	e->ecx &= ~(1 << 12 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29);
	e = leaf(7, 0);
	if (e)
		e->ebx &= ~(1 << 5);	/* AVX2 */
	for (unsigned int i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0xd)
			memset(&cpuid->entries[i].eax, 0, 4 * sizeof(uint32_t));
	if (vmm->kind == PLAIN)
		return;
	/* A host, for all that it knows */
	if (vmm->kind == SME)
		leaf(1, 0)->ecx &= ~(1U << 31);
	if (vmm->kind == SEV) {
		e = leaf(KVM_CPUID_FEATURES, 0);
		e->eax |= 1 << KVM_FEATURE_MIGRATION_CONTROL;
	}
	e = leaf(0x8000001f, 0);
	if (!e)
		e = &cpuid->entries[cpuid->nent++];
	*e = (struct kvm_cpuid_entry2){
		.function = 0x8000001f,
		.eax = vmm->kind == SEV ? 2 : 1,
		.ebx = x86.c_bit | 1 << 6,
	};
	e = leaf(0x80000000, 0);
	if (e->eax < 0x8000001f)
		e->eax = 0x8000001f;
}

static void make_vm(void)
{
	struct kvm_enable_cap hypercall = {
		.cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1 << KVM_HC_MAP_GPA_RANGE },
	}, msrs = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { KVM_MSR_EXIT_REASON_FILTER },
	};
	static uint8_t none[1];
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = {
			{ KVM_MSR_FILTER_READ, 1, MSR_SEV_STATUS, none },
			{ KVM_MSR_FILTER_READ, 1, MSR_SYSCFG, none },
			{ KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1,
			  MSR_KVM_MIGRATION_CONTROL, none },
		},
	};
	struct kvm_pit_config pit = { 0 };

	x86.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (x86.kvm < 0)
		die("/dev/kvm: %s", strerror(errno));
	x86.vm = XIOCTL(x86.kvm, KVM_CREATE_VM,
			vmm->kind == SEV ? KVM_X86_SW_PROTECTED_VM : KVM_X86_DEFAULT_VM);
	XIOCTL(x86.vm, KVM_CREATE_IRQCHIP, 0);
	XIOCTL(x86.vm, KVM_CREATE_PIT2, &pit);
	if (vmm->kind != PLAIN) {
		XIOCTL(x86.vm, KVM_ENABLE_CAP, &msrs);
		XIOCTL(x86.vm, KVM_X86_SET_MSR_FILTER, &filter);
	}
	if (vmm->kind == SEV)
		XIOCTL(x86.vm, KVM_ENABLE_CAP, &hypercall);
	memory_add_slots(&x86);
}

static void make_vcpus(void)
{
	const struct kvm_segment code = {
		.limit = ~0U, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1,
		.g = 1,
	}, data = {
		.limit = ~0U, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1,
		.g = 1,
	};
	struct kvm_regs regs = { .rip = entry, .rsi = BOOT_PARAMS, .rflags = 2 };
	struct kvm_sregs sregs;

	for (unsigned int i = 0; i < x86.cpus; i++) {
		struct kvm_cpuid_entry2 *e;

		x86.vcpu[i] = XIOCTL(x86.vm, KVM_CREATE_VCPU, i);
		e = leaf(1, 0);
		e->ebx = (e->ebx & 0x00ffffff) | i << 24;
		for (int n = 0; n < 2; n++) {
			e = leaf(0xb, n);
			if (e)
				e->edx = i;
		}
		XIOCTL(x86.vcpu[i], KVM_SET_CPUID2, cpuid);
	}
	/* The others wait for the first */
	XIOCTL(x86.vcpu[0], KVM_GET_SREGS, &sregs);
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr3 = PAGE_TABLES;
	sregs.cr4 |= 1 << 5;			/* PAE */
	sregs.cr0 |= 1 | 1U << 31;		/* PE, PG */
	sregs.efer |= 1 << 8 | 1 << 10;		/* LME, LMA */
	XIOCTL(x86.vcpu[0], KVM_SET_SREGS, &sregs);
	XIOCTL(x86.vcpu[0], KVM_SET_REGS, &regs);
}

static void irq_line(unsigned int irq, bool level)
{
	struct kvm_irq_level l = { .irq = irq, .level = level };

	XIOCTL(x86.vm, KVM_IRQ_LINE, &l);
}

void guest_irq(struct vmm *v, unsigned int irq, bool level)
{
	(void)v;
	irq_line(irq, level);
}

/* As much of a 16550 as it takes to print: the transmitter is always ready */
static void serial(struct kvm_run *run, uint8_t *data)
{
	static uint8_t reg[8], pending;
	unsigned int nr = run->io.port - COM1;
	const bool dlab = reg[3] & 0x80;

	if (run->io.direction == KVM_EXIT_IO_OUT) {
		if (nr == 0 && !dlab)
			console_byte(*data);
		else if (nr == 1 && !dlab)
			reg[1] = *data & 0x0f;
		else if (nr > 1)
			reg[nr] = *data;
		/* An interrupt when the transmitter gets ready, or the guest wants to know */
		if (nr <= 1 && !dlab && reg[1] & 2) {
			pending = 1;
			irq_line(COM1_IRQ, false);
			irq_line(COM1_IRQ, true);
		}
		return;
	}
	switch (nr) {
	case 0:	*data = 0; break;
	case 2:
		*data = (pending && reg[1] & 2 ? 0x02 : 0x01) | (reg[2] & 1 ? 0xc0 : 0);
		pending = 0;
		irq_line(COM1_IRQ, false);
		break;
	case 5:	*data = 0x60; break;
	case 6:	*data = 0xb0; break;
	default: *data = reg[nr];
	}
}

static void port(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	if (run->io.port == KEYBOARD && run->io.direction == KVM_EXIT_IO_OUT &&
	    *data == KEYBOARD_RESET) {
		pthread_mutex_lock(&vmm->lock);
		memory_say(&x86);
		exit(verdict(vmm));
	}
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.port >= COM1 && run->io.port < COM1 + 8 && run->io.size == 1) {
			pthread_mutex_lock(&vmm->lock);
			serial(run, data);
			pthread_mutex_unlock(&vmm->lock);
		} else if (run->io.direction == KVM_EXIT_IO_IN) {
			/* These have nothing to say and are not busy */
			memset(data, run->io.port == KEYBOARD || run->io.port == CMOS ? 0 : 0xff,
			       run->io.size);
		}
	}
}

static void msr(struct kvm_run *run, bool write)
{
	run->msr.error = 0;
	switch (run->msr.index) {
	case MSR_SEV_STATUS:
		run->msr.data = vmm->kind == SEV;
		break;
	case MSR_SYSCFG:
		/* SME is enabled */
		run->msr.data = vmm->kind == SME ? 1 << 23 : 0;
		break;
	case MSR_KVM_MIGRATION_CONTROL:
		if (write && run->msr.data & KVM_MIGRATION_READY)
			memory_enforce(&x86);
		else if (!write)
			run->msr.data = 0;
		break;
	default:
		run->msr.error = 1;
	}
}

static void mmio(struct kvm_run *run)
{
	if (device_mmio(vmm, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
			run->mmio.is_write)) {
		x86.devices_used = true;
		return;
	}
	if (run->mmio.phys_addr & vmm->alias_bit)
		die("the guest uses a device at %#llx, with the C-bit",
		    (unsigned long long)run->mmio.phys_addr);
	if (!run->mmio.is_write)
		memset(run->mmio.data, 0xff, run->mmio.len);
}

__attribute__((noreturn))
static void triple_fault(int vcpu)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	XIOCTL(vcpu, KVM_GET_REGS, &regs);
	XIOCTL(vcpu, KVM_GET_SREGS, &sregs);
	die("the guest ended with a triple fault rip=%#llx cr2=%#llx cr3=%#llx",
	    regs.rip, sregs.cr2, sregs.cr3);
}

static void *run_vcpu(void *arg)
{
	int vcpu = *(int *)arg;
	int size = XIOCTL(x86.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (run == MAP_FAILED)
		die("no kvm_run: %s", strerror(errno));
	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			if (errno == EFAULT && run->exit_reason == KVM_EXIT_MEMORY_FAULT) {
				memory_fault(&x86, vcpu, run->memory_fault.gpa);
				continue;
			}
			die("KVM_RUN: %s", strerror(errno));
		}
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			port(run);
			break;
		case KVM_EXIT_MMIO:
			mmio(run);
			break;
		case KVM_EXIT_HYPERCALL:
			memory_state(&x86, run->hypercall.args[0],
				     run->hypercall.args[1], run->hypercall.args[2]);
			run->hypercall.ret = 0;
			break;
		case KVM_EXIT_X86_RDMSR:
		case KVM_EXIT_X86_WRMSR:
			msr(run, run->exit_reason == KVM_EXIT_X86_WRMSR);
			break;
		case KVM_EXIT_SHUTDOWN:
			triple_fault(vcpu);
		default:
			die("KVM_RUN ended for reason %u", run->exit_reason);
		}
	}
	return NULL;
}

/* Virtio devices are on the command line, where a PC has them; so are the doorbells */
static void make_devices(void)
{
	uint64_t base = DEVICE_BASE;
	unsigned int irq = FIRST_IRQ;

#define NEXT	(base += DEVICE_SPACING) - DEVICE_SPACING
	device_add(vmm, doorbell_new("doorbell", NEXT, false, true));
	device_add(vmm, virtio_blk_new("disk", NEXT, irq++, false, opt.disk));
	device_add(vmm, virtio_net_new("net", NEXT, irq++));
	/* Below the C-bit, and just with it */
	device_add(vmm, doorbell_new("doorbell-32", NEXT, false, true));
	vmm->devices[vmm->nr_devices - 1]->addr_bits = 32;
	device_add(vmm, doorbell_new("doorbell-40", NEXT, false, true));
	vmm->devices[vmm->nr_devices - 1]->addr_bits = 40;
	if (opt.trusted)
		device_add(vmm, doorbell_new("trusted-doorbell", NEXT, true, true));
#undef NEXT
	add_to_cmdline(" base=");
	for (unsigned int i = 0, n = 0; i < vmm->nr_devices; i++)
		if (!vmm->devices[i]->irq)
			add_to_cmdline("%s%#llx", n++ ? "," : "",
				       (unsigned long long)vmm->devices[i]->base);
	for (unsigned int i = 0; i < vmm->nr_devices; i++)
		if (vmm->devices[i]->irq)
			add_to_cmdline(" virtio_mmio.device=%llu@%#llx:%u",
				       (unsigned long long)vmm->devices[i]->size,
				       (unsigned long long)vmm->devices[i]->base,
				       vmm->devices[i]->irq);
}

void usage(void)
{
	fputs("usage: vmm [OPTION...] VMLINUX [CMDLINE...]\n"
	      "  -t plain|sev|sme  what the guest runs in, or is (plain)\n"
	      "  -m MIB   memory (256)\n"
	      "  -c N     CPUs (1)\n"
	      "  -i FILE  initrd\n"
	      "  -d MIB   size of a disk (16)\n"
	      "  -x       virtio without VIRTIO_F_ACCESS_PLATFORM\n"
	      "  -T       with a trusted device, too\n", stderr);
	exit(2);
}

static void options(int argc, char **argv)
{
	int c;

	vmm->ram_size = 256 * MIB;
	while ((c = getopt(argc, argv, "+t:m:c:i:d:xT")) != -1) {
		switch (c) {
		case 't':
			if (!strcmp(optarg, "sev"))
				vmm->kind = SEV;
			else if (!strcmp(optarg, "sme"))
				vmm->kind = SME;
			else if (strcmp(optarg, "plain"))
				usage();
			break;
		case 'm': vmm->ram_size = number(optarg) * MIB; break;
		case 'c': x86.cpus = number(optarg); break;
		case 'i': opt.initrd = optarg; break;
		case 'd': opt.disk = number(optarg) * MIB; break;
		case 'x': vmm->access_platform = false; break;
		case 'T': opt.trusted = true; break;
		default: usage();
		}
	}
	if (optind == argc || !x86.cpus || x86.cpus > MAX_CPUS || vmm->ram_size < 64 * MIB ||
	    vmm->ram_size > DEVICE_BASE || (opt.trusted && vmm->kind == PLAIN))
		usage();
	opt.image = argv[optind];
	add_to_cmdline("pci=off reboot=k poweroff=restart mitigations=off");
	while (++optind < argc)
		add_to_cmdline(" %s", argv[optind]);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	options(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	memory_make(&x86);
	make_devices();
	load_all();
	make_mp_table();
	make_page_tables();
	make_vm();
	make_cpuid();
	make_vcpus();
	for (unsigned int i = 1; i < x86.cpus; i++)
		if (pthread_create(&thread, NULL, run_vcpu, &x86.vcpu[i]))
			die("no thread for a CPU");
	run_vcpu(&x86.vcpu[0]);
	return 1;
}

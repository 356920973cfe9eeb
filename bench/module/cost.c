// SPDX-License-Identifier: GPL-2.0
/*
 * What calls of the DMA API cost, in instructions. It uses nothing but what drivers
 * use, so that it measures every kernel alike.
 *
 * It takes a machine whose counter goes up by one with each instruction, such as qemu's
 * with "-accel tcg -icount shift=0": the time stamp counter there, the cycle counter of
 * the PMU on arm64. Two readings around nothing give what reading costs, which is
 * subtracted. A known number of instructions is measured first, to see that this is so.
 *
 * A row is printed as "cost: NAME VALUE" with what one call costs, or for a scatterlist
 * one segment of it. Streaming calls are made with interrupts off and their value is the
 * mean; those that allocate may sleep, and theirs is the median.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/timex.h>
#include <linux/vmalloc.h>

#define SLOT		SZ_2K		/* of a bounce buffer */
#define MAX_SLOTS	128		/* of a mapping */
#define MAX_SAMPLES	1024
#define MAX_SEGS	256

static char *kind = "direct";
module_param(kind, charp, 0444);
MODULE_PARM_DESC(kind, "What to measure: direct, bounced, fill, pools or cpus");

static uint slots = 32768;
module_param(slots, uint, 0444);
MODULE_PARM_DESC(slots, "How many slots the pool has (32768)");

#ifdef CONFIG_X86
#define MMIO	0xfed00000UL		/* the HPET of a PC */
static void counter_start(void) { }
#define counter() rdtsc()
#else
#define MMIO	0x09010000UL		/* the clock of qemu's virt */
static void counter_start(void)
{
	write_sysreg(0, pmccfiltr_el0);
	write_sysreg(BIT(31), pmcntenset_el0);
	write_sysreg(BIT(0) | BIT(6), pmcr_el0);
	isb();
}
#define counter() read_sysreg(pmccntr_el0)
#endif

static u64 *samples;
static u64 reading;			/* what a reading of the counter costs */

/* Measure @call as sample @i of row @row */
#define MEASURE(row, i, call)						\
do {									\
	u64 start, end;							\
									\
	barrier();							\
	start = counter();						\
	call;								\
	end = counter();						\
	barrier();							\
	samples[(row) * MAX_SAMPLES + (i)] = end - start;		\
} while (0)

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void print(const char *name, const char *size, u64 tenths)
{
	pr_notice("cost: %s%s%s %llu.%llu\n", name, *size ? "/" : "", size,
		tenths / 10, tenths % 10);
}

/* The mean of @n samples of @row, each of @per things */
static void mean(unsigned int row, unsigned int n, unsigned int per,
		 const char *name, const char *size)
{
	u64 sum = 0;
	unsigned int i;

	for (i = 0; i < n; i++)
		sum += samples[row * MAX_SAMPLES + i] - reading;
	print(name, size, (sum * 10 + n * per / 2) / (n * per));
}

static void median(unsigned int row, unsigned int n, const char *name,
		   const char *size)
{
	u64 *s = samples + row * MAX_SAMPLES;

	sort(s, n, sizeof(*s), compare, NULL);
	print(name, size, (s[n / 2] - reading) * 10);
}

/* Once unmeasured, so that nothing is done for the first time */
#define ROUNDS(i, n)	for (i = -1; i < (n); i++)
#define SAMPLE(i)	((i) < 0 ? 0 : (i))

static int calibrate(void)
{
	unsigned long flags;
	int i;

	local_irq_save(flags);
	counter_start();
	for (i = 0; i < 16; i++)
		MEASURE(0, i, barrier());
	for (i = 0; i < 16; i++)
		MEASURE(1, i, asm volatile(".rept 1000\n\tnop\n\t.endr"));
	local_irq_restore(flags);
	reading = samples[8];
	pr_notice("cost: calibration reading=%llu nops=%llu\n", reading,
		samples[MAX_SAMPLES + 8] - reading);
	return samples[MAX_SAMPLES + 8] - reading == 1000 ? 0 : -EIO;
}

/*
 * Streaming mappings
 */

static int page_row(struct device *dev, struct page *page, size_t len, int n,
		    unsigned long attrs, const char *size, bool sync)
{
	unsigned long flags;
	dma_addr_t addr;
	int i, err = 0;

	local_irq_save(flags);
	ROUNDS(i, n) {
		MEASURE(0, SAMPLE(i),
			addr = dma_map_page_attrs(dev, page, 0, len,
						  DMA_BIDIRECTIONAL, attrs));
		err = dma_mapping_error(dev, addr);
		if (err)
			break;
		if (sync) {
			MEASURE(1, SAMPLE(i),
				dma_sync_single_for_cpu(dev, addr, len,
							DMA_BIDIRECTIONAL));
			MEASURE(2, SAMPLE(i),
				dma_sync_single_for_device(dev, addr, len,
							   DMA_BIDIRECTIONAL));
		}
		MEASURE(3, SAMPLE(i),
			dma_unmap_page_attrs(dev, addr, len, DMA_BIDIRECTIONAL,
					     attrs));
	}
	local_irq_restore(flags);
	if (err)
		return err;
	mean(0, n, 1, "map_page", size);
	if (sync) {
		mean(1, n, 1, "sync_for_cpu", size);
		mean(2, n, 1, "sync_for_device", size);
	}
	mean(3, n, 1, "unmap_page", size);
	return 0;
}

static int sg_row(struct device *dev, struct page *page, int segs,
		  const char *size)
{
	struct scatterlist *sgl, *sg;
	unsigned long flags;
	int i, n = 64, mapped = 0;

	sgl = kcalloc(segs, sizeof(*sgl), GFP_KERNEL);
	if (!sgl)
		return -ENOMEM;
	sg_init_table(sgl, segs);
	for_each_sg(sgl, sg, segs, i)
		sg_set_page(sg, page + i % (SZ_256K / PAGE_SIZE), PAGE_SIZE, 0);
	local_irq_save(flags);
	ROUNDS(i, n) {
		MEASURE(0, SAMPLE(i),
			mapped = dma_map_sg(dev, sgl, segs, DMA_TO_DEVICE));
		if (mapped <= 0)
			break;
		MEASURE(1, SAMPLE(i),
			dma_unmap_sg(dev, sgl, segs, DMA_TO_DEVICE));
	}
	local_irq_restore(flags);
	kfree(sgl);
	if (mapped <= 0)
		return -EIO;
	mean(0, n, segs, "map_sg", size);
	mean(1, n, segs, "unmap_sg", size);
	return 0;
}

static int resource_row(struct device *dev)
{
	unsigned long flags;
	dma_addr_t addr;
	int i, n = 64, err = 0;

	local_irq_save(flags);
	ROUNDS(i, n) {
		MEASURE(0, SAMPLE(i),
			addr = dma_map_resource(dev, MMIO, SZ_4K,
						DMA_BIDIRECTIONAL, 0));
		err = dma_mapping_error(dev, addr);
		if (err)
			break;
		MEASURE(1, SAMPLE(i),
			dma_unmap_resource(dev, addr, SZ_4K, DMA_BIDIRECTIONAL,
					   0));
	}
	local_irq_restore(flags);
	if (err)
		return err;
	mean(0, n, 1, "map_resource", "");
	mean(1, n, 1, "unmap_resource", "");
	return 0;
}

/*
 * Allocations
 */

static int alloc_row(struct device *dev, size_t len, const char *size)
{
	dma_addr_t addr;
	struct page *page;
	void *cpu;
	int i, n = 65;

	ROUNDS(i, n) {
		MEASURE(0, SAMPLE(i),
			cpu = dma_alloc_coherent(dev, len, &addr, GFP_KERNEL));
		if (!cpu)
			return -ENOMEM;
		MEASURE(1, SAMPLE(i), dma_free_coherent(dev, len, cpu, addr));
	}
	median(0, n, "alloc_coherent", size);
	median(1, n, "free_coherent", size);
	ROUNDS(i, n) {
		MEASURE(0, SAMPLE(i),
			page = dma_alloc_pages(dev, len, &addr,
					       DMA_BIDIRECTIONAL, GFP_KERNEL));
		if (!page)
			return -ENOMEM;
		MEASURE(1, SAMPLE(i),
			dma_free_pages(dev, len, page, addr,
				       DMA_BIDIRECTIONAL));
	}
	median(0, n, "alloc_pages", size);
	median(1, n, "free_pages", size);
	return 0;
}

static int pool_row(struct device *dev)
{
	struct dma_pool *pool = dma_pool_create("cost", dev, 64, 64, 0);
	dma_addr_t addr, first_addr;
	void *cpu = NULL, *first;
	int i, n = 65;

	if (!pool)
		return -ENOMEM;
	/* The pool's page stays */
	first = dma_pool_alloc(pool, GFP_KERNEL, &first_addr);
	if (!first)
		goto out;
	ROUNDS(i, n) {
		MEASURE(0, SAMPLE(i),
			cpu = dma_pool_alloc(pool, GFP_KERNEL, &addr));
		if (!cpu)
			break;
		MEASURE(1, SAMPLE(i), dma_pool_free(pool, cpu, addr));
	}
	dma_pool_free(pool, first, first_addr);
out:
	dma_pool_destroy(pool);
	if (!cpu)
		return -ENOMEM;
	median(0, n, "dma_pool_alloc", "");
	median(1, n, "dma_pool_free", "");
	return 0;
}

static int all_allocations(struct device *dev)
{
	return alloc_row(dev, SZ_4K, "4K") ?: alloc_row(dev, SZ_64K, "64K") ?:
	       pool_row(dev);
}

/* Nothing is bounced, or all is by what the machine does */
static int direct(struct device *dev, struct page *page)
{
	return page_row(dev, page, SZ_4K, 64, 0, "", true) ?:
	       sg_row(dev, page, 1, "1") ?: sg_row(dev, page, 16, "16") ?:
	       sg_row(dev, page, 256, "256") ?: resource_row(dev) ?:
	       all_allocations(dev);
}

/*
 * Mappings that are held: what is full
 */

static dma_addr_t *held;
static unsigned int nr_held;

static dma_addr_t hold_one(struct device *dev, struct page *page, size_t len)
{
	return dma_map_page_attrs(dev, page, 0, len, DMA_TO_DEVICE,
				  DMA_ATTR_SKIP_CPU_SYNC);
}

static void release_one(struct device *dev, dma_addr_t addr, size_t len)
{
	dma_unmap_page_attrs(dev, addr, len, DMA_TO_DEVICE,
			     DMA_ATTR_SKIP_CPU_SYNC);
}

static int hold(struct device *dev, struct page *page, size_t len)
{
	dma_addr_t addr = hold_one(dev, page, len);

	if (dma_mapping_error(dev, addr))
		return -ENOSPC;
	held[nr_held++] = addr;
	return 0;
}

static void release(struct device *dev, unsigned int i, size_t len)
{
	release_one(dev, held[i], len);
	held[i] = held[--nr_held];
}

/* In a guest, the first access to a page costs the host's work, too */
static void touch(struct device *dev, struct page *page)
{
	while (nr_held < slots / MAX_SLOTS && !hold(dev, page, SZ_256K))
		;
	while (nr_held)
		release(dev, nr_held - 1, SZ_256K);
}

static int bounced(struct device *dev, struct page *page)
{
	unsigned int n;
	char size[16];
	int err;

	touch(dev, page);
	err = page_row(dev, page, 64, 256, 0, "64", true) ?:
	      page_row(dev, page, SZ_4K, 256, 0, "4K", true) ?:
	      page_row(dev, page, SZ_256K, 64, 0, "256K", true) ?:
	      sg_row(dev, page, 16, "16") ?: all_allocations(dev);
	/* What finding slots costs, with the data, and releasing them, without it */
	for (n = 1; n <= MAX_SLOTS && !err; n *= 2) {
		snprintf(size, sizeof(size), "%u-slot%s", n, n > 1 ? "s" : "");
		err = page_row(dev, page, n * SLOT, 256,
			       DMA_ATTR_SKIP_CPU_SYNC, size, false);
	}
	return err;
}

/* A pool of which so many percent are in use, all over it */
static int fill(struct device *dev, struct page *page)
{
	static const unsigned int percent[] = { 95, 50, 10 };
	unsigned int random = 1, i;
	char size[16];
	int err = 0;

	/* A little less than all, or a pool that may grow would */
	while (nr_held < slots - 2 && !err)
		err = hold(dev, page, SLOT);
	for (i = 0; i < ARRAY_SIZE(percent) && !err; i++) {
		while (nr_held > slots / 100 * percent[i]) {
			random = random * 1103515245 + 12345;
			release(dev, (random >> 8) % nr_held, SLOT);
		}
		snprintf(size, sizeof(size), "1-slot,%u%%", percent[i]);
		err = page_row(dev, page, SLOT, MAX_SAMPLES,
			       DMA_ATTR_SKIP_CPU_SYNC, size, false);
		snprintf(size, sizeof(size), "2-slots,%u%%", percent[i]);
		err = err ?: page_row(dev, page, 2 * SLOT, MAX_SAMPLES,
				      DMA_ATTR_SKIP_CPU_SYNC, size, false);
	}
	while (nr_held)
		release(dev, nr_held - 1, SLOT);
	return err;
}

/*
 * More and more pools, all full but the oldest, which is the last one to be searched.
 * Each has @slots slots. A work item makes one more after a mapping that did not fit.
 */
static int pools(struct device *dev, struct page *page)
{
	static const unsigned int live[] = { 1, 8, 64 };
	unsigned int i, n, each = slots / MAX_SLOTS;
	char size[16];
	int err = 0;

	for (i = 0; i < ARRAY_SIZE(live) && !err; i++) {
		while (nr_held < live[i] * each && !err) {
			if (nr_held && nr_held % each == 0) {
				/* It gets a pool of its own, until then */
				err = hold(dev, page, SZ_256K);
				if (err)
					break;
				release(dev, nr_held - 1, SZ_256K);
				msleep(50);
			}
			err = hold(dev, page, SZ_256K);
		}
		if (err)
			break;
		for (n = 0; n < each; n++)
			release_one(dev, held[n], SZ_256K);
		snprintf(size, sizeof(size), "%u-pool%s", live[i],
			 live[i] > 1 ? "s" : "");
		err = page_row(dev, page, SZ_4K, 256, DMA_ATTR_SKIP_CPU_SYNC,
			       size, false);
		for (n = 0; n < each; n++)
			held[n] = hold_one(dev, page, SZ_256K);
	}
	while (nr_held)
		release(dev, nr_held - 1, SZ_256K);
	return err;
}

/*
 * Two CPUs at once, by the clock and by how often they get into each other's way
 */

#define CPU_MAPPINGS	20000

struct mapper {
	struct device *dev;
	struct page *page;
	struct completion done;
};

static atomic_t waiting;

/*
 * A CPU that finds a spin lock taken goes here. The tracepoint contention_begin does
 * not see all: neither the first one that waits nor any on a hypervisor.
 */
static const char * const slow_paths[] = {
	"native_queued_spin_lock_slowpath",	/* with PARAVIRT_SPINLOCKS */
	"queued_spin_lock_slowpath",
};

static struct task_struct *mapping[NR_CPUS];
static unsigned int contended[NR_CPUS];

static int lock_taken(struct kprobe *probe, struct pt_regs *regs)
{
	int cpu = smp_processor_id();

	if (current == mapping[cpu])
		contended[cpu]++;
	return 0;
}
NOKPROBE_SYMBOL(lock_taken);

static int mapper(void *data)
{
	struct mapper *m = data;
	dma_addr_t addr;
	int i;

	mapping[smp_processor_id()] = current;
	/* Start together */
	atomic_dec(&waiting);
	while (atomic_read(&waiting) > 0)
		cpu_relax();
	for (i = 0; i < CPU_MAPPINGS; i++) {
		addr = dma_map_page_attrs(m->dev, m->page, 0, SLOT,
					  DMA_TO_DEVICE,
					  DMA_ATTR_SKIP_CPU_SYNC);
		if (dma_mapping_error(m->dev, addr))
			break;
		dma_unmap_page_attrs(m->dev, addr, SLOT, DMA_TO_DEVICE,
				     DMA_ATTR_SKIP_CPU_SYNC);
	}
	mapping[smp_processor_id()] = NULL;
	complete(&m->done);
	return i < CPU_MAPPINGS ? -ENOSPC : 0;
}

/* Nanoseconds until @n CPUs have made their mappings */
static s64 race(struct device *dev, struct page *page, int n)
{
	struct mapper m[2];
	struct task_struct *task;
	ktime_t start;
	int cpu;

	atomic_set(&waiting, n);
	start = ktime_get();
	for (cpu = 0; cpu < n; cpu++) {
		m[cpu] = (struct mapper){ .dev = dev, .page = page };
		init_completion(&m[cpu].done);
		task = kthread_create(mapper, &m[cpu], "mapper/%d", cpu);
		if (IS_ERR(task))
			return PTR_ERR(task);
		kthread_bind(task, cpu);
		wake_up_process(task);
	}
	for (cpu = 0; cpu < n; cpu++)
		wait_for_completion(&m[cpu].done);
	return ktime_to_ns(ktime_sub(ktime_get(), start));
}

/* How often one CPU waits for the other. Being counted takes time, so none is measured */
static int contention(struct device *dev, struct page *page)
{
	struct kprobe probe;
	int i, n = 11, err;

	for (i = 0; i < ARRAY_SIZE(slow_paths); i++) {
		probe = (struct kprobe){
			.symbol_name = slow_paths[i],
			.pre_handler = lock_taken,
		};
		err = register_kprobe(&probe);
		if (!err)
			break;
	}
	if (err)
		return err;
	for (i = 0; i < n; i++) {
		contended[0] = 0;
		contended[1] = 0;
		if (race(dev, page, 2) < 0) {
			err = -ENOMEM;
			break;
		}
		samples[i] = contended[0] + contended[1];
	}
	unregister_kprobe(&probe);
	if (err)
		return err;
	sort(samples, n, sizeof(*samples), compare, NULL);
	print("contended-locks/1000-maps", "",
	      samples[n / 2] * 10 * 1000 / (2 * CPU_MAPPINGS));
	return 0;
}

static int cpus(struct device *dev, struct page *page)
{
	int i, n = 11;
	s64 one, two;

	for (i = 0; i < n; i++) {
		one = race(dev, page, 1);
		two = race(dev, page, 2);
		if (one < 0 || two < 0)
			return -ENOMEM;
		samples[i] = div64_s64(two * 100, one);
	}
	sort(samples, n, sizeof(*samples), compare, NULL);
	pr_notice("cost: two-cpus/one-cpu %llu.%02llu\n", samples[n / 2] / 100,
		samples[n / 2] % 100);
	return contention(dev, page);
}

static const struct {
	const char *name;
	int (*measure)(struct device *dev, struct page *page);
	bool by_clock;
} kinds[] = {
	{ "direct",	direct },
	{ "bounced",	bounced },
	{ "fill",	fill },
	{ "pools",	pools },
	{ "cpus",	cpus, true },
};

static int cost_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct page *page;
	unsigned int i;
	int err = -EINVAL;

	err = dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (err)
		return err;
	samples = vzalloc(4 * MAX_SAMPLES * sizeof(*samples));
	held = vzalloc(slots * sizeof(*held));
	page = alloc_pages(GFP_KERNEL | __GFP_ZERO, get_order(SZ_256K));
	if (!samples || !held || !page) {
		err = -ENOMEM;
		goto out;
	}
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kind, kinds[i].name))
			continue;
		err = kinds[i].by_clock ? 0 : calibrate();
		err = err ?: kinds[i].measure(dev, page);
	}
out:
	if (err)
		pr_err("cost: error: %s: %d\n", kind, err);
	else
		pr_notice("cost: end\n");
	if (page)
		__free_pages(page, get_order(SZ_256K));
	vfree(held);
	vfree(samples);
	return err;
}

static const struct of_device_id cost_of_match[] = {
	{ .compatible = "bench,cost" },
	{ }
};

static struct platform_driver cost_driver = {
	.probe	= cost_probe,
	.driver	= {
		.name = "cost",
		.of_match_table = cost_of_match,
	},
};

static struct platform_device *device;

static int __init cost_init(void)
{
	struct device_node *node = of_find_compatible_node(NULL, NULL,
							   "bench,cost");

	of_node_put(node);
	/* A machine without a device tree has no such device */
	if (!node) {
		device = platform_device_register_simple("cost",
							 PLATFORM_DEVID_NONE,
							 NULL, 0);
		if (IS_ERR(device))
			return PTR_ERR(device);
	}
	return platform_driver_register(&cost_driver);
}

static void __exit cost_exit(void)
{
	platform_driver_unregister(&cost_driver);
	platform_device_unregister(device);
}

module_init(cost_init);
module_exit(cost_exit);

MODULE_DESCRIPTION("Cost of calls of the DMA API");
MODULE_LICENSE("GPL");

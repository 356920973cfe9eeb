// SPDX-License-Identifier: GPL-2.0
/*
 * Driver of the doorbell (doorbell.h): a walk over all that the DMA API offers to a
 * driver, with a device that tells of every DMA address whether it could reach the
 * memory, and what it found there.
 *
 * The walk is done when the device is probed, by several threads at once. What came
 * of it can be read from /dev/doorbellN. Who maps that file shares a coherent buffer
 * with the device, and tells the device by a write what to do with it.
 *
 * A new case is a function of a few lines, and a line in the table of cases.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/of_platform.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/swiotlb.h>
#include <linux/uaccess.h>

#include "doorbell.h"

#define MAX_CASES	32
#define MAX_BASES	8
#define SKIPPED		1		/* what a case returns if there is nothing to test */
#define BUFFER_SIZE	SZ_64K		/* of /dev/doorbellN */

static ulong base[MAX_BASES];
static int nr_bases;
module_param_array(base, ulong, &nr_bases, 0444);
MODULE_PARM_DESC(base, "Addresses of doorbells, on a machine without device tree");

static uint threads = 2;
module_param(threads, uint, 0444);
MODULE_PARM_DESC(threads, "Threads that walk at once (2)");

static uint rounds = 20;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "How often a thread does each case (20)");

static char *only = "";
module_param(only, charp, 0444);
MODULE_PARM_DESC(only, "Do only cases whose name begins like this");

struct counts {
	atomic_t passed, failed, skipped;
};

struct doorbell {
	struct device *dev;
	void __iomem *regs;
	phys_addr_t phys;
	unsigned int id;
	u64 kind;
	u64 alias;			/* by which memory has two addresses, or 0 */
	unsigned int bits;		/* of an address */
	struct completion go;
	struct counts counts[MAX_CASES];
	unsigned int wanted, faulted;	/* by the negative cases */
	struct miscdevice misc;
	struct mutex lock;		/* of bank 0 after the walk */
	size_t len;			/* of text */
	char text[SZ_4K];
};

/* What a thread knows */
struct walk {
	struct doorbell *db;
	struct device *dev;
	void __iomem *bank;
	unsigned int thread, round;
	const char *name;		/* of the case */
	unsigned long arg;		/* from the table of cases */
	u64 seed, random;
	spinlock_t lock;		/* just to hold one */
	struct completion done;
};

/*
 * Patterns. None is used twice, so that what is left of an earlier one is noticed
 */

static u64 new_seed(struct walk *w)
{
	return w->seed += DB_MAX_LEN / 8;
}

/* A number from @min to @max: the same one whenever the case is run */
static unsigned int pick(struct walk *w, unsigned int min, unsigned int max)
{
	return min + (u32)pattern(~w->random++) % (max - min + 1);
}

static void fill(void *buf, u64 seed, size_t len)
{
	u8 *p = buf;
	u64 word = 0;
	size_t i;

	for (i = 0; i < len; i++, word >>= 8) {
		if (i % 8 == 0)
			word = pattern(seed + i / 8);
		p[i] = word;
	}
}

/* Is what is in @buf, between two offsets, still or by now the pattern? */
static int expect(struct walk *w, const void *buf, u64 seed, size_t from,
		  size_t to)
{
	const u8 *p = buf;
	u64 word = 0;
	size_t i;

	for (i = from; i < to; i++, word >>= 8) {
		if (i == from || i % 8 == 0)
			word = pattern(seed + i / 8) >> (i % 8 * 8);
		if (p[i] == (u8)word)
			continue;
		dev_err_ratelimited(w->dev,
				    "%s: thread %u round %u: offset %zu of %zu to %zu: got %02x, wanted %02x\n",
				    w->name, w->thread, w->round, i, from, to,
				    p[i], (u8)word);
		return -EILSEQ;
	}
	return 0;
}

static int expect_zeroes(struct walk *w, const void *buf, size_t len)
{
	const u8 *p = memchr_inv(buf, 0, len);

	if (!p)
		return 0;
	dev_err_ratelimited(w->dev,
			    "%s: thread %u round %u: offset %zu of %zu: got %02x, wanted 00\n",
			    w->name, w->thread, w->round,
			    (size_t)(p - (const u8 *)buf), len, *p);
	return -EILSEQ;
}

/* What went wrong, if it is not the data */
static int trouble(struct walk *w, const char *what, size_t len, int err)
{
	dev_err_ratelimited(w->dev, "%s: thread %u round %u: %zu bytes: %s\n",
			    w->name, w->thread, w->round, len, what);
	return err;
}

/*
 * What the device does
 */

static u64 ring(void __iomem *bank, u64 cmd, dma_addr_t addr, u64 len, u64 seed)
{
	writeq(addr, bank + DB_ADDR);
	writeq(len, bank + DB_LEN);
	writeq(seed, bank + DB_SEED);
	writeq(cmd, bank + DB_CMD);
	return readq(bank + DB_STATUS);
}

static int load(struct walk *w, dma_addr_t addr, size_t len, u64 seed)
{
	switch (ring(w->bank, DB_CMD_LOAD, addr, len, seed)) {
	case DB_STATUS_OK:
		return 0;
	case DB_STATUS_DIFFERS:
		return trouble(w, "the device loaded something else", len,
			       -EILSEQ);
	default:
		return trouble(w, "out of the device's reach", len, -EFAULT);
	}
}

static int store(struct walk *w, dma_addr_t addr, size_t len, u64 seed)
{
	if (ring(w->bank, DB_CMD_STORE, addr, len, seed) == DB_STATUS_OK)
		return 0;
	return trouble(w, "out of the device's reach", len, -EFAULT);
}

/*
 * Streaming mappings
 */

/* CPU and device take turns with a mapped buffer, which has @seed in the end */
static int take_turns(struct walk *w, void *buf, dma_addr_t addr, size_t len,
		      enum dma_data_direction dir, u64 *seed)
{
	int ret = 0;

	if (dir != DMA_FROM_DEVICE) {
		*seed = new_seed(w);
		dma_sync_single_for_cpu(w->dev, addr, len, dir);
		fill(buf, *seed, len);
		dma_sync_single_for_device(w->dev, addr, len, dir);
		ret = load(w, addr, len, *seed);
	}
	if (!ret && dir != DMA_TO_DEVICE) {
		*seed = new_seed(w);
		ret = store(w, addr, len, *seed);
		dma_sync_single_for_cpu(w->dev, addr, len, dir);
		ret = ret ?: expect(w, buf, *seed, 0, len);
		dma_sync_single_for_device(w->dev, addr, len, dir);
	}
	return ret;
}

/*
 * All the life of a mapping of @len bytes that begins @off bytes into the @area
 * bytes of @mem. These are in @page, or dma_map_single() is tested.
 */
static int stream(struct walk *w, void *mem, struct page *page, size_t area,
		  size_t off, size_t len, enum dma_data_direction dir)
{
	u64 around = new_seed(w), seed = new_seed(w);
	void *buf = mem + off;
	dma_addr_t addr;
	int ret = 0, n;

	fill(mem, around, area);
	fill(buf, seed, len);
	if (page)
		addr = dma_map_page(w->dev, page, off, len, dir);
	else
		addr = dma_map_single(w->dev, buf, len, dir);
	if (dma_mapping_error(w->dev, addr))
		return trouble(w, "cannot be mapped", len, -EIO);

	if (dir != DMA_FROM_DEVICE)
		ret = load(w, addr, len, seed);
	for (n = 0; !ret && n < 2; n++)
		ret = take_turns(w, buf, addr, len, dir, &seed);
	if (!ret && dir != DMA_TO_DEVICE) {
		seed = new_seed(w);
		ret = store(w, addr, len, seed);
	}
	if (page)
		dma_unmap_page(w->dev, addr, len, dir);
	else
		dma_unmap_single(w->dev, addr, len, dir);

	return ret ?: expect(w, buf, seed, 0, len) ?:
	       expect(w, mem, around, 0, off) ?:
	       expect(w, mem, around, off + len, area);
}

static int stream_pages(struct walk *w, size_t area, size_t off, size_t len,
			enum dma_data_direction dir)
{
	void *mem = alloc_pages_exact(area, GFP_KERNEL);
	int ret;

	if (!mem)
		return -ENOMEM;
	ret = stream(w, mem, NULL, area, off, len, dir);
	free_pages_exact(mem, area);
	return ret;
}

static int map_single(struct walk *w)
{
	size_t off = pick(w, 0, SZ_2K);

	return stream_pages(w, PAGE_SIZE, off, pick(w, 1, PAGE_SIZE - off),
			    w->arg);
}

static enum dma_data_direction pick_dir(struct walk *w)
{
	return pick(w, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE);
}

static int map_large(struct walk *w)
{
	return stream_pages(w, SZ_128K, 0, SZ_128K, pick_dir(w));
}

/* At odd places of a compound page, within its first page and across its middle */
static int map_page(struct walk *w)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);
	size_t off, len;
	int ret;

	if (!page)
		return -ENOMEM;
	off = pick(w, 0, PAGE_SIZE / 2 - 1) * 2 + 1;
	len = pick(w, 1, PAGE_SIZE - off);
	ret = stream(w, page_address(page), page, 2 * PAGE_SIZE, off, len,
		     pick_dir(w));

	off = PAGE_SIZE - pick(w, 1, SZ_2K);
	len = PAGE_SIZE - off + pick(w, 1, SZ_2K);
	ret = ret ?: stream(w, page_address(page), page, 2 * PAGE_SIZE, off,
			    len, pick_dir(w));
	__free_pages(page, 1);
	return ret;
}

/* The memory next to the buffer is another's, though in the same cache line */
static int map_kmalloc(struct walk *w)
{
	size_t size = pick(w, 8, 200), off = pick(w, 0, 3) * 2 + 1;
	void *mem = kmalloc(size, GFP_KERNEL);
	int ret;

	if (!mem)
		return -ENOMEM;
	ret = stream(w, mem, NULL, size, off, pick(w, 1, size - off),
		     DMA_FROM_DEVICE);
	kfree(mem);
	return ret;
}

/* Only a part of the mapping changes hands, and what is around it stays */
static int sync_range(struct walk *w)
{
	size_t off = pick(w, 1, SZ_1K), len = pick(w, 1, SZ_2K);
	u64 around = new_seed(w), seed = new_seed(w);
	void *mem = (void *)__get_free_page(GFP_KERNEL);
	dma_addr_t addr;
	int ret;

	if (!mem)
		return -ENOMEM;
	fill(mem, around, PAGE_SIZE);
	addr = dma_map_single(w->dev, mem, PAGE_SIZE, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(w->dev, addr)) {
		ret = trouble(w, "cannot be mapped", PAGE_SIZE, -EIO);
		goto out_free;
	}

	ret = store(w, addr + off, len, seed);
	dma_sync_single_range_for_cpu(w->dev, addr, off, len,
				      DMA_BIDIRECTIONAL);
	ret = ret ?: expect(w, mem + off, seed, 0, len);

	seed = new_seed(w);
	fill(mem + off, seed, len);
	dma_sync_single_range_for_device(w->dev, addr, off, len,
					 DMA_BIDIRECTIONAL);
	ret = ret ?: load(w, addr + off, len, seed);
	dma_unmap_single(w->dev, addr, PAGE_SIZE, DMA_BIDIRECTIONAL);

	ret = ret ?: expect(w, mem + off, seed, 0, len) ?:
	      expect(w, mem, around, 0, off) ?:
	      expect(w, mem, around, off + len, PAGE_SIZE);
out_free:
	free_page((unsigned long)mem);
	return ret;
}

/* The longest mapping there may be, and one that is longer */
static int map_max(struct walk *w)
{
	size_t max = dma_max_mapping_size(w->dev), len = min(max, SZ_256K);
	size_t area = SZ_256K + PAGE_SIZE;
	void *mem = alloc_pages_exact(area, GFP_KERNEL);
	u64 seed = new_seed(w);
	dma_addr_t addr;
	int ret, tries;

	if (!mem)
		return -ENOMEM;
	fill(mem, seed, len);
	/* It takes a whole segment of a pool, all of which may be in use */
	for (tries = 0; tries < 100; tries++) {
		addr = dma_map_single_attrs(w->dev, mem, len, DMA_TO_DEVICE,
					    DMA_ATTR_NO_WARN);
		if (!dma_mapping_error(w->dev, addr))
			break;
		fsleep(1000);
	}
	if (tries == 100) {
		ret = trouble(w, "cannot be mapped", len, -EIO);
		goto out_free;
	}
	ret = load(w, addr, len, seed);
	dma_unmap_single(w->dev, addr, len, DMA_TO_DEVICE);

	/* A longer one fails if it must be bounced, and else is as good */
	if (!ret && max <= SZ_256K) {
		len = max + PAGE_SIZE;
		fill(mem, seed + 1, len);
		addr = dma_map_single_attrs(w->dev, mem, len, DMA_TO_DEVICE,
					    DMA_ATTR_NO_WARN);
		if (!dma_mapping_error(w->dev, addr)) {
			ret = load(w, addr, len, seed + 1);
			dma_unmap_single(w->dev, addr, len, DMA_TO_DEVICE);
		}
	}
out_free:
	free_pages_exact(mem, area);
	return ret;
}

/* Many mappings at once, which end in another order */
static int map_many(struct walk *w)
{
	enum { NR = 64, SIZE = SZ_2K };
	void *mem = alloc_pages_exact(NR * SIZE, GFP_KERNEL);
	dma_addr_t addr[NR];
	u64 seed[NR];
	int ret = 0, nr, n, i;

	if (!mem)
		return -ENOMEM;
	for (nr = 0; nr < NR; nr++) {
		seed[nr] = new_seed(w);
		addr[nr] = dma_map_single(w->dev, mem + nr * SIZE, SIZE,
					  DMA_FROM_DEVICE);
		if (dma_mapping_error(w->dev, addr[nr])) {
			ret = trouble(w, "cannot be mapped", SIZE, -EIO);
			break;
		}
	}
	for (i = 0; !ret && i < NR; i++)
		ret = store(w, addr[i], SIZE, seed[i]);
	for (n = 0; n < NR; n++) {
		i = n * 37 % NR;
		if (i >= nr)
			continue;
		dma_unmap_single(w->dev, addr[i], SIZE, DMA_FROM_DEVICE);
		ret = ret ?: expect(w, mem + i * SIZE, seed[i], 0, SIZE);
	}
	free_pages_exact(mem, NR * SIZE);
	return ret;
}

/*
 * Scatterlists
 */

#define MAX_PIECES	16

struct piece {
	void *mem;
	size_t area, off, len;
	u64 around, seed;
};

enum piece_op { PIECE_FILL, PIECE_LOAD, PIECE_STORE, PIECE_EXPECT };

/* Entries are mapped one by one: no IOMMU makes fewer of them */
static int for_pieces(struct walk *w, struct sg_table *sgt,
		      struct piece *pieces, enum piece_op op)
{
	struct scatterlist *sg;
	int ret = 0, i;

	for_each_sgtable_sg(sgt, sg, i) {
		struct piece *p = &pieces[i];

		if (op == PIECE_FILL || op == PIECE_STORE)
			p->seed = new_seed(w);
		if (op == PIECE_FILL)
			fill(p->mem + p->off, p->seed, p->len);
		else if (op == PIECE_LOAD)
			ret = load(w, sg_dma_address(sg), p->len, p->seed);
		else if (op == PIECE_STORE)
			ret = store(w, sg_dma_address(sg), p->len, p->seed);
		else
			ret = expect(w, p->mem + p->off, p->seed, 0, p->len) ?:
			      expect(w, p->mem, p->around, 0, p->off) ?:
			      expect(w, p->mem, p->around, p->off + p->len,
				     p->area);
		if (ret)
			return ret;
	}
	return 0;
}

static int map_sg_pieces(struct walk *w, struct sg_table *sgt,
			 struct piece *pieces, enum dma_data_direction dir)
{
	int ret;

	for_pieces(w, sgt, pieces, PIECE_FILL);
	ret = dma_map_sgtable(w->dev, sgt, dir, 0);
	if (ret)
		return trouble(w, "the list cannot be mapped", 0, ret);

	if (dir != DMA_FROM_DEVICE) {
		ret = for_pieces(w, sgt, pieces, PIECE_LOAD);
		dma_sync_sgtable_for_cpu(w->dev, sgt, dir);
		for_pieces(w, sgt, pieces, PIECE_FILL);
		dma_sync_sgtable_for_device(w->dev, sgt, dir);
		ret = ret ?: for_pieces(w, sgt, pieces, PIECE_LOAD);
	}
	if (!ret && dir != DMA_TO_DEVICE) {
		ret = for_pieces(w, sgt, pieces, PIECE_STORE);
		dma_sync_sgtable_for_cpu(w->dev, sgt, dir);
		ret = ret ?: for_pieces(w, sgt, pieces, PIECE_EXPECT);
		dma_sync_sgtable_for_device(w->dev, sgt, dir);
		ret = ret ?: for_pieces(w, sgt, pieces, PIECE_STORE);
	}
	dma_unmap_sgtable(w->dev, sgt, dir, 0);
	return ret ?: for_pieces(w, sgt, pieces, PIECE_EXPECT);
}

static int map_sg(struct walk *w)
{
	struct piece pieces[MAX_PIECES] = {};
	struct scatterlist *sg;
	struct sg_table sgt;
	int ret, i;

	ret = sg_alloc_table(&sgt, pick(w, 1, MAX_PIECES), GFP_KERNEL);
	if (ret)
		return ret;
	for_each_sgtable_sg(&sgt, sg, i) {
		struct piece *p = &pieces[i];

		p->off = pick(w, 0, SZ_4K - 1);
		p->len = pick(w, 1, SZ_4K) + (i ? 0 : PAGE_SIZE);
		p->area = p->off + p->len + 64;
		p->around = new_seed(w);
		p->mem = alloc_pages_exact(p->area, GFP_KERNEL);
		if (!p->mem) {
			ret = -ENOMEM;
			break;
		}
		fill(p->mem, p->around, p->area);
		sg_set_buf(sg, p->mem + p->off, p->len);
	}
	if (!ret)
		ret = map_sg_pieces(w, &sgt, pieces, pick_dir(w));
	for (i = 0; i < MAX_PIECES; i++)
		if (pieces[i].mem)
			free_pages_exact(pieces[i].mem, pieces[i].area);
	sg_free_table(&sgt);
	return ret;
}

/*
 * A peer: the memory of the doorbell itself. It is never bounced, so all depends on
 * what the device can reach.
 */
static int map_resource(struct walk *w)
{
	bool reachable = w->arg & DMA_ATTR_CC_SHARED ?
			 dev_can_dma_from_unencrypted(w->dev) :
			 dev_can_dma_from_encrypted(w->dev);
	bool trusted = w->db->kind & DB_KIND_TRUSTED;
	phys_addr_t phys = w->db->phys + DB_MEMORY;
	size_t off = DB_MEMORY_SIZE / DB_BANKS * w->thread, i;
	unsigned long attrs = w->arg;
	u64 seed = new_seed(w);
	dma_addr_t addr;
	int ret = 0;

	if (is_swiotlb_force_bounce(w->dev))
		reachable = false;
	if (!reachable)
		attrs |= DMA_ATTR_NO_WARN;
	addr = dma_map_resource(w->dev, phys, DB_MEMORY_SIZE, DMA_FROM_DEVICE,
				attrs);
	if (dma_mapping_error(w->dev, addr))
		return reachable ? trouble(w, "cannot be mapped",
					   DB_MEMORY_SIZE, -EIO) : 0;
	if (!reachable)
		ret = trouble(w, "mapped, but out of reach", DB_MEMORY_SIZE,
			      -EPERM);
	else if (!trusted)
		ret = store(w, addr + off, 64, seed);
	dma_unmap_resource(w->dev, addr, DB_MEMORY_SIZE, DMA_FROM_DEVICE, attrs);
	if (ret || trusted)
		return ret;

	for (i = 0; i < 64; i += 8)
		if (readq(w->db->regs + DB_MEMORY + off + i) !=
		    pattern(seed + i / 8))
			return trouble(w, "not what the device stored", 64,
				       -EILSEQ);
	return 0;
}

/*
 * Allocations
 */

/* Memory in which CPU and device see each other's stores at once */
static int coherent(struct walk *w, void *cpu, dma_addr_t addr, size_t size)
{
	u64 seed = new_seed(w);
	int ret;

	ret = store(w, addr, size, seed) ?: expect(w, cpu, seed, 0, size);
	if (ret)
		return ret;
	seed = new_seed(w);
	fill(cpu, seed, size);
	return load(w, addr, size, seed);
}

static int alloc_coherent(struct walk *w)
{
	dma_addr_t addr;
	void *cpu;
	int ret;

	cpu = dma_alloc_coherent(w->dev, w->arg, &addr, GFP_KERNEL);
	if (!cpu)
		return trouble(w, "cannot be allocated", w->arg, -ENOMEM);
	ret = expect_zeroes(w, cpu, w->arg) ?: coherent(w, cpu, addr, w->arg);
	dma_free_coherent(w->dev, w->arg, cpu, addr);
	return ret;
}

static int alloc_atomic(struct walk *w)
{
	int ret = 0, tries = 0;
	unsigned long flags;
	dma_addr_t addr;
	void *cpu;

	/* Nothing to get there: to remap a restricted pool's memory may block */
	if (is_swiotlb_for_alloc(w->dev) && !dev_is_dma_coherent(w->dev))
		return SKIPPED;

	/* The pool for it is made when it is first wanted, and grows by and by */
	for (;;) {
		spin_lock_irqsave(&w->lock, flags);
		cpu = dma_alloc_coherent(w->dev, w->arg, &addr,
					 GFP_ATOMIC | __GFP_NOWARN);
		if (cpu)
			ret = expect_zeroes(w, cpu, w->arg) ?:
			      coherent(w, cpu, addr, w->arg);
		spin_unlock_irqrestore(&w->lock, flags);
		if (cpu)
			break;
		if (++tries == 100)
			return trouble(w, "cannot be allocated", w->arg,
				       -ENOMEM);
		fsleep(10000);
	}
	dma_free_coherent(w->dev, w->arg, cpu, addr);
	return ret;
}

static int alloc_no_mapping(struct walk *w)
{
	unsigned long attrs = DMA_ATTR_NO_KERNEL_MAPPING;
	u64 seed = new_seed(w);
	dma_addr_t addr;
	void *cookie;
	int ret;

	cookie = dma_alloc_attrs(w->dev, SZ_64K, &addr, GFP_KERNEL, attrs);
	if (!cookie)
		return trouble(w, "cannot be allocated", SZ_64K, -ENOMEM);
	ret = store(w, addr, SZ_64K, seed) ?: load(w, addr, SZ_64K, seed);
	dma_free_attrs(w->dev, SZ_64K, cookie, addr, attrs);
	return ret;
}

static int alloc_pages_sync(struct walk *w)
{
	enum dma_data_direction dir = pick_dir(w);
	struct page *page;
	dma_addr_t addr;
	u64 seed;
	int ret;

	page = dma_alloc_pages(w->dev, SZ_64K, &addr, dir, GFP_KERNEL);
	if (!page)
		return trouble(w, "cannot be allocated", SZ_64K, -ENOMEM);
	ret = take_turns(w, page_address(page), addr, SZ_64K, dir, &seed) ?:
	      take_turns(w, page_address(page), addr, SZ_64K, dir, &seed);
	dma_free_pages(w->dev, SZ_64K, page, addr, dir);
	return ret;
}

static int alloc_noncontiguous(struct walk *w)
{
	enum dma_data_direction dir = DMA_BIDIRECTIONAL;
	u64 seed = new_seed(w);
	struct sg_table *sgt;
	dma_addr_t addr;
	void *cpu;
	int ret;

	sgt = dma_alloc_noncontiguous(w->dev, SZ_64K, dir, GFP_KERNEL, 0);
	if (!sgt)
		return trouble(w, "cannot be allocated", SZ_64K, -ENOMEM);
	cpu = dma_vmap_noncontiguous(w->dev, SZ_64K, sgt);
	if (!cpu) {
		ret = trouble(w, "no kernel mapping", SZ_64K, -ENOMEM);
		goto out_free;
	}

	/* To the device it is contiguous */
	addr = sg_dma_address(sgt->sgl);
	ret = store(w, addr, SZ_64K, seed);
	dma_sync_sgtable_for_cpu(w->dev, sgt, dir);
	ret = ret ?: expect(w, cpu, seed, 0, SZ_64K);
	seed = new_seed(w);
	fill(cpu, seed, SZ_64K);
	dma_sync_sgtable_for_device(w->dev, sgt, dir);
	ret = ret ?: load(w, addr, SZ_64K, seed);
	dma_vunmap_noncontiguous(w->dev, cpu);
out_free:
	dma_free_noncontiguous(w->dev, SZ_64K, sgt, dir);
	return ret;
}

static int dma_pool_blocks(struct walk *w)
{
	enum { NR = 8, SIZE = 96 };
	struct dma_pool *pool;
	dma_addr_t addr[NR];
	u64 seed[NR];
	void *cpu[NR];
	int ret = 0, nr, i;

	pool = dma_pool_create("doorbell", w->dev, SIZE, 32, 0);
	if (!pool)
		return -ENOMEM;
	for (nr = 0; !ret && nr < NR; nr++) {
		cpu[nr] = dma_pool_zalloc(pool, GFP_KERNEL, &addr[nr]);
		if (!cpu[nr]) {
			ret = trouble(w, "cannot be allocated", SIZE, -ENOMEM);
			break;
		}
		seed[nr] = new_seed(w);
		ret = expect_zeroes(w, cpu[nr], SIZE) ?:
		      coherent(w, cpu[nr], addr[nr], SIZE) ?:
		      store(w, addr[nr], SIZE, seed[nr]);
	}
	for (i = 0; i < nr; i++) {
		ret = ret ?: expect(w, cpu[i], seed[i], 0, SIZE);
		dma_pool_free(pool, cpu[i], addr[i]);
	}
	dma_pool_destroy(pool);
	return ret;
}

static int get_sgtable(struct walk *w)
{
	struct scatterlist *sg;
	struct sg_table sgt;
	size_t covered = 0;
	dma_addr_t addr;
	void *cpu;
	int ret, i;

	cpu = dma_alloc_coherent(w->dev, SZ_64K, &addr, GFP_KERNEL);
	if (!cpu)
		return trouble(w, "cannot be allocated", SZ_64K, -ENOMEM);
	ret = dma_get_sgtable(w->dev, &sgt, cpu, addr, SZ_64K);
	if (ret) {
		trouble(w, "no table", SZ_64K, ret);
		goto out_free;
	}
	for_each_sgtable_sg(&sgt, sg, i) {
		/* Where the memory has no other mapping these are its pages */
		if (!is_vmalloc_addr(cpu) && sg_virt(sg) != cpu + covered)
			ret = trouble(w, "not the pages of the buffer", covered,
				      -EFAULT);
		covered += sg->length;
	}
	if (!ret && covered != PAGE_ALIGN(SZ_64K))
		ret = trouble(w, "covered by the table", covered, -EFAULT);
	sg_free_table(&sgt);
out_free:
	dma_free_coherent(w->dev, SZ_64K, cpu, addr);
	return ret;
}

/*
 * Negative cases: addresses that the device must not reach. In a guest whose memory
 * is not private it just reaches them.
 */

static int must_fault(struct walk *w, u64 cmd, dma_addr_t addr, u64 seed)
{
	bool protected = w->db->kind & DB_KIND_PROTECTED, fault;

	fault = ring(w->bank, protected ? cmd : DB_CMD_LOAD, addr, 64, seed) ==
		DB_STATUS_FAULT;
	w->db->wanted += protected;
	w->db->faulted += fault;
	if (fault == protected)
		return 0;
	return trouble(w, protected ? "the device could reach it" :
				      "the device could not reach it", 64,
		       -EPERM);
}

/* Both before it was ever mapped and after that */
static int private_page(struct walk *w)
{
	bool protected = w->db->kind & DB_KIND_PROTECTED;
	u64 seed = new_seed(w);
	dma_addr_t addr;
	void *mem;
	int ret = 0;

	if (w->db->kind & DB_KIND_TRUSTED)
		return SKIPPED;
	mem = (void *)__get_free_page(GFP_KERNEL);
	if (!mem)
		return -ENOMEM;
	if (w->arg)
		ret = stream(w, mem, NULL, PAGE_SIZE, 0, PAGE_SIZE,
			     DMA_BIDIRECTIONAL);
	fill(mem, seed, PAGE_SIZE);
	addr = virt_to_phys(mem);
	/* That of shared memory, or of private memory if it does not matter */
	if (protected != !!(w->db->kind & DB_KIND_C_BIT))
		addr |= w->db->alias;
	if (addr & ~DMA_BIT_MASK(w->db->bits)) {
		free_page((unsigned long)mem);
		return SKIPPED;
	}
	/* What it would store is not there; what it would load is */
	ret = ret ?: must_fault(w, DB_CMD_STORE_FAULT, addr,
				protected ? new_seed(w) : seed) ?:
	      expect(w, mem, seed, 0, PAGE_SIZE);
	free_page((unsigned long)mem);
	return ret;
}

/* Memory is shared at one address, private at another, and there only at one of them */
static int wrong_alias(struct walk *w)
{
	dma_addr_t addr;
	void *cpu;
	int ret;

	if (!w->db->alias || !(w->db->kind & DB_KIND_PROTECTED) ||
	    w->db->alias & ~DMA_BIT_MASK(w->db->bits))
		return SKIPPED;
	cpu = dma_alloc_coherent(w->dev, PAGE_SIZE, &addr, GFP_KERNEL);
	if (!cpu)
		return trouble(w, "cannot be allocated", PAGE_SIZE, -ENOMEM);
	ret = coherent(w, cpu, addr, PAGE_SIZE) ?:
	      must_fault(w, DB_CMD_LOAD_FAULT, addr ^ w->db->alias, w->seed) ?:
	      expect(w, cpu, w->seed, 0, PAGE_SIZE);
	dma_free_coherent(w->dev, PAGE_SIZE, cpu, addr);
	return ret;
}

static int freed(struct walk *w)
{
	dma_addr_t addr;
	void *cpu;
	int ret;

	/* Not if the memory stays as it is when it is freed */
	if (!(w->db->kind & DB_KIND_PROTECTED) ||
	    (w->db->kind & DB_KIND_TRUSTED) || is_swiotlb_for_alloc(w->dev))
		return SKIPPED;
	cpu = dma_alloc_coherent(w->dev, SZ_64K, &addr, GFP_KERNEL);
	if (!cpu)
		return trouble(w, "cannot be allocated", SZ_64K, -ENOMEM);
	ret = coherent(w, cpu, addr, SZ_64K);
	dma_free_coherent(w->dev, SZ_64K, cpu, addr);
	return ret ?: must_fault(w, DB_CMD_LOAD_FAULT, addr, w->seed);
}

/*
 * What wil6210 and mptbase do: a part of the device has a shorter address than the
 * rest, and memory is freed under another mask than it was allocated under
 */
static int mask_changes(struct walk *w)
{
	u64 mask[] = { DMA_BIT_MASK(32), DMA_BIT_MASK(w->db->bits) };
	void *mem = alloc_pages_exact(SZ_64K, GFP_KERNEL), *cpu;
	dma_addr_t addr, mapped;
	u64 seed = new_seed(w);
	int ret = 0, i;

	if (!mem)
		return -ENOMEM;
	for (i = 0; !ret && i < 2 && mask[0] != mask[1]; i++) {
		if (dma_set_mask_and_coherent(w->dev, mask[i])) {
			ret = SKIPPED;	/* no memory so low */
			break;
		}
		cpu = dma_alloc_coherent(w->dev, SZ_64K, &addr, GFP_KERNEL);
		mapped = dma_map_single(w->dev, mem, SZ_64K, DMA_BIDIRECTIONAL);
		if (!cpu || dma_mapping_error(w->dev, mapped))
			ret = trouble(w, "neither mapped nor allocated", SZ_64K,
				      -ENOMEM);
		dma_set_mask_and_coherent(w->dev, mask[!i]);
		if (cpu) {
			ret = ret ?: coherent(w, cpu, addr, SZ_64K);
			dma_free_coherent(w->dev, SZ_64K, cpu, addr);
		}
		if (!dma_mapping_error(w->dev, mapped)) {
			ret = ret ?: take_turns(w, mem, mapped, SZ_64K,
						DMA_BIDIRECTIONAL, &seed);
			dma_unmap_single(w->dev, mapped, SZ_64K,
					 DMA_BIDIRECTIONAL);
			ret = ret ?: expect(w, mem, seed, 0, SZ_64K);
		}
		/* This is likely to get what was freed: it has to be like other memory */
		ret = ret ?: stream_pages(w, SZ_64K, 0, SZ_64K,
					  DMA_BIDIRECTIONAL);
	}
	dma_set_mask_and_coherent(w->dev, mask[1]);
	free_pages_exact(mem, SZ_64K);
	return ret;
}

struct doorbell_case {
	const char *name;
	int (*fn)(struct walk *w);	/* 0, SKIPPED or what is wrong */
	unsigned long arg;
	bool alone;			/* by one thread at a time, after the others */
};

static const struct doorbell_case cases[] = {
	{ "map_to_device",	map_single, DMA_TO_DEVICE },
	{ "map_from_device",	map_single, DMA_FROM_DEVICE },
	{ "map_bidirectional",	map_single, DMA_BIDIRECTIONAL },
	{ "map_page",		map_page },
	{ "map_kmalloc",	map_kmalloc },
	{ "map_large",		map_large },
	{ "map_max",		map_max },
	{ "map_many",		map_many },
	{ "map_sg",		map_sg },
	{ "map_resource",	map_resource, 0 },
	{ "map_resource_shared", map_resource, DMA_ATTR_CC_SHARED },
	{ "sync_range",		sync_range },
	{ "alloc_coherent_8",	alloc_coherent, 8 },
	{ "alloc_coherent_4k",	alloc_coherent, SZ_4K },
	{ "alloc_coherent_64k",	alloc_coherent, SZ_64K },
	{ "alloc_atomic_8",	alloc_atomic, 8 },
	{ "alloc_atomic_4k",	alloc_atomic, SZ_4K },
	{ "alloc_no_mapping",	alloc_no_mapping },
	{ "alloc_pages",	alloc_pages_sync },
	{ "alloc_noncontiguous", alloc_noncontiguous },
	{ "dma_pool",		dma_pool_blocks },
	{ "get_sgtable",	get_sgtable },
	{ "mask_changes",	mask_changes, 0, true },
	{ "negative_never_mapped", private_page, false, true },
	{ "negative_unmapped",	private_page, true, true },
	{ "negative_alias",	wrong_alias, 0, true },
	{ "negative_freed",	freed, 0, true },
};

static_assert(ARRAY_SIZE(cases) <= MAX_CASES);

/*
 * The walk
 */

static void run_cases(struct walk *w, bool alone)
{
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct counts *counts = &w->db->counts[i];

		if (cases[i].alone != alone ||
		    !strstarts(cases[i].name, only))
			continue;
		w->name = cases[i].name;
		w->arg = cases[i].arg;
		w->random = ((w->db->id * DB_BANKS + w->thread) * SZ_64K +
			     (u64)w->round) * MAX_CASES + i;
		w->random <<= 12;
		/* 256 seeds for each case */
		w->seed = (w->random >> 4) * (DB_MAX_LEN / 8);
		ret = cases[i].fn(w);
		atomic_inc(ret < 0 ? &counts->failed :
			   ret == SKIPPED ? &counts->skipped : &counts->passed);
		cond_resched();
	}
}

static int walk_thread(void *data)
{
	struct walk *w = data;

	wait_for_completion(&w->db->go);
	for (w->round = 0; w->round < rounds; w->round++)
		run_cases(w, false);
	kthread_complete_and_exit(&w->done, 0);
}

static int walk(struct doorbell *db)
{
	unsigned int nr = clamp(threads, 1, DB_BANKS), i;
	struct task_struct *task;
	struct walk *walks;
	int ret = 0;

	walks = kcalloc(nr, sizeof(*walks), GFP_KERNEL);
	if (!walks)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		struct walk *w = &walks[i];

		w->db = db;
		w->dev = db->dev;
		w->bank = db->regs + i * DB_BANK_SIZE;
		w->thread = i;
		spin_lock_init(&w->lock);
		init_completion(&w->done);
		task = kthread_run_on_cpu(walk_thread, w,
					  cpumask_nth(i % num_online_cpus(),
						      cpu_online_mask),
					  "doorbell/%u");
		if (IS_ERR(task)) {
			ret = PTR_ERR(task);
			break;
		}
	}
	nr = i;
	complete_all(&db->go);
	for (i = 0; i < nr; i++)
		wait_for_completion(&walks[i].done);
	/* One after the other, so that none gets what another has freed */
	for (i = 0; i < nr; i++)
		run_cases(&walks[i], true);
	kfree(walks);
	return ret;
}

static void write_text(struct doorbell *db)
{
	struct device *dev = db->dev;
	size_t size = sizeof(db->text), len = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		len += scnprintf(db->text + len, size - len,
				 "case=%s passed=%d failed=%d skipped=%d\n",
				 cases[i].name,
				 atomic_read(&db->counts[i].passed),
				 atomic_read(&db->counts[i].failed),
				 atomic_read(&db->counts[i].skipped));
	len += scnprintf(db->text + len, size - len,
			 "negative wanted=%u faulted=%u\n", db->wanted,
			 db->faulted);
	len += scnprintf(db->text + len, size - len,
			 "answers encrypted=%d unencrypted=%d coherent=%d trusted=%d kind=%#llx\n",
			 dev_can_dma_from_encrypted(dev),
			 dev_can_dma_from_unencrypted(dev),
			 dev_is_dma_coherent(dev),
			 !!(db->kind & DB_KIND_TRUSTED), db->kind);
	db->len = len;
}

/*
 * /dev/doorbellN
 */

struct doorbell_file {
	struct doorbell *db;
	void *cpu;
	dma_addr_t addr;
};

static int doorbell_open(struct inode *inode, struct file *file)
{
	struct doorbell_file *df = kzalloc_obj(*df);

	if (!df)
		return -ENOMEM;
	df->db = container_of(file->private_data, struct doorbell, misc);
	df->cpu = dma_alloc_coherent(df->db->dev, BUFFER_SIZE, &df->addr,
				     GFP_KERNEL);
	if (!df->cpu) {
		kfree(df);
		return -ENOMEM;
	}
	file->private_data = df;
	return 0;
}

static int doorbell_release(struct inode *inode, struct file *file)
{
	struct doorbell_file *df = file->private_data;

	dma_free_coherent(df->db->dev, BUFFER_SIZE, df->cpu, df->addr);
	kfree(df);
	return 0;
}

static int doorbell_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct doorbell_file *df = file->private_data;

	return dma_mmap_coherent(df->db->dev, vma, df->cpu, df->addr,
				 BUFFER_SIZE);
}

static ssize_t doorbell_read(struct file *file, char __user *buf, size_t count,
			     loff_t *pos)
{
	struct doorbell_file *df = file->private_data;

	return simple_read_from_buffer(buf, count, pos, df->db->text,
				       df->db->len);
}

static ssize_t doorbell_write(struct file *file, const char __user *buf,
			      size_t count, loff_t *pos)
{
	struct doorbell_file *df = file->private_data;
	struct doorbell_request req;
	u64 status;

	if (count != sizeof(req))
		return -EINVAL;
	if (copy_from_user(&req, buf, sizeof(req)))
		return -EFAULT;
	if (req.cmd != DB_CMD_SHARED && req.len > BUFFER_SIZE)
		return -EINVAL;

	mutex_lock(&df->db->lock);
	status = ring(df->db->regs, req.cmd, df->addr, req.len, req.seed);
	mutex_unlock(&df->db->lock);

	switch (status) {
	case DB_STATUS_OK:
		return count;
	case DB_STATUS_FAULT:
		return -EFAULT;
	case DB_STATUS_DIFFERS:
		return -EILSEQ;
	default:
		return -EINVAL;
	}
}

static const struct file_operations doorbell_fops = {
	.owner		= THIS_MODULE,
	.open		= doorbell_open,
	.release	= doorbell_release,
	.mmap		= doorbell_mmap,
	.read		= doorbell_read,
	.write		= doorbell_write,
};

/*
 * The driver. Its devices stay as long as the module does, and that as long as a
 * file is open.
 */

static int doorbell_probe(struct platform_device *pdev)
{
	static atomic_t probes = ATOMIC_INIT(0);
	struct device *dev = &pdev->dev;
	struct resource *res;
	struct doorbell *db;
	int ret;

	db = devm_kzalloc(dev, sizeof(*db), GFP_KERNEL);
	if (!db)
		return -ENOMEM;
	db->regs = devm_platform_get_and_ioremap_resource(pdev, 0, &res);
	if (IS_ERR(db->regs))
		return PTR_ERR(db->regs);
	if (resource_size(res) < DB_SIZE ||
	    readq(db->regs + DB_ID) != DB_ID_VALUE)
		return dev_err_probe(dev, -ENODEV, "no doorbell here\n");
	db->bits = readq(db->regs + DB_BITS);
	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(db->bits));
	if (ret)
		return dev_err_probe(dev, ret, "no DMA\n");
	dma_set_max_seg_size(dev, UINT_MAX);

	db->dev = dev;
	db->phys = res->start;
	db->id = atomic_fetch_inc(&probes);
	db->kind = readq(db->regs + DB_KIND);
	db->alias = readq(db->regs + DB_ALIAS);
	init_completion(&db->go);
	mutex_init(&db->lock);
	platform_set_drvdata(pdev, db);
	ret = walk(db);
	if (ret)
		return dev_err_probe(dev, ret, "cannot walk\n");
	write_text(db);

	db->misc.name = devm_kasprintf(dev, GFP_KERNEL, "doorbell%u", db->id);
	if (!db->misc.name)
		return -ENOMEM;
	db->misc.minor = MISC_DYNAMIC_MINOR;
	db->misc.fops = &doorbell_fops;
	db->misc.parent = dev;
	return misc_register(&db->misc);
}

static void doorbell_remove(struct platform_device *pdev)
{
	struct doorbell *db = platform_get_drvdata(pdev);

	misc_deregister(&db->misc);
}

static const struct of_device_id doorbell_of_match[] = {
	{ .compatible = "dma,doorbell" },
	{}
};
MODULE_DEVICE_TABLE(of, doorbell_of_match);

static struct platform_driver doorbell_driver = {
	.probe	= doorbell_probe,
	.remove	= doorbell_remove,
	.driver	= {
		.name			= "doorbell",
		.of_match_table		= doorbell_of_match,
		.suppress_bind_attrs	= true,
	},
};

/*
 * The trusted bus stands in for the code that finds out which devices the guest can
 * trust. What it knows has to be said before a driver binds.
 */

static int trust(struct device *dev)
{
	int ret;

	device_lock(dev);
	ret = dev_dma_set_answers(dev, DMA_FROM_ENCRYPTED);
	device_unlock(dev);
	return ret;
}

struct trusted_bus {
	struct notifier_block nb;
	struct device *dev;
};

static int trusted_bus_notify(struct notifier_block *nb, unsigned long event,
			      void *data)
{
	struct trusted_bus *bus = container_of(nb, struct trusted_bus, nb);
	struct device *child = data;

	if (event != BUS_NOTIFY_ADD_DEVICE || child->parent != bus->dev)
		return NOTIFY_DONE;
	return notifier_from_errno(trust(child));
}

static int trusted_bus_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct trusted_bus bus = {
		.nb.notifier_call = trusted_bus_notify,
		.dev = dev,
	};
	int ret;

	ret = bus_register_notifier(&platform_bus_type, &bus.nb);
	if (ret)
		return ret;
	ret = of_platform_populate(dev->of_node, NULL, NULL, dev);
	bus_unregister_notifier(&platform_bus_type, &bus.nb);
	return ret;
}

static void trusted_bus_remove(struct platform_device *pdev)
{
	of_platform_depopulate(&pdev->dev);
}

static const struct of_device_id trusted_bus_of_match[] = {
	{ .compatible = "dma,trusted-bus" },
	{}
};
MODULE_DEVICE_TABLE(of, trusted_bus_of_match);

static struct platform_driver trusted_bus_driver = {
	.probe	= trusted_bus_probe,
	.remove	= trusted_bus_remove,
	.driver	= {
		.name			= "dma-trusted-bus",
		.of_match_table		= trusted_bus_of_match,
		.suppress_bind_attrs	= true,
	},
};

static struct platform_driver * const drivers[] = {
	&doorbell_driver,
	&trusted_bus_driver,
};

static struct platform_device *devices[MAX_BASES];

static void doorbell_exit(void)
{
	int i;

	for (i = 0; i < nr_bases; i++)
		platform_device_unregister(devices[i]);
	platform_unregister_drivers(drivers, ARRAY_SIZE(drivers));
}

/* A machine without device tree has no bus to say that a doorbell is trusted */
static struct platform_device *doorbell_at(ulong base, int nr)
{
	struct resource res = DEFINE_RES_MEM(base, DB_SIZE);
	struct platform_device *pdev;
	void __iomem *regs;
	int ret = -ENOMEM;

	regs = ioremap(base, DB_SIZE);
	pdev = platform_device_alloc("doorbell", nr);
	if (!regs || !pdev)
		goto err_put;
	ret = readq(regs + DB_KIND) & DB_KIND_TRUSTED ? trust(&pdev->dev) : 0;
	ret = ret ?: platform_device_add_resources(pdev, &res, 1) ?:
	      platform_device_add(pdev);
	if (!ret) {
		iounmap(regs);
		return pdev;
	}
err_put:
	if (regs)
		iounmap(regs);
	platform_device_put(pdev);
	return ERR_PTR(ret);
}

static int __init doorbell_init(void)
{
	int ret, i;

	ret = platform_register_drivers(drivers, ARRAY_SIZE(drivers));
	if (ret)
		return ret;
	for (i = 0; i < nr_bases; i++) {
		struct platform_device *pdev = doorbell_at(base[i], i);

		if (IS_ERR(pdev)) {
			doorbell_exit();
			return PTR_ERR(pdev);
		}
		devices[i] = pdev;
	}
	return 0;
}

module_init(doorbell_init);
module_exit(doorbell_exit);

MODULE_DESCRIPTION("Walk over the DMA API with the doorbell device");
MODULE_LICENSE("GPL");

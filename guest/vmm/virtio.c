// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-mmio, version 2: a disk whose contents are in the vmm's memory, and a
 * network card whose cable sends every frame back.
 *
 * A request is done when the guest's write to QUEUE_NOTIFY is done. A device that
 * cannot reach a ring or a buffer ends the run: its driver would wait for ever.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "../pattern.h"
#include "vmm.h"

#define QUEUES		2
#define QUEUE_MAX	128
#define SEG_MAX		30
#define SECTOR		512
#define FRAME_MAX	(1 << 16)

struct queue {
	uint32_t	num, ready;
	uint64_t	desc, avail, used;
	uint16_t	seen;		/* of the available ones */
};

struct virtio {
	struct device	*dev;
	uint32_t	id, status, irq_status, queue_sel, features_sel;
	uint64_t	features, acked;
	struct queue	queue[QUEUES];
	void		(*notify)(struct virtio *v, unsigned int queue);
	void		*config;
	size_t		config_size;
	/* disk */
	char		*disk, *touched;
	uint64_t	disk_bytes;
	/* network */
	char		frame[FRAME_MAX];
	bool		failed;
};

/* A descriptor chain: pieces of memory that the device reads, then such it writes */
struct chain {
	uint16_t		head;
	unsigned int		nr;
	struct vring_desc	desc[QUEUE_MAX];
};

static bool dma(struct virtio *v, uint64_t addr, void *buf, size_t len, bool write)
{
	if (!v->failed && !device_dma(v->dev, addr, buf, len, write)) {
		v->failed = true;
		v->dev->vmm->shared_asked = false;
		say("stuck device=%s: it cannot reach what its driver gave it", v->dev->name);
		exit(verdict(v->dev->vmm));
	}
	return !v->failed;
}

static bool queue_pop(struct virtio *v, struct queue *q, struct chain *c)
{
	uint16_t idx, i;

	if (!q->ready || !dma(v, q->avail + offsetof(struct vring_avail, idx), &idx,
			      sizeof(idx), false) || idx == q->seen)
		return false;
	if (!dma(v, q->avail + offsetof(struct vring_avail, ring) +
		 q->seen % q->num * sizeof(i), &i, sizeof(i), false))
		return false;
	q->seen++;
	c->head = i;
	for (c->nr = 0; c->nr < QUEUE_MAX; c->nr++) {
		struct vring_desc *d = &c->desc[c->nr];

		if (!dma(v, q->desc + i * sizeof(*d), d, sizeof(*d), false))
			return false;
		if (!(d->flags & VRING_DESC_F_NEXT)) {
			c->nr++;
			return true;
		}
		i = d->next;
	}
	die("%s: a chain of descriptors has no end", v->dev->name);
}

static void queue_push(struct virtio *v, struct queue *q, uint16_t head, uint32_t len)
{
	struct vring_used_elem e = { .id = head, .len = len };
	uint16_t idx;

	if (!dma(v, q->used + offsetof(struct vring_used, idx), &idx, sizeof(idx), false))
		return;
	dma(v, q->used + offsetof(struct vring_used, ring) + idx % q->num * sizeof(e),
	    &e, sizeof(e), true);
	idx++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	dma(v, q->used + offsetof(struct vring_used, idx), &idx, sizeof(idx), true);
	v->irq_status |= VIRTIO_MMIO_INT_VRING;
	guest_irq(v->dev->vmm, v->dev->irq, true);
}

/* Copies between @buf and the chain's readable or writable part, returns the length */
static size_t chain_copy(struct virtio *v, const struct chain *c, size_t skip, void *buf,
			 size_t len, bool write)
{
	size_t done = 0;

	for (unsigned int i = 0; i < c->nr && done < len; i++) {
		const struct vring_desc *d = &c->desc[i];
		size_t n = d->len;

		if (write != !!(d->flags & VRING_DESC_F_WRITE))
			continue;
		if (skip >= n) {
			skip -= n;
			continue;
		}
		n -= skip;
		if (n > len - done)
			n = len - done;
		if (!dma(v, d->addr + skip, (char *)buf + done, n, write))
			break;
		skip = 0;
		done += n;
	}
	return done;
}

static size_t chain_len(const struct chain *c, bool write)
{
	size_t len = 0;

	for (unsigned int i = 0; i < c->nr; i++)
		if (write == !!(c->desc[i].flags & VRING_DESC_F_WRITE))
			len += c->desc[i].len;
	return len;
}

static void blk_notify(struct virtio *v, unsigned int queue)
{
	struct chain c;

	while (queue_pop(v, &v->queue[queue], &c)) {
		struct virtio_blk_outhdr hdr;
		size_t out, in = chain_len(&c, true), n = 0;
		uint8_t status = VIRTIO_BLK_S_OK;
		uint64_t at;

		if (chain_copy(v, &c, 0, &hdr, sizeof(hdr), false) != sizeof(hdr) || !in)
			die("%s: a request without header or status", v->dev->name);
		out = chain_len(&c, false) - sizeof(hdr);
		at = hdr.sector * SECTOR;
		if (at > v->disk_bytes || out > v->disk_bytes - at ||
		    in - 1 > v->disk_bytes - at) {
			status = VIRTIO_BLK_S_IOERR;
		} else if (hdr.type == VIRTIO_BLK_T_OUT) {
			chain_copy(v, &c, sizeof(hdr), v->disk + at, out, false);
			memset(v->touched + at / SECTOR, 1, out / SECTOR);
		} else if (hdr.type == VIRTIO_BLK_T_IN) {
			n = chain_copy(v, &c, 0, v->disk + at, in - 1, true);
		} else if (hdr.type != VIRTIO_BLK_T_FLUSH) {
			status = VIRTIO_BLK_S_UNSUPP;
		}
		chain_copy(v, &c, in - 1, &status, 1, true);
		queue_push(v, &v->queue[queue], c.head, n + 1);
	}
}

/* Queue 1 is what the guest sends; it comes back by queue 0 */
static void net_notify(struct virtio *v, unsigned int queue)
{
	struct chain c;

	while (queue == 1 && queue_pop(v, &v->queue[1], &c)) {
		const struct virtio_net_hdr_v1 hdr = { .num_buffers = 1 };
		size_t n = chain_copy(v, &c, 0, v->frame, sizeof(v->frame), false);

		queue_push(v, &v->queue[1], c.head, 0);
		memcpy(v->frame, &hdr, sizeof(hdr));
		if (queue_pop(v, &v->queue[0], &c))
			queue_push(v, &v->queue[0], c.head,
				   chain_copy(v, &c, 0, v->frame, n, true));
	}
}

static void virtio_reset(struct virtio *v)
{
	memset(v->queue, 0, sizeof(v->queue));
	v->status = v->irq_status = v->queue_sel = 0;
	v->acked = 0;
	guest_irq(v->dev->vmm, v->dev->irq, false);
}

static uint64_t virtio_read(struct device *dev, uint64_t offset, unsigned int len)
{
	struct virtio *v = dev->priv;
	uint64_t value = 0;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		offset -= VIRTIO_MMIO_CONFIG;
		if (offset + len <= v->config_size)
			memcpy(&value, (char *)v->config + offset, len);
		return value;
	}
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:	return 0x74726976;	/* "virt" */
	case VIRTIO_MMIO_VERSION:	return 2;
	case VIRTIO_MMIO_DEVICE_ID:	return v->id;
	case VIRTIO_MMIO_VENDOR_ID:	return 0x64616d65;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		value = v->features;
		if (dev->vmm->access_platform)
			value |= 1ULL << VIRTIO_F_ACCESS_PLATFORM;
		return v->features_sel ? value >> 32 : (uint32_t)value;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:	return v->queue_sel < QUEUES ? QUEUE_MAX : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return v->queue_sel < QUEUES ? v->queue[v->queue_sel].ready : 0;
	case VIRTIO_MMIO_INTERRUPT_STATUS: return v->irq_status;
	case VIRTIO_MMIO_STATUS:	return v->status;
	default:			return 0;
	}
}

static void set_half(uint64_t *word, bool high, uint64_t value)
{
	*word = high ? (uint32_t)*word | value << 32 :
		       (*word & ~0xffffffffULL) | (uint32_t)value;
}

static void virtio_write(struct device *dev, uint64_t offset, uint64_t value)
{
	struct virtio *v = dev->priv;
	struct queue *q = v->queue_sel < QUEUES ? &v->queue[v->queue_sel] : NULL;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:	v->features_sel = value; return;
	case VIRTIO_MMIO_DRIVER_FEATURES:	set_half(&v->acked, v->features_sel, value); return;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:	v->features_sel = value; return;
	case VIRTIO_MMIO_QUEUE_SEL:		v->queue_sel = value; return;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (value < QUEUES)
			v->notify(v, value);
		return;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		v->irq_status &= ~value;
		if (!v->irq_status)
			guest_irq(dev->vmm, dev->irq, false);
		return;
	case VIRTIO_MMIO_STATUS:
		v->status = value;
		if (!value)
			virtio_reset(v);
		return;
	}
	if (!q)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		if (!value || value > QUEUE_MAX || value & (value - 1))
			die("%s: a queue of %llu", dev->name, (unsigned long long)value);
		q->num = value;
		return;
	case VIRTIO_MMIO_QUEUE_READY:
		q->ready = value && q->num;
		q->seen = 0;
		return;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:	set_half(&q->desc, false, value); return;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:	set_half(&q->desc, true, value); return;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:	set_half(&q->avail, false, value); return;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:	set_half(&q->avail, true, value); return;
	case VIRTIO_MMIO_QUEUE_USED_LOW:	set_half(&q->used, false, value); return;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:	set_half(&q->used, true, value); return;
	}
}

static struct virtio *virtio_new(const char *name, uint64_t base, unsigned int irq,
				 uint32_t id, void *config, size_t config_size)
{
	struct virtio *v = xcalloc(1, sizeof(*v));

	v->dev = xcalloc(1, sizeof(*v->dev));
	*v->dev = (struct device) {
		.name = name, .base = base, .size = 0x200, .irq = irq, .coherent = true,
		.compatible = "virtio,mmio", .read = virtio_read, .write = virtio_write,
		.priv = v,
	};
	v->id = id;
	v->features = 1ULL << VIRTIO_F_VERSION_1;
	v->config = config;
	v->config_size = config_size;
	return v;
}

struct device *virtio_blk_new(const char *name, uint64_t base, unsigned int irq,
			      bool trusted, uint64_t bytes)
{
	struct virtio_blk_config *config = xcalloc(1, sizeof(*config));
	struct virtio *v = virtio_new(name, base, irq, VIRTIO_ID_BLOCK, config,
				      sizeof(*config));

	config->capacity = bytes / SECTOR;
	config->seg_max = SEG_MAX;
	v->features |= 1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_FLUSH;
	v->disk_bytes = bytes;
	v->disk = xcalloc(1, bytes);
	v->touched = xcalloc(bytes / SECTOR, 1);
	v->notify = blk_notify;
	v->dev->trusted = trusted;
	return v->dev;
}

uint64_t virtio_blk_mismatches(struct device *dev, uint64_t *written)
{
	struct virtio *v = dev->priv;
	uint64_t bad = 0;

	*written = 0;
	if (dev->read != virtio_read || !v->disk)
		return 0;
	for (uint64_t at = 0; at < v->disk_bytes; at += SECTOR) {
		if (!v->touched[at / SECTOR])
			continue;
		*written += SECTOR;
		bad += pattern_mismatches(v->disk + at, at, SECTOR);
	}
	return bad;
}

struct device *virtio_net_new(const char *name, uint64_t base, unsigned int irq)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 1 };
	struct virtio_net_config *config = xcalloc(1, sizeof(*config));
	struct virtio *v = virtio_new(name, base, irq, VIRTIO_ID_NET, config,
				      sizeof(*config));

	memcpy(config->mac, mac, sizeof(mac));
	v->features |= 1 << VIRTIO_NET_F_MAC;
	v->notify = net_notify;
	return v->dev;
}

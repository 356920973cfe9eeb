// SPDX-License-Identifier: GPL-2.0
/*
 * The device tree, flattened: a header, an empty list of reserved memory, the
 * nodes and the names of the properties. A name is stored anew each time.
 */
#include <string.h>

#include "fdt.h"
#include "vmm.h"

#define FDT_MAGIC	0xd00dfeed
#define FDT_BEGIN_NODE	1
#define FDT_END_NODE	2
#define FDT_PROP	3
#define FDT_END		9

struct fdt_header {
	uint32_t magic, totalsize, off_struct, off_strings, off_reserved;
	uint32_t version, compatible, boot_cpu, size_strings, size_struct;
};

static char nodes[0x8000], names[0x4000];
static size_t nodes_len, names_len;

static void add(const void *data, size_t len)
{
	if (nodes_len + len + 4 > sizeof(nodes))
		die("the device tree is too large");
	memcpy(nodes + nodes_len, data, len);
	nodes_len = align_up(nodes_len + len, 4);
}

static void add_u32(uint32_t value)
{
	value = __builtin_bswap32(value);
	add(&value, sizeof(value));
}

void fdt_begin(const char *name)
{
	add_u32(FDT_BEGIN_NODE);
	add(name, strlen(name) + 1);
}

void fdt_end(void)
{
	add_u32(FDT_END_NODE);
}

void fdt_prop(const char *name, const void *data, size_t len)
{
	size_t name_len = strlen(name) + 1;

	if (names_len + name_len > sizeof(names))
		die("the device tree has too many names");
	add_u32(FDT_PROP);
	add_u32(len);
	add_u32(names_len);
	add(data, len);
	memcpy(names + names_len, name, name_len);
	names_len += name_len;
}

void fdt_string(const char *name, const char *value)
{
	fdt_prop(name, value, strlen(value) + 1);
}

void fdt_cells(const char *name, const uint32_t *cells, size_t n)
{
	uint32_t be[16];

	if (n > sizeof(be) / sizeof(be[0]))
		die("%s has too many cells", name);
	for (size_t i = 0; i < n; i++)
		be[i] = __builtin_bswap32(cells[i]);
	fdt_prop(name, be, n * sizeof(be[0]));
}

size_t fdt_finish(char *dtb, size_t room)
{
	static const char no_reserved_memory[16];
	struct fdt_header h;
	uint32_t field[sizeof(h) / sizeof(uint32_t)];
	size_t total;

	add_u32(FDT_END);
	h = (struct fdt_header) {
		.magic = FDT_MAGIC, .version = 17, .compatible = 16,
		.size_struct = nodes_len, .size_strings = names_len,
	};
	h.off_reserved = align_up(sizeof(h), 8);
	h.off_struct = h.off_reserved + sizeof(no_reserved_memory);
	h.off_strings = h.off_struct + h.size_struct;
	h.totalsize = total = h.off_strings + h.size_strings;
	if (total > room)
		die("no room for the device tree");

	memcpy(dtb + h.off_reserved, no_reserved_memory, sizeof(no_reserved_memory));
	memcpy(dtb + h.off_struct, nodes, nodes_len);
	memcpy(dtb + h.off_strings, names, names_len);
	memcpy(field, &h, sizeof(h));
	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++)
		field[i] = __builtin_bswap32(field[i]);
	memcpy(dtb, field, sizeof(field));
	return total;
}

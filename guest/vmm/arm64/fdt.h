/* SPDX-License-Identifier: GPL-2.0 */
/* A flattened device tree is written from its root to its last node. */
#ifndef FDT_H
#define FDT_H

#include <stddef.h>
#include <stdint.h>

void fdt_begin(const char *name);
void fdt_end(void);
void fdt_prop(const char *name, const void *data, size_t len);
void fdt_string(const char *name, const char *value);
void fdt_cells(const char *name, const uint32_t *cells, size_t n);
/* Returns the size of what was written to @dtb */
size_t fdt_finish(char *dtb, size_t room);

#define FDT_CELLS(name, ...)						\
	fdt_cells(name, (const uint32_t[]){ __VA_ARGS__ },		\
		  sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))
#define FDT_U64(value)	(uint32_t)((uint64_t)(value) >> 32), (uint32_t)(value)

#endif /* FDT_H */

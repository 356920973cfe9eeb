// SPDX-License-Identifier: GPL-2.0
/*
 * What a vmm of any architecture needs: files, ioctls, and to say something.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

static char line[256];		/* of the guest, not at its end yet */
static size_t line_len;

static void console_flush(void)
{
	fwrite(line, 1, line_len, stdout);
	line_len = 0;
}

void console_byte(char c)
{
	line[line_len++] = c;
	if (c == '\n' || line_len == sizeof(line))
		console_flush();
}

void say(const char *fmt, ...)
{
	va_list ap;

	printf("vmm: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

void die(const char *fmt, ...)
{
	va_list ap;

	console_flush();
	printf("\nvmm: error=\"");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\"\nvmm: result=FAIL\n");
	fflush(stdout);
	_Exit(1);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("no memory");
	return p;
}

int xioctl(int fd, const char *name, unsigned long request, uintptr_t arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		die("%s: %s", name, strerror(errno));
	return ret;
}

char *map_file(const char *path, uint64_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *file;

	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		die("%s: %s", path, strerror(errno));
	close(fd);
	*size = st.st_size;
	return file;
}

uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (end == text || *end)
		usage();
	return n;
}

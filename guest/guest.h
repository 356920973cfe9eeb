/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the inits of the guests have in common: file systems, files of one line, the
 * I/O to a disk, and the end.
 */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"

#define MAX_REQUEST	(256u << 10)
#define SECTOR		512u

static inline void power_off(void)
{
	fflush(stdout);
#ifdef __x86_64__
	/* A PC without ACPI can be started anew, but not be switched off */
	if (!strcmp(getenv("poweroff") ?: "", "restart"))
		reboot(RB_AUTOBOOT);
#endif
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static inline int mount_on(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	return mount(type, dir, type, 0, NULL) && errno != EBUSY ? -1 : 0;
}

/* First line of a file without the newline, "" if it cannot be read */
static inline const char *read_line(const char *dir, const char *file)
{
	static char buf[256];
	char path[PATH_MAX + 64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY);
	if (fd >= 0) {
		n = read(fd, buf, sizeof(buf) - 1);
		close(fd);
	}
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return buf;
}

/* How far a transfer came. @len is the size of the last request. */
struct transfer {
	uint64_t off, bad, requests;
	size_t len;
};

/*
 * Write the pattern to a disk, or read and compare it. In sizes of 1 to 512 sectors
 * in no regular order, at every sector of a page of @mem, which has MAX_REQUEST +
 * 4096 bytes. Returns -1 if a request fails, with errno 0 if it was cut short.
 */
static inline int transfer(int fd, char *mem, uint64_t bytes, int write,
			   struct transfer *t)
{
	memset(t, 0, sizeof(*t));
	for (; t->off < bytes; t->off += t->len, t->requests++) {
		uint64_t n = t->requests;
		size_t len = (pattern(n) % (MAX_REQUEST / SECTOR) + 1) * SECTOR;
		char *buf = mem + (n % 8) * SECTOR;
		ssize_t done;

		if (n % 4 == 1)
			len = SECTOR;
		if (len > bytes - t->off)
			len = bytes - t->off;
		t->len = len;
		if (write) {
			pattern_fill(buf, t->off, len);
			done = pwrite(fd, buf, len, t->off);
		} else {
			memset(buf, 0xa5, len);
			done = pread(fd, buf, len, t->off);
		}
		if (done != (ssize_t)len) {
			if (done >= 0)
				errno = 0;
			return -1;
		}
		if (!write)
			t->bad += pattern_mismatches(buf, t->off, len);
	}
	return 0;
}

#endif /* GUEST_H */

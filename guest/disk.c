// SPDX-License-Identifier: GPL-2.0
/*
 * init of the disk guest: writes a pattern to /dev/vda, reads it back, compares
 * it and says what the DMA layer did for the device meanwhile.
 *
 * I/O is O_DIRECT, in requests of many sizes and from buffers at odd sectors of
 * a page, so that it is this program's memory that the driver maps. All output
 * for the host is in lines "dma: key=value ...".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pattern.h"

#define DISK_BYTES	(16u << 20)
#define MAX_REQUEST	(256u << 10)
#define SECTOR		512u

static void finish(const char *result)
{
	printf("dma: result=%s\n", result);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void fail(const char *fmt, ...)
{
	va_list ap;

	printf("dma: error=\"");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\"\n");
	finish("FAIL");
}

static void mount_or_fail(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL) && errno != EBUSY)
		fail("cannot mount %s: %s", type, strerror(errno));
}

/* First line of a file without the newline, "" if it cannot be read */
static const char *read_line(const char *dir, const char *file)
{
	static char buf[256];
	char path[PATH_MAX];
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

/*
 * The debugfs folder of the restricted pool. It is at the top if a device came
 * before the late initcalls, else under swiotlb/.
 */
static int find_pool(char *dir, size_t size)
{
	static const char * const tops[] = {
		"/sys/kernel/debug", "/sys/kernel/debug/swiotlb",
	};

	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		DIR *d = opendir(tops[i]);
		struct dirent *e;

		while (d && (e = readdir(d))) {
			if (strncmp(e->d_name, "restricted-dma-pool", 19))
				continue;
			snprintf(dir, size, "%s/%s", tops[i], e->d_name);
			closedir(d);
			return 0;
		}
		if (d)
			closedir(d);
	}
	return -1;
}

/* Sizes of 1 to 512 sectors in no regular order, at every sector of a page */
static uint64_t transfer(int fd, char *mem, int write)
{
	uint64_t off = 0, bad = 0, n = 0;

	while (off < DISK_BYTES) {
		size_t len = (pattern(n) % (MAX_REQUEST / SECTOR) + 1) * SECTOR;
		char *buf = mem + (n % 8) * SECTOR;
		ssize_t done;

		if (n % 4 == 1)
			len = SECTOR;
		if (len > DISK_BYTES - off)
			len = DISK_BYTES - off;
		if (write) {
			pattern_fill(buf, off, len);
			done = pwrite(fd, buf, len, off);
		} else {
			memset(buf, 0xa5, len);
			done = pread(fd, buf, len, off);
		}
		if (done != (ssize_t)len)
			fail("%s of %zu bytes at %llu: %s",
			     write ? "write" : "read", len,
			     (unsigned long long)off,
			     done < 0 ? strerror(errno) : "short");
		if (!write)
			bad += pattern_mismatches(buf, off, len);
		off += len;
		n++;
	}
	if (!write)
		printf("dma: read=%llu compared=%llu mismatched=%llu requests=%llu\n",
		       (unsigned long long)off, (unsigned long long)off,
		       (unsigned long long)bad, (unsigned long long)n);
	else
		printf("dma: written=%llu\n", (unsigned long long)off);
	return bad;
}

int main(void)
{
	unsigned long slots, hiwater, used;
	char pool[PATH_MAX], driver[PATH_MAX];
	uint64_t bad;
	ssize_t n;
	void *mem;
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_or_fail("proc", "/proc");
	mount_or_fail("sysfs", "/sys");
	mount_or_fail("devtmpfs", "/dev");
	mount_or_fail("debugfs", "/sys/kernel/debug");

	fd = open("/dev/vda", O_RDWR | O_DIRECT);
	if (fd < 0)
		fail("no disk: %s", strerror(errno));
	n = readlink("/sys/block/vda/device/driver", driver, sizeof(driver) - 1);
	driver[n > 0 ? n : 0] = 0;
	n = readlink("/sys/block/vda/device", pool, sizeof(pool) - 1);
	pool[n > 0 ? n : 0] = 0;
	printf("dma: device=%s driver=%s\n", strrchr(pool, '/') + 1,
	       strrchr(driver, '/') + 1);

	if (find_pool(pool, sizeof(pool)))
		fail("no restricted pool in debugfs");
	slots = strtoul(read_line(pool, "io_tlb_nslabs"), NULL, 10);

	if (posix_memalign(&mem, 4096, MAX_REQUEST + 4096))
		fail("no memory");
	bad = transfer(fd, mem, 1);
	if (fsync(fd))
		fail("fsync: %s", strerror(errno));
	bad += transfer(fd, mem, 0);
	close(fd);

	hiwater = strtoul(read_line(pool, "io_tlb_used_hiwater"), NULL, 10);
	used = strtoul(read_line(pool, "io_tlb_used"), NULL, 10);
	printf("dma: pool=%s state=%s slots=%lu hiwater=%lu used=%lu\n",
	       strrchr(pool, '/') + 1, read_line(pool, "io_tlb_state"), slots,
	       hiwater, used);
	if (bad)
		fail("data differs");
	if (!hiwater)
		fail("the pool was not used");
	finish("PASS");
	return 0;
}

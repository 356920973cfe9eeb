// SPDX-License-Identifier: GPL-2.0
/*
 * init of a confidential guest: lets every kind of DMA happen that its devices can
 * do, compares all data, and says what the DMA layer had for it.
 *
 * The doorbell module walks through the DMA API in the kernel; then user space and
 * the doorbells share memory, disks are written and read, and frames go round the
 * network card. All output for the host is in lines "guest: key=value ...".
 *
 * Options come from the kernel's command line: rounds, threads, only and
 * base are for the module; packets, diskmb; skip=disk,net,doorbell,mmap,unbind; limit,
 * in seconds; complaints, the number of lines in the kernel's log that are no failure;
 * secrets, how many MiB are used and freed before anything is shared.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <arpa/inet.h>

#include "doorbell.h"
#include "gcov.h"
#include "guest.h"
#include "kmemleak.h"

#define DOORBELLS	16
#define DB_BUFFER	65536u
#define SLOT		2048u
#define ETHERTYPE	0x88b5
#define FLIGHT		32u
#define SECRETS		64

static int failures;

__attribute__((format(printf, 1, 2)))
static void failed(const char *fmt, ...)
{
	va_list ap;

	printf("guest: error=\"");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\"\n");
	failures++;
}

static unsigned long option(const char *name, unsigned long value)
{
	const char *s = getenv(name);

	return s && *s ? strtoul(s, NULL, 0) : value;
}

/* Is @what in the list of parts to skip? */
static int skip(const char *what)
{
	const char *s = getenv("skip");
	size_t n = strlen(what);

	while (s && *s) {
		size_t len = strcspn(s, ",");

		if (len == n && !strncmp(s, what, n))
			return 1;
		s += len + (s[len] == ',');
	}
	return 0;
}

/* Kernel log; the caller may cut it up */
static char *read_log(void)
{
	int size = klogctl(10 /* SIZE_BUFFER */, NULL, 0), n = -1;
	char *log = size > 0 ? malloc(size + 1) : NULL;

	if (log)
		n = klogctl(3 /* READ_ALL */, log, size);
	if (n < 0) {
		failed("no kernel log: %s", strerror(errno));
		return strdup("");
	}
	log[n] = 0;
	return log;
}

/* What stands behind @key in a text, up to one of @end, or @none */
static const char *field(const char *text, const char *key, const char *end,
			 const char *none, char *buf, size_t size)
{
	const char *s = strstr(text, key);

	if (s) {
		s += strlen(key);
		s += strspn(s, " ");
	}
	snprintf(buf, size, "%.*s", s ? (int)strcspn(s, end) : INT_MAX, s ?: none);
	return buf;
}

static unsigned long number(const char *line, const char *key)
{
	char buf[32];

	return strtoul(field(line, key, " \n", "0", buf, sizeof(buf)), NULL, 0);
}

/* Calls @fn for the entries of a folder, in the order of their names */
static void each(const char *dir, void (*fn)(const char *dir, const char *name))
{
	struct dirent **list;
	int n = scandir(dir, &list, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.')
			fn(dir, list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

/* Says what kind of guest this is */
static void identify(void)
{
	char services[64], rsi[16], enc[64], *last, *log = read_log();

	field(log, "hypervisor services detected (", ")\n", "0x0", services,
	      sizeof(services));
	last = strrchr(services, ' ');
	field(log, "RME: Using RSI version", " \n", "none", rsi, sizeof(rsi));
	field(log, "Memory Encryption Features active:", "\n", "none", enc,
	      sizeof(enc));
	for (char *c = enc; *c; c++)
		if (*c == ' ')
			*c = '_';
	printf("guest: is services=%s rsi=%s mem_encrypt=\"%s\" page=%ld cpus=%ld ram_kib=%lu\n",
	       last ? last + 1 : services, rsi, enc, sysconf(_SC_PAGESIZE),
	       sysconf(_SC_NPROCESSORS_ONLN),
	       number(read_line("/proc", "meminfo"), "MemTotal:"));
	free(log);
}

/*
 * Memory that is shared from now on has been used before. pKVM lets the host see what is
 * in it. Pipes, since the kernel has user space's memory elsewhere than its own.
 */
static void leave_secrets(void)
{
	static uint64_t secret[(1 << 20) / sizeof(uint64_t)];
	int fds[2 * SECRETS], n, mib = option("secrets", 0);

	for (size_t i = 0; i < sizeof(secret) / sizeof(*secret); i++)
		secret[i] = DB_SECRET;
	for (n = 0; n < mib && n < SECRETS; n++) {
		if (pipe2(fds + 2 * n, O_CLOEXEC | O_NONBLOCK))
			break;
		if (fcntl(fds[2 * n], F_SETPIPE_SZ, sizeof(secret)) < 0 ||
		    write(fds[2 * n + 1], secret, sizeof(secret)) != sizeof(secret))
			failed("secrets: %s", strerror(errno));
	}
	if (n < mib)
		failed("%d pipes of %d for secrets", n, mib);
	while (n--) {
		close(fds[2 * n]);
		close(fds[2 * n + 1]);
	}
}

/* Returns when the module has been through all of its cases */
static void load_module(void)
{
	static const char * const names[] = {
		"rounds", "threads", "only", "base",
	};
	int fd = open("/doorbell.ko", O_RDONLY | O_CLOEXEC);
	char args[512] = "";
	size_t n = 0;

	setenv("rounds", "10", 0);
	setenv("threads", sysconf(_SC_NPROCESSORS_ONLN) < 2 ? "1" : "2", 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (getenv(names[i]) && n < sizeof(args))
			n += snprintf(args + n, sizeof(args) - n, "%s=%s ", names[i],
				      getenv(names[i]));
	if (fd < 0 || syscall(SYS_finit_module, fd, args, 0))
		failed("doorbell.ko: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static int open_doorbell(int nr)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/doorbell%d", nr);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* What the module found out, device by device. Returns whether the device is trusted. */
static int doorbell_report(int nr, int fd)
{
	static char text[1 << 16];
	unsigned long cases = 0, passed = 0, bad = 0, skipped = 0;
	unsigned long wanted = 0, faulted = 0, done = 0;
	char answers[4][8] = { "?", "?", "?", "?" }, name[64], *line, *next;
	static const char * const keys[] = {
		" encrypted=", " unencrypted=", " coherent=", " trusted=",
	};
	ssize_t n;

	while ((n = read(fd, text + done, sizeof(text) - 1 - done)) > 0)
		done += n;
	text[done] = 0;
	for (line = text; *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = 0;
		if (!strncmp(line, "case=", 5)) {
			cases++;
			passed += number(line, " passed=");
			bad += number(line, " failed=");
			skipped += number(line, " skipped=");
		} else if (!strncmp(line, "negative ", 9)) {
			wanted += number(line, " wanted=");
			faulted += number(line, " faulted=");
		} else if (!strncmp(line, "answers ", 8)) {
			for (int i = 0; i < 4; i++)
				field(line, keys[i], " ", "?", answers[i], 8);
		}
	}
	printf("guest: doorbell=%d cases=%lu passed=%lu failed=%lu skipped=%lu wanted=%lu faulted=%lu",
	       nr, cases, passed, bad, skipped, wanted, faulted);
	for (int i = 0; i < 4; i++)
		printf("%s%s", keys[i], answers[i]);
	printf("\n");
	for (line = text; line < text + done; line += strlen(line) + 1)
		if (!strncmp(line, "case=", 5) && number(line, " failed="))
			printf("guest: doorbell=%d failed_case=%s failed=%lu\n", nr,
			       field(line, "case=", " ", "?", name, sizeof(name)),
			       number(line, " failed="));
	failures += !!bad;
	if (!passed && !getenv("only"))
		failed("doorbell%d: no case passed", nr);
	if (wanted != faulted)
		failed("doorbell%d: a fault too few or too many", nr);
	return answers[3][0] == '1';
}

static int ring(int fd, uint64_t cmd, uint64_t seed, uint64_t len)
{
	struct {
		uint64_t cmd, seed, len;
	} r = { cmd, seed, len };

	return write(fd, &r, sizeof(r)) < 0 ? -1 : 0;
}

/* doorbell_byte() for @len bytes; all machines here are little endian */
static void fill(void *buf, uint64_t seed, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t p = pattern(seed + i / 8);

		memcpy((char *)buf + i, &p, len - i < 8 ? len - i : 8);
	}
}

static size_t differing(const void *a, const void *b, size_t len)
{
	const unsigned char *p = a, *q = b;
	size_t bad = 0;

	for (size_t i = 0; i < len; i++)
		bad += p[i] != q[i];
	return bad;
}

/* Memory that user space and the device both see */
static void mmap_test(int nr, int fd)
{
	static unsigned char want[DB_BUFFER];
	void *mem = mmap(NULL, DB_BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned long bytes = 0, bad = 0;

	if (mem == MAP_FAILED) {
		failed("doorbell%d: mmap: %s", nr, strerror(errno));
		return;
	}
	for (uint64_t i = 0; i < 16; i++) {
		/* Far enough apart that no place has the same byte again */
		uint64_t seed = ((uint64_t)nr << 32) + (i << 20);
		int store = i & 1;

		bytes += DB_BUFFER;
		fill(store ? want : mem, seed, DB_BUFFER);
		if (ring(fd, store ? DB_CMD_STORE : DB_CMD_LOAD, seed, DB_BUFFER)) {
			failed("doorbell%d: %s: %s", nr, store ? "store" : "load",
			       strerror(errno));
			bad += DB_BUFFER;
			break;
		}
		if (store)
			bad += differing(mem, want, DB_BUFFER);
	}
	printf("guest: mmap doorbell=%d bytes=%lu bad=%lu\n", nr, bytes, bad);
	failures += !!bad;
	munmap(mem, DB_BUFFER);
}

static int any_trusted;

static unsigned long atomic_bytes(void)
{
	const char *dir = "/sys/kernel/debug/dma_pools";

	return strtoul(read_line(dir, "pool_size_dma"), NULL, 10) +
	       strtoul(read_line(dir, "pool_size_dma32"), NULL, 10) +
	       strtoul(read_line(dir, "pool_size_kernel"), NULL, 10);
}

/*
 * Asks for what was left in memory, when the pools have grown that the module used.
 * Before data is read: the bounce buffer of that begins with what was in the memory,
 * so that what is not written stays as it is.
 */
static void look_for_secrets(int fd, unsigned long atomic)
{
	for (int tries = 0; tries < 100 && atomic_bytes() <= atomic; tries++)
		usleep(100000);
	if (!atomic || atomic_bytes() <= atomic)
		failed("the atomic pools have not grown");
	if (ring(fd, DB_CMD_SECRETS, 0, 0))
		failed("secrets: %s", strerror(errno));
}

/* Returns whether the first doorbell is trusted, -1 without doorbells */
static int doorbells(unsigned long atomic)
{
	int trusted = -1;

	for (int nr = 0; nr < DOORBELLS; nr++) {
		int fd = open_doorbell(nr), t;

		if (fd < 0) {
			if (errno != ENOENT)
				failed("doorbell%d: %s", nr, strerror(errno));
			continue;
		}
		if (trusted < 0 && option("secrets", 0))
			look_for_secrets(fd, atomic);
		t = doorbell_report(nr, fd);
		if (trusted < 0)
			trusted = t;
		any_trusted |= t;
		if (!skip("mmap"))
			mmap_test(nr, fd);
		close(fd);
	}
	if (trusted < 0)
		failed("no doorbells");
	return trusted;
}

/* Name of the device that does the DMA: what a virtio device sits on */
static const char *device_of(const char *class, const char *name)
{
	static char real[PATH_MAX];
	char path[PATH_MAX], *slash;

	snprintf(path, sizeof(path), "/sys/%s/%s/device", class, name);
	if (!realpath(path, real))
		return "unknown";
	slash = strrchr(real, '/');
	if (!strncmp(slash, "/virtio", 7))
		*slash = 0;
	return strrchr(real, '/') + 1;
}

static int nr_disks, nr_nets;

static void disk(const char *dir, const char *name)
{
	static char mem[MAX_REQUEST + 4096] __attribute__((aligned(4096)));
	uint64_t bytes = (uint64_t)option("diskmb", 8) << 20, size;
	struct transfer w, r;
	char path[PATH_MAX];
	int fd;

	(void)dir;
	if (strncmp(name, "vd", 2))
		return;
	nr_disks++;
	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0) {
		failed("%s: %s", name, strerror(errno));
		return;
	}
	size = lseek(fd, 0, SEEK_END);
	if (bytes > size)
		bytes = size;
	memset(&r, 0, sizeof(r));
	if (transfer(fd, mem, bytes, 1, &w) || fsync(fd))
		failed("%s: write at %llu: %s", name, (unsigned long long)w.off,
		       errno ? strerror(errno) : "short");
	else if (transfer(fd, mem, bytes, 0, &r))
		failed("%s: read at %llu: %s", name, (unsigned long long)r.off,
		       errno ? strerror(errno) : "short");
	printf("guest: disk=%s device=%s bytes=%llu requests=%llu bad=%llu\n", name,
	       device_of("block", name), (unsigned long long)r.off,
	       (unsigned long long)r.requests, (unsigned long long)r.bad);
	if (r.bad || !r.off)
		failures++;
	close(fd);
}

/* What goes round: the numbers are little endian, the sum is FNV-1a over the data */
struct frame {
	unsigned char to[ETH_ALEN], from[ETH_ALEN];
	uint16_t type;		/* big endian */
	uint32_t seq, len, sum;
	unsigned char data[ETH_FRAME_LEN - ETH_HLEN - 12];
} __attribute__((packed));

static size_t make_frame(struct frame *f, const unsigned char *mac, uint32_t seq)
{
	size_t len = ETH_ZLEN + seq * 37 % (ETH_FRAME_LEN - ETH_ZLEN + 1);
	size_t data = len - offsetof(struct frame, data);
	uint32_t sum = 0x811c9dc5;

	memcpy(f->to, mac, ETH_ALEN);
	memcpy(f->from, mac, ETH_ALEN);
	f->type = htons(ETHERTYPE);
	f->seq = seq;
	f->len = len;
	fill(f->data, (uint64_t)seq << 16, data);
	for (size_t i = 0; i < data; i++)
		sum = (sum ^ f->data[i]) * 0x01000193;
	f->sum = sum;
	return len;
}

/* A socket for our frames on a card that is up; -1 if that fails */
static int net_socket(const char *name, unsigned char *mac)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE));
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE),
	};
	struct ifreq ifr = { 0 };
	char dir[PATH_MAX];

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr))
		goto err;
	memcpy(mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		goto err;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) || ioctl(fd, SIOCGIFINDEX, &ifr))
		goto err;
	at.sll_ifindex = ifr.ifr_ifindex;
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		goto err;
	/* Frames that are sent before the link is up are lost */
	snprintf(dir, sizeof(dir), "/sys/class/net/%s", name);
	for (int i = 0; i < 200 && strcmp(read_line(dir, "carrier"), "1"); i++)
		usleep(10000);
	return fd;
err:
	failed("%s: %s", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Every frame comes back once as it was sent, or it counts as lost. One card only. */
static void net(const char *class, const char *name)
{
	uint32_t packets = option("packets", 3000), sent = 0, got = 0;
	unsigned char mac[ETH_ALEN], *seen;
	unsigned long long bytes = 0, bad = 0;
	struct frame out, in;
	int fd;

	(void)class;
	if ((strncmp(name, "eth", 3) && strncmp(name, "en", 2)) || nr_nets++)
		return;
	seen = calloc(packets + 1, 1);
	fd = seen ? net_socket(name, mac) : -1;
	while (fd >= 0 && got < packets) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct sockaddr_ll from = { 0 };
		socklen_t size = sizeof(from);
		size_t want;
		ssize_t n;

		while (sent < packets && sent - got < FLIGHT) {
			size_t len = make_frame(&out, mac, sent);

			if (send(fd, &out, len, 0) != (ssize_t)len) {
				failed("%s: send: %s", name, strerror(errno));
				goto end;
			}
			sent++;
		}
		if (poll(&p, 1, 2000) <= 0)
			break;
		n = recvfrom(fd, &in, sizeof(in), MSG_DONTWAIT | MSG_TRUNC,
			     (struct sockaddr *)&from, &size);
		if (n < 0 && errno != EAGAIN) {
			failed("%s: receive: %s", name, strerror(errno));
			break;
		}
		if (n < 0 || from.sll_pkttype == PACKET_OUTGOING)
			continue;
		if (n < (ssize_t)offsetof(struct frame, data) || in.seq >= sent ||
		    seen[in.seq]) {
			bad += n;	/* not ours, or not for the first time */
			continue;
		}
		seen[in.seq] = 1;
		got++;
		bytes += n;
		want = make_frame(&out, mac, in.seq);
		if ((size_t)n == want)
			bad += differing(&in, &out, want);
		else
			bad += n > (ssize_t)want ? n : (ssize_t)want;
	}
end:
	printf("guest: net=%s device=%s packets=%u bytes=%llu bad=%llu lost=%u\n",
	       name, device_of("class/net", name), got, bytes, bad, packets - got);
	failures += bad || got < packets;
	if (fd >= 0)
		close(fd);
	free(seen);
}

static struct {
	unsigned long slots, used;	/* of the decrypted ones */
} shared_pools;
static int pools_say;	/* 1: all, 2: those in use */

static void pool(const char *top, const char *name)
{
	unsigned long slots, used, hiwater;
	char dir[PATH_MAX];
	const char *state;

	snprintf(dir, sizeof(dir), "%s/%s", top, name);
	slots = strtoul(read_line(dir, "io_tlb_nslabs"), NULL, 10);
	if (!slots)
		return;
	used = strtoul(read_line(dir, "io_tlb_used"), NULL, 10);
	hiwater = strtoul(read_line(dir, "io_tlb_used_hiwater"), NULL, 10);
	state = read_line(dir, "io_tlb_state");
	if (!strcmp(state, "decrypted")) {
		shared_pools.slots += slots;
		shared_pools.used += used;
	}
	if (!strcmp(name, "swiotlb"))
		name = "default";
	if (pools_say == 1)
		printf("guest: pool=%s state=%s slots=%lu used=%lu hiwater=%lu\n",
		       name, state, slots, used, hiwater);
	if (pools_say == 2 && used) {
		printf("guest: leftover pool=%s used=%lu\n", name, used);
		failures++;
	}
}

/* Folders of pools are at the top of debugfs or under swiotlb/, which depends on whether a
 * device came before the late initcalls */
static void read_pools(int say)
{
	memset(&shared_pools, 0, sizeof(shared_pools));
	pools_say = say;
	each("/sys/kernel/debug", pool);
	each("/sys/kernel/debug/swiotlb", pool);
}

static void unbind(const char *driver, const char *name)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", driver, name);
	len = readlink(path, target, sizeof(target) - 1);
	target[len > 0 ? len : 0] = 0;
	if (!strstr(target, "/devices/"))
		return;
	snprintf(path, sizeof(path), "%s/unbind", driver);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, name, strlen(name)) < 0)
		failed("unbind %s: %s", name, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/*
 * Tells the host how much memory this guest believes to share, at least and at most:
 * with trusted devices about, atomic pools may be of either state. The doorbell that
 * carries the message has a buffer of its own, which is shared as well unless the
 * device is trusted, and may be one of a pool.
 */
static void tell_shared(int trusted)
{
	unsigned long before = shared_pools.used, bytes, atomic = atomic_bytes();
	int fd = trusted < 0 ? -1 : open_doorbell(0);

	if (trusted >= 0 && fd < 0)
		failed("doorbell0: %s", strerror(errno));
	read_pools(0);
	bytes = shared_pools.slots * SLOT + atomic;
	if (fd >= 0 && !trusted && shared_pools.used < before + DB_BUFFER / SLOT)
		bytes += DB_BUFFER;
	printf("guest: shared bytes=%lu\n", bytes);
	if (fd < 0)
		return;
	if (ring(fd, DB_CMD_SHARED, bytes - (any_trusted ? atomic : 0), bytes))
		failed("doorbell0: shared: %s", strerror(errno));
	close(fd);
}

/* Is this line of the log a complaint? */
static int is_complaint(const char *line)
{
	static const char * const words[] = {
		"WARNING:", "BUG:", "Oops", "DMA-API:", "Call trace:", "Call Trace:",
		"UBSAN:", "swiotlb buffer is full", "leaking",
	};
	static const char * const harmless[] = {
		"DMA-API: preallocated", "DMA-API: debugging enabled",
		"DMA-API: dma_",
	};

	for (int i = 0; i < 3; i++)
		if (strstr(line, harmless[i]))
			return 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const char *s = strstr(line, words[i]);

		/* Not the end of "DEBUG:" */
		if (s && (s == line || !isalpha(s[-1])))
			return 1;
	}
	return 0;
}

static void check_log(void)
{
	unsigned long n = 0, allowed = option("complaints", 0);
	char *log = read_log(), *line, *save, *shown[5];

	for (line = strtok_r(log, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (is_complaint(line) && n++ < 5)
			shown[n - 1] = line;
	printf("guest: log complaints=%lu\n", n);
	for (unsigned long i = 0; i < n && i < 5; i++) {
		/* Without "<4>[    1.234567] " and with no quotes inside */
		line = shown[i];
		if (*line == '<')
			line += strcspn(line, ">") + 1;
		if (*line == '[')
			line += strcspn(line, "]") + 1;
		line += strspn(line, " ");
		for (char *q = line; (q = strchr(q, '"')); q++)
			*q = '\'';
		printf("guest: complaint=\"%.120s\"\n", line);
	}
	failures += n > allowed;
	free(log);
}

/*
 * The KUnit cases that the kernel's command line asks for ran before init. The log has
 * a line for each, and before it one for each of its parameters.
 */
static void report_kunit(void)
{
	static const char * const outcomes[] = { "ok ", "not ok " };
	char suite[64] = "?", *log = read_log(), *line, *save;
	unsigned long n[3] = { 0 };	/* by outcome, and skipped */

	for (line = strtok_r(log, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *text = line + strcspn(line, ">");
		size_t depth;

		/* "<6>" and, if the kernel is built so, "[    1.234567] " */
		text += !!*text;
		if (*text == '[' && strstr(text, "] "))
			text = strstr(text, "] ") + 2;
		depth = strspn(text, " ");
		text += depth;
		if (depth == 4 && !strncmp(text, "# Subtest: ", 11))
			snprintf(suite, sizeof(suite), "%s", text + 11);
		for (int i = 0; (depth == 4 || depth == 8) && i < 2; i++) {
			size_t len = strlen(outcomes[i]);

			if (strncmp(text, outcomes[i], len))
				continue;
			if (depth == 8 || !(n[0] + n[1] + n[2]))
				n[strstr(text, " # SKIP") ? 2 : i]++;
			if (depth == 8)
				break;
			text += len + strspn(text + len, "0123456789 ");
			printf("guest: kunit=%s.%.*s ok=%lu failed=%lu skipped=%lu\n",
			       suite, (int)strcspn(text, " "), text, n[0], n[1], n[2]);
			failures += !!n[1];
			memset(n, 0, sizeof(n));
			break;
		}
	}
	free(log);
}

static void tests(void)
{
	int trusted = -1;

	report_kunit();
	if (!skip("doorbell")) {
		unsigned long atomic = atomic_bytes();

		load_module();
		trusted = doorbells(atomic);
	}
	if (!skip("disk")) {
		each("/sys/block", disk);
		if (!nr_disks)
			failed("no disk");
	}
	if (!skip("net")) {
		each("/sys/class/net", net);
		if (!nr_nets)
			failed("no network card");
	}
	read_pools(1);
	printf("guest: atomic bytes=%lu\n", atomic_bytes());
	if (!skip("unbind")) {
		/* Frees the rings: only pools are left of what the guest shares */
		each("/sys/bus/platform/drivers/virtio-mmio", unbind);
		read_pools(2);
		tell_shared(trusted);
	}
}

static void on_alarm(int sig)
{
	(void)sig;
}

/*
 * The tests are a process of their own: one that hangs in the kernel, or dies of
 * what it finds in memory, does not keep init from saying so.
 */
int main(void)
{
	static const char * const fs[][2] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" }, { "devtmpfs", "/dev" },
		{ "debugfs", "/sys/kernel/debug" },
	};
	struct sigaction act = { .sa_handler = on_alarm };
	int status = 0, leaks;
	pid_t pid;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < 4; i++)
		if (mount_on(fs[i][0], fs[i][1]))
			failed("cannot mount %s: %s", fs[i][0], strerror(errno));
	identify();
	leave_secrets();
	pid = fork();
	if (!pid) {
		failures = 0;
		tests();
		exit(failures != 0);
	}
	sigaction(SIGALRM, &act, NULL);
	alarm(option("limit", 120));
	if (pid < 0) {
		failed("fork: %s", strerror(errno));
	} else if (waitpid(pid, &status, 0) < 0) {
		kill(pid, SIGKILL);
		failed("time limit");
	} else if (WIFSIGNALED(status)) {
		failed("the tests died of signal %d", WTERMSIG(status));
	} else {
		failures += WEXITSTATUS(status);
	}
	leaks = report_leaks();
	if (leaks > 0)
		failed("%d objects leaked", leaks);
	check_log();
	report_coverage();
	printf("guest: result=%s\n", failures ? "FAIL" : "PASS");
	power_off();
	return 0;
}

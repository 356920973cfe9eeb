// SPDX-License-Identifier: GPL-2.0
/*
 * init of the guests of defconfig and iommu: I/O through every disk and every network
 * card that the kernel's own drivers found, with all data compared.
 *
 * Disks are written and read with O_DIRECT. Network cards exchange data with an
 * echo service at 10.0.N.100:7, N being the card's number, which sends back what
 * it gets; a pair of cards sends each other frames. All output for the host is in
 * lines "dev: key=value ...".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "guest.h"

#define DISK_BYTES	(8u << 20)
#define NET_BYTES	(1u << 20)
#define FRAMES		2000u
#define FLIGHT		32u	/* frames under way */
#define ETHERTYPE	0x88b5	/* for experiments */

static int failures;

static void finish(const char *result)
{
	printf("dev: result=%s\n", result);
	sync();
	power_off();
}

__attribute__((format(printf, 2, 3)))
static void failed(const char *name, const char *fmt, ...)
{
	va_list ap;

	printf("dev: name=%s error=\"", name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\"\n");
	failures++;
}

static void mount_or_die(const char *type, const char *dir)
{
	if (mount_on(type, dir)) {
		failed(dir, "cannot mount: %s", strerror(errno));
		finish("FAIL");
	}
}

/*
 * Name of the driver of /sys/class/NAME/device, or of the controller above it. With
 * "iommus" on the command line its IOMMU domain, and whether it is trusted, too
 */
static const char *driver_of(const char *class, const char *name)
{
	static char driver[PATH_MAX];
	char path[PATH_MAX], *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/%s/%s/device", class, name);
	if (!realpath(path, driver))
		return "unknown";
	strcpy(path, driver);
	while (strlen(path) > strlen("/sys/devices")) {
		char link[PATH_MAX + 8], bus[PATH_MAX + 12], target[PATH_MAX];

		/* A disk of a host adapter is no device that does DMA itself */
		snprintf(bus, sizeof(bus), "%s/subsystem", path);
		n = readlink(bus, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = 0;
		snprintf(link, sizeof(link), "%s/driver", path);
		n = readlink(link, driver, sizeof(driver) - 1);
		/* virtio and nvme have a class or bus below PCI's */
		if (n > 0 && getenv("iommus") && !strstr(target, "bus/pci"))
			n = 0;
		if (n > 0 && !strstr(target, "bus/scsi")) {
			driver[n] = 0;
			memmove(driver, strrchr(driver, '/') + 1,
				strlen(strrchr(driver, '/')));
			if (getenv("iommus")) {
				n = strlen(driver);
				n += snprintf(driver + n, sizeof(driver) - n, " domain=%s",
					      read_line(path, "iommu_group/type"));
				snprintf(driver + n, sizeof(driver) - n, " untrusted=%d",
					 !strcmp(read_line(path, "removable"), "removable"));
			}
			return driver;
		}
		slash = strrchr(path, '/');
		*slash = 0;
	}
	return "unknown";
}

static int64_t disk_pass(int fd, char *mem, int write)
{
	struct transfer t;

	return transfer(fd, mem, DISK_BYTES, write, &t) ? -1 : (int64_t)t.bad;
}

static void disk(const char *name, char *mem)
{
	char path[PATH_MAX];
	int64_t bad;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_DIRECT);
	if (fd < 0) {
		failed(name, "cannot open: %s", strerror(errno));
		return;
	}
	if (disk_pass(fd, mem, 1) || fsync(fd))
		failed(name, "write: %s", strerror(errno));
	bad = disk_pass(fd, mem, 0);
	if (bad)
		failed(name, "%lld bytes differ", (long long)bad);
	printf("dev: name=%s driver=%s compared=%u mismatched=%lld\n", name,
	       driver_of("block", name), DISK_BYTES, (long long)bad);
	close(fd);
}

static int net_up(const char *name, unsigned int nr)
{
	struct ifreq ifr = { 0 };
	struct sockaddr_in *sin = (struct sockaddr_in *)&ifr.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ret;
	char addr[32];

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	sin->sin_family = AF_INET;
	snprintf(addr, sizeof(addr), "10.0.%u.15", nr);
	inet_pton(AF_INET, addr, &sin->sin_addr);
	ret = ioctl(fd, SIOCSIFADDR, &ifr);
	inet_pton(AF_INET, "255.255.255.0", &sin->sin_addr);
	ret = ret ?: ioctl(fd, SIOCSIFNETMASK, &ifr);
	ret = ret ?: ioctl(fd, SIOCGIFFLAGS, &ifr);
	ifr.ifr_flags |= IFF_UP;
	ret = ret ?: ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
	return ret;
}

/* Send and receive at the same time, whatever the socket takes and has */
static int64_t echo(int fd, char *out, char *in)
{
	size_t sent = 0, got = 0;
	ssize_t n;

	pattern_fill(out, 0, NET_BYTES);
	while (got < NET_BYTES) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (sent < NET_BYTES)
			p.events |= POLLOUT;
		if (poll(&p, 1, 20000) <= 0)
			return -1;
		if (p.revents & POLLOUT) {
			n = send(fd, out + sent, NET_BYTES - sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n > 0)
				sent += n;
		}
		if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
			n = recv(fd, in + got, NET_BYTES - got, MSG_DONTWAIT);
			if (n <= 0 && errno != EAGAIN)
				return -1;
			if (n > 0)
				got += n;
		}
	}
	return pattern_mismatches(in, 0, NET_BYTES);
}

/* Cards are matched with their networks by the order that the host gave them */
static void net(const char *name, unsigned int nr, char *mem)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(7) };
	char addr[32];
	int64_t bad = -1;
	int fd, tries;

	if (net_up(name, nr)) {
		failed(name, "cannot be configured: %s", strerror(errno));
		return;
	}
	snprintf(addr, sizeof(addr), "10.0.%u.100", nr);
	inet_pton(AF_INET, addr, &to.sin_addr);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	/* The link may take some seconds to come up */
	for (tries = 0; tries < 20; tries++) {
		if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
			break;
		sleep(1);
	}
	if (tries < 20)
		bad = echo(fd, mem, mem + NET_BYTES);
	if (bad)
		failed(name, bad < 0 ? "no echo: %s" : "data differs (%s)",
		       strerror(errno));
	printf("dev: name=%s driver=%s compared=%u mismatched=%lld\n", name,
	       driver_of("class/net", name), bad < 0 ? 0 : NET_BYTES,
	       (long long)bad);
	close(fd);
}

struct frame {
	unsigned char to[ETH_ALEN], from[ETH_ALEN];
	uint16_t type;		/* big endian */
	uint32_t seq;
	char data[ETH_DATA_LEN - sizeof(uint32_t)];
} __attribute__((packed));

static size_t frame_data(uint32_t seq)
{
	return 60 + seq * 37 % (sizeof(((struct frame *)0)->data) - 60);
}

/* A socket for our frames on a card, which it brings up; -1 if that fails */
static int card(const char *name, unsigned char *mac)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETHERTYPE));
	struct ifreq ifr = { 0 };
	char dir[64];

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &ifr))
		return -1;
	memcpy(mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		return -1;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) || ioctl(fd, SIOCGIFINDEX, &ifr))
		return -1;
	at.sll_ifindex = ifr.ifr_ifindex;
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		return -1;
	snprintf(dir, sizeof(dir), "/sys/class/net/%s", name);
	for (int i = 0; i < 1000 && strcmp(read_line(dir, "carrier"), "1"); i++)
		usleep(10000);
	return fd;
}

/* From one card to the other: says what the receiving one made of it */
static void frames(const char *name, int to, const unsigned char *to_mac, int from,
		   const unsigned char *from_mac)
{
	struct frame f = { .type = htons(ETHERTYPE) };
	uint32_t sent = 0, got = 0;
	unsigned long long bad = 0, bytes = 0;

	while (got < FRAMES) {
		struct pollfd p = { .fd = to, .events = POLLIN };
		ssize_t n;

		for (; sent < FRAMES && sent - got < FLIGHT; sent++) {
			memcpy(f.to, to_mac, ETH_ALEN);
			memcpy(f.from, from_mac, ETH_ALEN);
			f.seq = sent;
			pattern_fill(f.data, (uint64_t)sent << 16, frame_data(sent));
			if (send(from, &f, offsetof(struct frame, data) +
				 frame_data(sent), 0) < 0) {
				failed(name, "send: %s", strerror(errno));
				return;
			}
		}
		if (poll(&p, 1, 5000) <= 0)
			break;
		n = recv(to, &f, sizeof(f), 0);
		if (n < (ssize_t)offsetof(struct frame, data) ||
		    memcmp(f.from, from_mac, ETH_ALEN))
			continue;	/* not ours */
		n -= offsetof(struct frame, data);
		if (f.seq != got || (size_t)n != frame_data(got))
			bad++;
		else
			bad += pattern_mismatches(f.data, (uint64_t)got << 16, n);
		bytes += n;
		got++;
	}
	if (bad || got < FRAMES)
		failed(name, "%llu bytes differ, %u frames lost", bad, FRAMES - got);
	printf("dev: name=%s driver=%s compared=%llu mismatched=%llu\n", name,
	       driver_of("class/net", name), got < FRAMES ? 0 : bytes, bad);
}

static void pair(const char *a, const char *b)
{
	unsigned char a_mac[ETH_ALEN], b_mac[ETH_ALEN];
	int a_fd = card(a, a_mac), b_fd = card(b, b_mac);

	if (a_fd < 0 || b_fd < 0) {
		failed(a_fd < 0 ? a : b, "cannot be used: %s", strerror(errno));
		return;
	}
	frames(b, b_fd, b_mac, a_fd, a_mac);
	frames(a, a_fd, a_mac, b_fd, b_mac);
	close(a_fd);
	close(b_fd);
}

/*
 * usage: init "disks=vda,sda" "nets=eth0:1,eth1:2" "pairs=eth0:eth1" - from the kernel
 * command line
 */
int main(void)
{
	char *disks = getenv("disks"), *nets = getenv("nets"), *name, *save;
	char *pairs = getenv("pairs");
	void *mem;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_or_die("proc", "/proc");
	mount_or_die("sysfs", "/sys");
	mount_or_die("devtmpfs", "/dev");
	if (posix_memalign(&mem, 4096, 2 * NET_BYTES)) {
		failed("memory", "none");
		finish("FAIL");
	}
	for (name = disks ? strtok_r(disks, ",", &save) : NULL; name;
	     name = strtok_r(NULL, ",", &save))
		disk(name, mem);
	for (name = nets ? strtok_r(nets, ",", &save) : NULL; name;
	     name = strtok_r(NULL, ",", &save)) {
		char *nr = strchr(name, ':');

		if (!nr)
			continue;
		*nr++ = 0;
		net(name, strtoul(nr, NULL, 10), mem);
	}
	for (name = pairs ? strtok_r(pairs, ",", &save) : NULL; name;
	     name = strtok_r(NULL, ",", &save)) {
		char *other = strchr(name, ':');

		if (!other)
			continue;
		*other++ = 0;
		pair(name, other);
	}
	if (getenv("iommus")) {
		mount_or_die("debugfs", "/sys/kernel/debug");
		printf("dev: bounced=%s\n",
		       read_line("/sys/kernel/debug/swiotlb", "io_tlb_used_hiwater"));
	}
	finish(failures ? "FAIL" : "PASS");
	return 0;
}

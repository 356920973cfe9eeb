// SPDX-License-Identifier: GPL-2.0
/*
 * init of a host that runs guests: /vmm with the kernel /Image for each of its
 * arguments, which the kernel passes on from behind the "--" on its command line.
 * An argument is KIND:RAM_MIB, where KIND is what the vmm calls it.
 *
 * What a guest prints is between the lines "host: begin KIND:RAM_MIB" and "host:
 * end KIND:RAM_MIB status=N". The machine goes off after the last one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST_CMDLINE	"earlycon console=ttyAMA0 kunit.enable=0 panic=-1"
#define SYSLOG_ACTION_CONSOLE_LEVEL	8
#define LEVEL_WARNING	5		/* warnings and what is worse */

static void mount_or_say(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL) && errno != EBUSY)
		printf("host: cannot mount %s: %s\n", type, strerror(errno));
}

/* Returns the exit status, 128 + N for signal N, -1 if there was no guest at all */
static int run_guest(char *guest)
{
	char *kind, *ram = strchr(guest, ':');
	int status;
	pid_t pid;

	if (!ram)
		return -1;
	kind = strndup(guest, ram++ - guest);
	pid = fork();
	if (!pid) {
		execl("/vmm", "/vmm", "/Image", "-", ram, kind, GUEST_CMDLINE, NULL);
		_exit(127);
	}
	free(kind);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_or_say("proc", "/proc");
	mount_or_say("sysfs", "/sys");
	mount_or_say("devtmpfs", "/dev");

	/* The host's chatter would be in the middle of a guest's lines */
	klogctl(SYSLOG_ACTION_CONSOLE_LEVEL, NULL, LEVEL_WARNING);
	for (int i = 1; i < argc; i++) {
		printf("host: begin %s\n", argv[i]);
		printf("host: end %s status=%d\n", argv[i], run_guest(argv[i]));
	}
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

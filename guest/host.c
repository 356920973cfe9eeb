// SPDX-License-Identifier: GPL-2.0
/*
 * init of a host that runs guests, one after the other. Each line of /guests is
 *
 *	NAME SECONDS ARGUMENT...
 *
 * with the arguments of /vmm, which is stopped after so many seconds. What a guest
 * and its vmm print is between the lines "host: begin NAME" and "host: end NAME
 * status=N seconds=N", where a status of 124 is that of a guest that was stopped. The
 * machine goes off after the last one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYSLOG_ACTION_CONSOLE_LEVEL	8
#define LEVEL_WARNING	5		/* warnings and what is worse */
#define ARGS_MAX	64

static void mount_or_say(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL) && errno != EBUSY)
		printf("host: cannot mount %s: %s\n", type, strerror(errno));
}

/* Returns the exit status, 128 + N for signal N, -1 if there was no guest at all */
static int run_guest(char *args, unsigned int seconds)
{
	char *argv[ARGS_MAX] = { "/vmm" };
	int argc = 1, status, waited;
	sigset_t child;
	pid_t pid;

	for (char *arg = strtok(args, " \n"); arg && argc < ARGS_MAX - 1;
	     arg = strtok(NULL, " \n"))
		argv[argc++] = arg;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	pid = fork();
	if (!pid) {
		sigprocmask(SIG_UNBLOCK, &child, NULL);
		execv("/vmm", argv);
		_exit(127);
	}
	if (pid < 0)
		return -1;
	waited = sigtimedwait(&child, NULL, &(struct timespec){ .tv_sec = seconds });
	if (waited < 0)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	if (waited < 0)
		return 124;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	FILE *guests;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_or_say("proc", "/proc");
	mount_or_say("sysfs", "/sys");
	mount_or_say("devtmpfs", "/dev");

	/* The host's chatter would be in the middle of a guest's lines */
	klogctl(SYSLOG_ACTION_CONSOLE_LEVEL, NULL, LEVEL_WARNING);
	guests = fopen("/guests", "r");
	if (!guests)
		printf("host: no /guests: %s\n", strerror(errno));
	while (guests && getline(&line, &size, guests) > 0) {
		time_t start = time(NULL);
		unsigned int seconds;
		char name[64];
		int args, status;

		if (sscanf(line, "%63s %u %n", name, &seconds, &args) != 2)
			continue;
		printf("\nhost: begin %s\n", name);
		status = run_guest(line + args, seconds);
		printf("\nhost: end %s status=%d seconds=%ld\n", name, status,
		       (long)(time(NULL) - start));
	}
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

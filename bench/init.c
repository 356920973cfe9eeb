// SPDX-License-Identifier: GPL-2.0
/*
 * init of the benchmark: loads the module that measures, with the parameters that the
 * kernel's command line has in cost=..., and switches the machine off. What the module
 * says is on the console.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

int main(void)
{
	char *params = getenv("cost") ?: "";
	int fd = open("/cost.ko", O_RDONLY | O_CLOEXEC);

	/* A command line has spaces between its own parameters */
	params = strdup(params);
	for (char *s = params; (s = strchr(s, ',')); s++)
		*s = ' ';
	if (syscall(SYS_finit_module, fd, params, 0))
		printf("cost: error: no module: %s\n", strerror(errno));
	power_off();
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a kernel with kmemleak takes for leaked.
 */
#ifndef GUEST_KMEMLEAK_H
#define GUEST_KMEMLEAK_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A word to a file of debugfs; -1 without such a file */
static inline int tell(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, word, strlen(word)) < 0 ? -1 : 0;
	close(fd);
	return ret;
}

/*
 * Lines "kmemleak: ...", one for each object that is not pointed to; returns how many
 * there are, -1 if nobody looks. What is younger than five seconds is spared, and so is
 * what the first scan finds but is still being written.
 */
static inline int report_leaks(void)
{
	const char *path = "/sys/kernel/debug/kmemleak";
	char line[512];
	int leaks = 0;
	FILE *f;

	if (access(path, W_OK))
		return -1;
	sleep(6);
	for (int i = 0; i < 2; i++)
		if (tell(path, "scan"))
			return -1;
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		leaks += !strncmp(line, "unreferenced object", 19);
		printf("kmemleak: %s", line);
	}
	fclose(f);
	return leaks;
}

#endif

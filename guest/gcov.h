/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a kernel that was made for gcov has counted, on standard output: there is no other
 * way out of a guest.
 */
#ifndef GUEST_GCOV_H
#define GUEST_GCOV_H

#include <ftw.h>
#include <stdio.h>
#include <string.h>

/* Bytes as two digits each, zeros in a row as z and their number and a dot */
static inline int report_counters(const char *path, const struct stat *st, int type,
				  struct FTW *ftw)
{
	size_t len = strlen(path), zeros = 0, col = 0;
	FILE *f;
	int c;

	(void)st;
	(void)ftw;
	if (type != FTW_F || len < 5 || strcmp(path + len - 5, ".gcda"))
		return 0;
	f = fopen(path, "r");
	if (!f)
		return 0;
	printf("gcov: file %s\n", path + strlen("/sys/kernel/debug/gcov"));
	do {
		c = getc(f);
		if (!c) {
			zeros++;
			continue;
		}
		if (!col)
			col += printf("gcov: data ");
		if (zeros)
			col += printf("z%zu.", zeros);
		zeros = 0;
		if (c != EOF)
			col += printf("%02x", c);
		if (col > 100 || c == EOF) {
			printf("\n");
			col = 0;
		}
	} while (c != EOF);
	printf("gcov: end\n");
	fclose(f);
	return 0;
}

/* Lines "gcov: ...", which scripts/coverage makes files of again */
static inline void report_coverage(void)
{
	nftw("/sys/kernel/debug/gcov", report_counters, 16, FTW_PHYS);
}

#endif /* GUEST_GCOV_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * init of a machine whose kernel has KUnit suites: with "suites" on the command line runs
 * all that the kernel has not run by itself (kunit.autorun=0), with "faults" those for
 * which everything that can be allocated is able to fail; then has the kernel's
 * instruments say what they saw. Lines "machine: key=value ..." are between the kernel's.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sys/klog.h>

#include "gcov.h"
#include "guest.h"
#include "kmemleak.h"

/* Failures may be injected into all that is allocated, of any size and by anyone */
static void all_can_fail(void)
{
	static const char * const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		/* Where it failed need not be said each time */
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	char path[128];

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		if (tell(path, settings[i][1]))
			printf("machine: error=\"%s: %s\"\n", path, strerror(errno));
	}
}

static void run(const char *suite)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/kernel/debug/kunit/%s/run", suite);
	printf("machine: run=%s\n", suite);
	if (tell(path, "1"))
		printf("machine: error=\"%s: %s\"\n", path, strerror(errno));
}

/*
 * KUnit skips for good what it has skipped once, so the suite with faults is not among
 * them; and those of boot code are over
 */
static void run_all(void)
{
	struct dirent **list;
	int n = scandir("/sys/kernel/debug/kunit", &list, NULL, alphasort);

	for (int i = 0; i < n; i++)
		if (list[i]->d_name[0] != '.' &&
		    strcmp(list[i]->d_name, "dma_encrypt_boot") &&
		    strcmp(list[i]->d_name, "dma_encrypt_faults")) {
			/* A message that is expected must not be one too many in 5 s */
			sleep(6);
			run(list[i]->d_name);
		}
}

int main(void)
{
	static const char * const fs[][2] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" },
		{ "debugfs", "/sys/kernel/debug" },
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(fs) / sizeof(fs[0]); i++)
		if (mount_on(fs[i][0], fs[i][1]))
			printf("machine: error=\"cannot mount %s: %s\"\n", fs[i][0],
			       strerror(errno));
	/* dma-debug reports nothing but the first error otherwise */
	tell("/sys/kernel/debug/dma-api/all_errors", "1");
	if (getenv("suites"))
		run_all();
	if (getenv("faults")) {
		/* It has the IOMMU in the end */
		run("dma_encrypt_pci");
		all_can_fail();
		run("dma_encrypt_faults");
	}
	printf("machine: leaks=%d\n", report_leaks());
	/* What the kernel still has to say, it says by itself, or in the middle of the data */
	sleep(2);
	klogctl(6 /* CONSOLE_OFF */, NULL, 0);
	report_coverage();
	printf("machine: end\n");
	power_off();
	return 0;
}

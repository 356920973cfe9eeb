// SPDX-License-Identifier: GPL-2.0
/*
 * verify IMAGE SIZE - does the first SIZE bytes of a disk image hold the pattern?
 *
 * Runs on the host after the guest is gone: what the guest read back could have
 * come from anywhere, what is in the image has been through the device.
 */
#include <stdio.h>
#include <stdlib.h>

#include "pattern.h"

int main(int argc, char **argv)
{
	static char buf[1 << 20];
	uint64_t size, done = 0, bad = 0;
	FILE *image;

	if (argc != 3) {
		fprintf(stderr, "usage: verify IMAGE SIZE\n");
		return 2;
	}
	image = fopen(argv[1], "rb");
	if (!image) {
		perror(argv[1]);
		return 2;
	}
	size = strtoull(argv[2], NULL, 0);
	while (done < size) {
		size_t want = size - done < sizeof(buf) ? size - done : sizeof(buf);
		size_t n = fread(buf, 1, want, image);

		if (n != want) {
			fprintf(stderr, "%s: too short\n", argv[1]);
			return 2;
		}
		bad += pattern_mismatches(buf, done, n);
		done += n;
	}
	fclose(image);
	printf("image_compared=%llu image_mismatched=%llu\n",
	       (unsigned long long)done, (unsigned long long)bad);
	return bad || !done;
}

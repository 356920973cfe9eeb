# SPDX-License-Identifier: GPL-2.0
# Thin: every target is a script, which prints its usage with --help.

ARCH ?= x86_64
S := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))scripts/
.NOTPARALLEL:
export O CACHE JOBS KERNEL

.PHONY: help run test tree export kunit guest guest-mutants guest-reject defconfig prove check mutants soak troubles bench iommu builds instrumented coverage docs backport send-check clean
help:
	@sed -n 's/^#: //p' $(firstword $(MAKEFILE_LIST))

#: make run      confidential guests of the patched kernel do I/O, and what was seen
run:
	@$(S)run

#: make test     everything that guards the project; ends with "N passed, N failed"
test:
	@$(S)test

#: make tree     the kernel with the series applied, a git repository: out/linux
tree:
	@$(S)deps tree
	@$(S)tree

#: make export   write patches/ anew from the commits in out/linux
export:
	@$(S)export

#: make kunit    the KUnit suites in qemu; ARCH=x86_64|arm64|s390|powerpc|i386|arm|riscv|
#:               powerpc32, or all of them
kunit:
	@$(S)kunit $(ARCH)

#: make guest    every confidential guest of guest/table; GUESTS="pkvm realm-*" for some,
#:               ARCH=arm64|x86_64 for those of one architecture
guest:
	@$(S)guest $(if $(filter command line,$(origin ARCH)),--arch $(ARCH)) $(GUESTS)

#: make guest-mutants  wrong kernels (guest/mutants/), each of which guests must notice
guest-mutants:
	@$(S)guest-mutants

#: make guest-reject  the hypervisor refuses each change of a page's state in turn
guest-reject:
	@$(S)guest-reject

#: make defconfig  disk and network I/O of a defconfig kernel; ARCH=x86_64|arm64
defconfig:
	@$(S)defconfig $(ARCH)

#: make prove    each fix at the front of the series: red without it, green with it
prove:
	@$(S)prove

#: make check    is the series fit to be sent: checkpatch, sparse, W=1, builds
check:
	@$(S)check

#: make builds   other architectures and random configurations, with gcc and clang;
#:               BUILDS="--seed 2 x86_64 um" for some of it
builds:
	@$(S)builds $(BUILDS)

#: make mutants  wrong versions of the code (mutants/), each of which must be caught
mutants:
	@$(S)mutants

#: make soak     the random walk of the suites, for millions of steps; resumes; SOAK="--steps N"
soak:
	@$(S)soak $(SOAK)

#: make troubles bad situations, each of which must end in one clear line
troubles:
	@$(S)troubles

#: make bench    what calls of the DMA API cost, in instructions, for the base kernel, the
#:               series and an LTS kernel; BENCH="--arch x86_64 direct" for some of it
bench:
	@$(S)bench $(BENCH)

#: make iommu    the kernel's own drivers behind qemu's IOMMUs; KINDS="intel amd smmuv3"
iommu:
	@$(S)iommu $(KINDS)

#: make instrumented  the KUnit suites on kernels that watch themselves (KASAN, lockdep,
#:               kmemleak, KCSAN...), and with allocations that fail; NAMES="kasan faults"
instrumented:
	@$(S)instrumented $(NAMES)

#: make coverage which lines and branches of the DMA layer the suites reach, and why not
#:               the others
coverage:
	@$(S)coverage

#: make docs     the pages of Documentation/ that the series touches, as HTML: out/docs/html
docs:
	@$(S)docs

#: make backport  the fixes at the front of the series on Debian's 6.12, built and booted
backport:
	@$(S)backport

#: make send-check  is the series ready for its recipients; sends nothing
send-check:
	@$(S)send-check

#: make clean    remove what was built; the cache and the kernel tree stay
clean:
	@$(S)clean

#:
#: Settings, as in "make run JOBS=8":
#:   KERNEL=DIR  work on this git checkout of Linux v7.3 or later instead, in a
#:               worktree of it; your branches are left alone
#:   JOBS=N      jobs at once (all processors)
#:   O=DIR       where everything is built (out)
#:   CACHE=DIR   downloads and compiler cache (O/cache)

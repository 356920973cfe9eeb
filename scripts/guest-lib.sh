# shellcheck shell=bash
# How a host with guests is built and booted. Sourced after lib.sh, not run.

# Uncompressed, as unpacking takes longer in qemu than anything else
pack() { (cd "$1" && find . | cpio --quiet -o -H newc); }

# usage: guest_programs KERNEL - builds what runs in host and guests, if anything is new
guest_programs() {
	# shellcheck disable=SC2153 # from lib.sh
	local build=$BUILD/$1 dir=$O/guest/$1 arch=${1%%-*} cc mk cross state
	state=$(cat "$build/made" && find "$TOP/guest" "$TOP/scripts/guest-lib.sh" \
		'(' -name '*.[ch]' -o -name Kbuild -o -name '*.sh' ')' \
		-exec sha256sum {} + | sort) || state=
	[ -n "${BOOT_IMAGE:-}" ] || [ -z "$state" ] ||
		[ "$(cat "$dir/made" 2>/dev/null)" != "$state" ] || return 0
	rm -f "$dir/made"
	"$TOP/scripts/deps" "$arch" guest
	compilers "$arch"
	cross=$(cross "$arch")
	cc=("${cross}gcc" -std=gnu11 -O2 -Wall -Wextra -Werror -static
		-isystem "$build/usr/include" -I "$TOP/guest/vmm")
	mk=(make -s -C "$LINUX" O="$build" ARCH="$arch" CROSS_COMPILE="$cross"
		"$MAKE_CC" "$MAKE_HOSTCC")
	mkdir -p "$dir/host" "$dir/guest" "$dir/module" &&
	{ [ -e "$build/usr/include/linux/kvm.h" ] || "${mk[@]}" headers; } &&
	"${cc[@]}" -pthread -o "$dir/host/vmm" "$TOP"/guest/vmm/*.c \
		"$TOP/guest/vmm/$arch"/*.c &&
	"${cc[@]}" -o "$dir/host/init" "$TOP/guest/host.c" &&
	"${cc[@]}" -o "$dir/guest/init" "$TOP/guest/init.c" &&
	cp -u "$TOP"/guest/module/* "$TOP/guest/doorbell.h" "$TOP/guest/pattern.h" \
		"$dir/module" &&
	"${mk[@]}" M="$dir/module" modules &&
	cp "$dir/module/doorbell.ko" "$dir/guest" &&
	pack "$dir/guest" >"$dir/host/initrd" &&
	if [ "$arch" = arm64 ]; then
		gzip -dcf "${BOOT_IMAGE:-$build/arch/arm64/boot/Image.gz}" >"$dir/host/Image"
	else
		"${cross}objcopy" --strip-all "${BOOT_IMAGE:-$build/vmlinux}" "$dir/host/Image"
	fi &&
	{ [ -n "${BOOT_IMAGE:-}" ] || say "$state" >"$dir/made"; }
}

# usage: console KERNEL[/HOST]
console() { case "$1" in arm64*) echo ttyAMA0 ;; *) echo ttyS0 ;; esac; }

# usage: boot_guests KERNEL HOST SECONDS RAM_MIB LOG <GUESTS - boot the host, pkvm, vhe
# or svm, with guests as guest/host.c wants them and as much memory as the largest needs.
# A host *-4k is the arm64 kernel whatever KERNEL is, a host svm the x86_64 one.
# BOOT_TIMEOUT=<seconds> goes before SECONDS.
boot_guests() {
	local dir=$O/guest/$1 mode='' rc=0 seconds=${BOOT_TIMEOUT:-$3} cpu=neoverse-n1 qemu
	[[ $1 != arm64-* || $2 == *-4k ]] || cpu=max,pauth-impdef=on
	qemu=(qemu-system-aarch64 -cpu "$cpu" -smp 2
		-machine "virt,virtualization=on,gic-version=3" -kernel "$dir/host/Image")
	case "$1/$2" in
	*-4k) qemu+=(-kernel "$BUILD/arm64/arch/arm64/boot/Image.gz") ;;
	# With two CPUs some guests of all kinds end with a triple fault, of a cause that
	# is not known; with one their CPUs take turns
	x86_64*) qemu=(qemu-system-x86_64 -cpu EPYC -smp 1
		-kernel "$BUILD/x86_64/arch/x86/boot/bzImage") ;;
	esac
	case "$2" in
	pkvm*) mode="kvm-arm.mode=protected" ;;
	# or timers of the guest die
	svm) mode="kvm.tsc_tolerance_ppm=200000 mitigations=off" ;;
	esac
	mkdir -p "$dir/$2"
	rm -f "$dir/host/guests"
	cat >"$dir/$2/guests"
	# The second archive adds the one file that is not the same for all
	{ pack "$dir/host"; pack "$dir/$2"; } >"$dir/initrd-$2"
	timeout --foreground --kill-after=5 "$seconds" \
		"${qemu[@]}" -accel tcg -m $(($4 + 1024)) -nodefaults -no-reboot \
		-nographic -initrd "$dir/initrd-$2" -serial stdio \
		-append "console=$(console "$1") kunit.enable=0 panic=-1 quiet $mode" \
		</dev/null >"$5" 2>&1 || rc=$?
	case "$rc" in
	0) return ;;
	124|137) rc="the host did not finish within $seconds s, see $5" ;;
	*) rc="qemu stopped with $rc, see $5" ;;
	esac
	# What its guests did until then is worth a look
	grep -q '^host: end' "$5" || die "$rc"
	say "$rc"
}

# usage: guest_report NAME LOG - what a guest and its vmm printed
guest_report() {
	tr -d '\r\0' <"$2" | sed -n "/^host: begin $1\$/,/^host: end $1 /p"
}

# usage: boot_suite IMAGE LOG SECONDS APPEND - boot an x86_64 kernel with
# guest/instrumented.c, on the machine that scripts/kunit has
boot_suite() {
	local dir=$O/instrumented qemu i
	mkdir -p "$dir/root"
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -o "$dir/root/init" \
		"$TOP/guest/instrumented.c"
	pack "$dir/root" >"$dir/initrd"
	qemu=(qemu-system-x86_64 -accel tcg -cpu EPYC -smp 4 -m 1536 -nodefaults
		-no-reboot -nographic -serial stdio
		-kernel "$1" -initrd "$dir/initrd")
	for i in 1 2 3; do
		qemu+=(-object "memory-backend-ram,id=shm$i,size=4M,share=on"
			-device "ivshmem-plain,memdev=shm$i")
	done
	timeout --foreground --kill-after=5 "$3" "${qemu[@]}" \
		-append "console=ttyS0 panic=-1 poweroff=restart log_buf_len=8M $4" \
		</dev/null >"$2" 2>&1 || true
}

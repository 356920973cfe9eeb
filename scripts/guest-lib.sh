# shellcheck shell=bash
# How a host with guests is built and booted. Sourced after lib.sh, not run.

# Uncompressed, as unpacking takes longer in qemu than anything else
pack() { (cd "$1" && find . | cpio --quiet -o -H newc); }

# usage: guest_programs KERNEL - builds what runs in host and guests
guest_programs() {
	# shellcheck disable=SC2153 # from lib.sh
	local build=$BUILD/$1 dir=$O/guest/$1 cc mk
	"$TOP/scripts/deps" arm64 guest
	compilers arm64
	cc=("$(cross arm64)gcc" -std=gnu11 -O2 -Wall -Wextra -Werror -static
		-isystem "$build/usr/include")
	mk=(make -s -C "$LINUX" O="$build" ARCH=arm64
		CROSS_COMPILE="$(cross arm64)" "$MAKE_CC" "$MAKE_HOSTCC")
	mkdir -p "$dir/host" "$dir/guest" "$dir/module" &&
	{ [ -e "$build/usr/include/linux/kvm.h" ] || "${mk[@]}" headers; } &&
	"${cc[@]}" -pthread -o "$dir/host/vmm" "$TOP"/guest/vmm/*.c &&
	"${cc[@]}" -o "$dir/host/init" "$TOP/guest/host.c" &&
	"${cc[@]}" -o "$dir/guest/init" "$TOP/guest/init.c" &&
	cp -u "$TOP"/guest/module/* "$TOP/guest/doorbell.h" "$TOP/guest/pattern.h" \
		"$dir/module" &&
	"${mk[@]}" M="$dir/module" modules &&
	cp "$dir/module/doorbell.ko" "$dir/guest" &&
	pack "$dir/guest" >"$dir/host/initrd" &&
	gzip -dcf "${BOOT_IMAGE:-$build/arch/arm64/boot/Image.gz}" >"$dir/host/Image"
}

# usage: boot_guests KERNEL HOST SECONDS RAM_MIB LOG <GUESTS - boot the host, pkvm or
# vhe, with guests as guest/host.c wants them and as much memory as the largest needs.
# BOOT_TIMEOUT=<seconds> goes before SECONDS.
boot_guests() {
	local dir=$O/guest/$1 cpu=neoverse-n1 mode='' rc=0 seconds=${BOOT_TIMEOUT:-$3}
	[ "$1" = arm64 ] || cpu=max,pauth-impdef=on
	[ "$2" != pkvm ] || mode=kvm-arm.mode=protected
	cat >"$dir/host/guests"
	pack "$dir/host" >"$dir/initrd"
	timeout --foreground --kill-after=5 "$seconds" \
		qemu-system-aarch64 -accel tcg -cpu $cpu -smp 2 -m $(($4 + 1024)) \
		-machine virt,virtualization=on,gic-version=3 -nodefaults -no-reboot \
		-nographic -kernel "$dir/host/Image" -initrd "$dir/initrd" -serial stdio \
		-append "console=ttyAMA0 kunit.enable=0 panic=-1 quiet $mode" \
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

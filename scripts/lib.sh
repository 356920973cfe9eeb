# shellcheck shell=bash
# What every script here shares: where things are, how to say something and how
# to fail. Sourced, not run.

# No git variables from outside: a hook's GIT_DIR would redirect every git call
# shellcheck disable=SC2046 # a list of names
unset $(git rev-parse --local-env-vars 2>/dev/null) CDPATH

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
O=$(realpath -m "${O:-$TOP/out}")
CACHE=$(realpath -m "${CACHE:-$O/cache}")
JOBS=${JOBS:-$(nproc)}
KERNEL=${KERNEL:+$(realpath -m "$KERNEL")}
PATCHES=$(realpath -m "${PATCHES:-$TOP/patches}")
LOG=$O/log
# shellcheck source=../base.conf
. "$TOP/base.conf"

# The tree that is built: ours, or a worktree of the user's own kernel.
if [ -n "$KERNEL" ]; then
	LINUX=$O/worktree BUILD=$O/build-worktree
else
	LINUX=$O/linux BUILD=$O/build
fi

case "$TOP$O$CACHE$KERNEL" in
*[[:space:]:]*) echo "no spaces or colons in the paths, please: kbuild cannot" >&2; exit 1 ;;
esac

export TOP O CACHE JOBS KERNEL PATCHES LOG LINUX BUILD

# Locale-independent messages of the tools whose output is read
export LC_ALL=C

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# usage: as_root COMMAND... - as root or through sudo, or 1 if neither works
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif sudo -n true 2>/dev/null; then
		sudo "$@"
	else
		return 1
	fi
}

# usage: lock_o - one run at a time in O; scripts that a script calls are let in
lock_o() {
	[ "${O_LOCKED:-}" != "$O" ] || return 0
	mkdir -p "$O" 2>/dev/null || die "cannot create $O"
	exec 9>"$O/lock"
	flock -n 9 || die "another run is at work in $O"
	export O_LOCKED=$O
}

# usage: usage_if_asked "$@" - prints the script's leading comment
usage_if_asked() {
	case "${1:-}" in
	-h|--help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
	esac
}

# usage: step TEXT LOGFILE COMMAND... - run a long step, say how long it took
step() {
	local text=$1 log=$2 start=$SECONDS
	shift 2
	mkdir -p "$(dirname "$log")"
	printf '%s ... ' "$text"
	if "$@" >"$log" 2>&1; then
		printf '%d s\n' $((SECONDS - start))
	else
		printf 'failed after %d s\n' $((SECONDS - start))
		return 1
	fi
}

# usage: need_room MEGABYTES - is there enough room on the disk for what follows?
need_room() {
	local need=${NEED_MB:-$1} free
	mkdir -p "$O" || die "cannot create $O"
	free=$(df -Pm "$O" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$need" ] ||
		die "no room: $O has $free MB free, this needs $need MB"
}

# Debian's addition to .gitignore, which hides every new file
# shellcheck disable=SC2016 # $ is sed's
debian_ignores_all='/^# Debian packaging: ignore everything/,$d'

# usage: unpack_as_git DEB PACKAGE DIR BRANCH - the kernel source in DEB as a git
# repository with the tag base. All in one chain: set -e is off in what step runs
unpack_as_git() {
	local new=$3.new
	rm -rf "$new" &&
	mkdir -p "$new" &&
	dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" |
		tar -xJ -C "$new" --strip-components=1 &&
	sed -i "$debian_ignores_all" "$new/.gitignore" &&
	git -C "$new" init -q -b "$4" &&
	git -C "$new" config core.fsync none &&
	git -C "$new" config gc.auto 0 &&
	git -C "$new" add -A -f &&
	GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@localhost \
	GIT_COMMITTER_NAME=base GIT_COMMITTER_EMAIL=base@localhost \
	GIT_AUTHOR_DATE=2026-01-01T00:00:00Z \
	GIT_COMMITTER_DATE=2026-01-01T00:00:00Z \
		git -C "$new" -c commit.gpgsign=false -c core.hooksPath=/dev/null \
		commit -q -m "Base: ${1##*/}" &&
	git -C "$new" tag base &&
	mv "$new" "$3"
}

# usage: checkpatch_types SUBJECT - what that patch is allowed, separated by commas
checkpatch_types() {
	awk -v "of=$1" -F': ' '/^[A-Z_]+:/ { print $1 }
		/^[A-Z_]+ of / && index($0, " of " of ": ") { sub(/ .*/, ""); print }' \
		"$TOP/configs/checkpatch-exceptions" | paste -sd,
}

# usage: cross ARCH - prefix of the cross compiler, empty for the native one
cross() {
	case "$1" in
	x86_64)  [ "$(uname -m)" = x86_64 ] || printf 'x86_64-linux-gnu-' ;;
	arm64)   [ "$(uname -m)" = aarch64 ] || printf 'aarch64-linux-gnu-' ;;
	s390)    [ "$(uname -m)" = s390x ] || printf 's390x-linux-gnu-' ;;
	powerpc) [ "$(uname -m)" = ppc64 ] || printf 'powerpc64-linux-gnu-' ;;
	i386)    cross x86_64 ;;
	arm)     printf 'arm-linux-gnueabihf-' ;;
	riscv)   [ "$(uname -m)" = riscv64 ] || printf 'riscv64-linux-gnu-' ;;
	powerpc32) printf 'powerpc-linux-gnu-' ;;
	mips)    printf 'mips-linux-gnu-' ;;
	sparc64) [ "$(uname -m)" = sparc64 ] || printf 'sparc64-linux-gnu-' ;;
	um)      ;;
	*) die "unknown ARCH '$1': x86_64, arm64, s390, powerpc, i386, arm, riscv or powerpc32" ;;
	esac
}

# usage: make_arch ARCH - what the kernel's Makefile calls it
make_arch() { printf '%s' "${1%32}"; }

# usage: compilers ARCH - sets CC and HOSTCC as make arguments, through ccache
# where there is one
compilers() {
	local cc
	cc=$(cross "$1")gcc
	if command -v ccache >/dev/null; then
		export CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache}
		MAKE_CC="CC=$TOP/scripts/cc $cc" MAKE_HOSTCC="HOSTCC=$TOP/scripts/cc gcc"
	else
		MAKE_CC="CC=$cc" MAKE_HOSTCC="HOSTCC=gcc"
	fi
	export MAKE_CC MAKE_HOSTCC
}

# The Debian mirror that the machine uses for its own release
mirror_of_machine() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null |
		awk -F'|' '$1 == "Debian" && $2 == "Debian" && !n++ { print $3 }'
}

# usage: private_apt SUITE deb|deb-src [APT-OPTION...] - read a suite of the
# machine's own mirror, in an apt state of its own in the cache. Sets private, the
# options for apt.
private_apt() {
	local suite=$1 type=$2 apt=$CACHE/apt/$1 mirror keyring signed
	shift 2
	mkdir -p "$LOG" "$apt/lists/partial" "$apt/archives/partial"
	: >"$apt/status"
	mirror=$(mirror_of_machine) || true
	if [ -z "$mirror" ] && command -v apt-get >/dev/null; then
		as_root apt-get update >"$LOG/apt.log" 2>&1 || true
		mirror=$(mirror_of_machine) || true
	fi
	[ -n "$mirror" ] ||
		die "apt knows no Debian mirror here, so $suite cannot be read"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ ! -f "$keyring" ] || signed="[signed-by=$keyring] "
	printf '%s %s%s %s main\n' "$type" "${signed:-}" "$mirror" "$suite" \
		>"$apt/sources.list"
	private=(-q -o "Dir::Etc::sourcelist=$apt/sources.list"
		-o Dir::Etc::sourceparts=/dev/null -o "Dir::State=$apt"
		-o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status"
		-o "Dir::Cache=$apt" -o APT::Sandbox::User=
		-o Acquire::Retries=2 -o Acquire::http::Timeout=30
		"$@")
	apt-get "${private[@]}" --error-on=any update \
		>"$LOG/apt-$suite.log" 2>&1 ||
		die "no network: apt could not read the suite $suite of the mirror, see $LOG/apt-$suite.log"
}

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The door to the project: installs what is missing (Debian 12), builds in build/, and goes.
# shellcheck disable=SC2086 # lists of packages are lists of words
set -eu
cd "$(dirname "$0")"

BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config python3 libjansson-dev libpcre2-dev libcap-ng-dev libidn2-dev libboost-context-dev libssl-dev libc-ares-dev libunbound-dev libcurl4-openssl-dev"
RUN_PACKAGES="nftables iproute2 procps dns-root-data libcurl4 ca-certificates"
DEMO_PACKAGES="$RUN_PACKAGES postfix swaks python3-aiosmtpd"
TEST_PACKAGES="$DEMO_PACKAGES haproxy libio-socket-inet6-perl libnet-ssleay-perl libcmocka-dev python3-pytest curl msmtp"
TEST_PACKAGES="$TEST_PACKAGES openssl nginx libnginx-mod-stream sslscan ldnsutils nsd"
# What the mail servers that tools/fetch-mail-servers unpacks are linked with.
TEST_PACKAGES="$TEST_PACKAGES libdb5.3 libevent-2.1-7 libgnutls-dane0 libidn12 libnsl2 libpam0g libpcre2-8-0"
BENCH_PACKAGES="postfix nginx libnginx-mod-stream haproxy openssl strace"
SCAN_PACKAGES="openssl nginx libnginx-mod-stream sslscan testssl.sh"
FUZZ_PACKAGES="clang libclang-rt-14-dev"

usage()
{
	cat <<'END'
usage: ./do COMMAND

  build                 build the program: build/sallyport
  demo [ARGUMENT...]    a mail through the reverse proxy of the tutorial (needs root)
  test                  all tests; those end to end need root
  bench NAME [ARG...]   measure: bench/NAME, for example smtp
  scan [ARGUMENT...]    what sslscan and testssl.sh find, here and in nginx; takes minutes
  fuzz NAME [SECONDS]   fuzz one parser, for example addr (default 60 seconds)
  packages              install what build, test and fuzz need, and nothing else
  install               install under /usr/local
  clean                 remove everything that was built

Each command first installs the Debian packages that it needs and that are missing.
END
}

# The command wants one of these names.
one_of()
{
	echo "do: $1 wants one of:" $2 >&2
	exit 2
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "do: this needs root, and there is no sudo: $*" >&2
		return 1
	fi
}

# Install those of the packages that are missing.
need()
{
	missing=
	for package in "$@"; do
		case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
		*" installed") ;;
		*) missing="$missing $package" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	echo "do: installing$missing" >&2
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >&2
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing >&2
	# What was looked for in vain is looked for again.
	[ ! -f build/build.ninja ] || meson setup --reconfigure build >&2
}

build()
{
	need $BUILD_PACKAGES
	[ -f build/build.ninja ] || meson setup build
	ninja -C build
}

# The end-to-end tests make network namespaces. Without root they are skipped, aloud.
test_end_to_end()
{
	pytest="/usr/bin/python3 -m pytest -q -p no:cacheprovider --junitxml=build/e2e.xml tests/e2e"
	rm -f build/e2e.xml
	if [ "$(id -u)" -eq 0 ]; then
		$pytest
	elif sudo -n true 2>/dev/null; then
		sudo -n env SALLYPORT_BUILD="${SALLYPORT_BUILD:-build}" $pytest
	else
		echo "do: the end-to-end tests need root: skipped" >&2
	fi
}

run_tests()
{
	status=0
	summary=
	# Many tests wait: there are more of them at a time than processors.
	if meson test -C build --print-errorlogs --timeout-multiplier 3 --num-processes $((2 * $(nproc))); then
		summary="unit, transcript, Python and replay tests: passed"
	else
		summary="unit, transcript, Python and replay tests: FAILED (build/meson-logs/testlog.txt)"
		status=1
	fi
	if test_end_to_end; then
		[ ! -f build/e2e.xml ] || summary="$summary
end-to-end tests: passed"
	else
		summary="$summary
end-to-end tests: FAILED (build/e2e.xml)"
		status=1
	fi
	printf '\n%s\n' "$summary"
	return $status
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
build)
	build
	;;
demo)
	need $DEMO_PACKAGES
	build
	exec examples/reverse-proxy/demo "$@"
	;;
test)
	need $TEST_PACKAGES
	build
	as_root tools/fetch-mail-servers >&2 ||
		echo "do: without Exim and OpenSMTPD" >&2
	run_tests
	;;
bench)
	{ [ -f "bench/${1:-}" ] && [ -x "bench/$1" ]; } || one_of bench "$(find bench -maxdepth 1 -type f -perm -u+x -printf '%f ')"
	need $BENCH_PACKAGES
	build
	name=$1
	shift
	exec "bench/$name" "$@"
	;;
scan)
	need $SCAN_PACKAGES
	build
	exec tools/tls-scan "$@"
	;;
fuzz)
	{ [ $# -ge 1 ] && [ -d "tests/fuzz/seeds/$1" ]; } || one_of fuzz "$(ls tests/fuzz/seeds)"
	need $BUILD_PACKAGES $FUZZ_PACKAGES
	[ -f build-fuzz/build.ninja ] ||
		CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
	ninja -C build-fuzz fuzz
	mkdir -p "build-fuzz/corpus/$1"
	# The entropic schedule costs ten times what a whole session does.
	exec "build-fuzz/tests/fuzz/fuzz-$1" -entropic=0 -max_total_time="${2:-60}" "build-fuzz/corpus/$1" "tests/fuzz/seeds/$1"
	;;
packages)
	need $BUILD_PACKAGES $TEST_PACKAGES $FUZZ_PACKAGES
	;;
install)
	build
	need $RUN_PACKAGES
	as_root meson install -C build --no-rebuild
	;;
clean)
	[ ! -d build/mail-servers ] || as_root rm -rf build/mail-servers
	rm -rf build build-*
	;;
help | -h | --help)
	usage
	;;
*)
	usage >&2
	exit 2
	;;
esac

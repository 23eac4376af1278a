#!/usr/bin/env bash
# Tests under the sanitizers: sanitize.sh [PARTS] [SANITIZER]... By default what is pure and what reads bytes from outside (targets of
# Package.swift's table, with all that is below them), first under thread, then under address. Each has a build of its own in
# .build/sanitize-KIND, which a second run goes on with.
set -euo pipefail
cd "$(dirname "$0")/.."
export SKEIN_PART=${1:-Serialization,Compression,IO,TLS,HTTP,DNS,EnvoyAPI,XDS,Upstream} SWIFT_BACKTRACE=enable=no
[ "$SKEIN_PART" = all ] && unset SKEIN_PART
shift || true
[ $# -gt 0 ] || set -- thread address
# What a sanitizer finds ends the run; memory that is still held at the end of a test process is no finding.
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1
for kind in "$@"; do
    begin=$SECONDS
    swift build --build-tests --sanitize "$kind" --scratch-path ".build/sanitize-$kind"
    echo "== built under the $kind sanitizer in $((SECONDS - begin)) s"
    begin=$SECONDS
    # Reports go to files and are judged afterwards: one kind of them is no finding.
    reports=$PWD/.build/sanitize-$kind/reports
    rm -rf "$reports" && mkdir -p "$reports"
    export TSAN_OPTIONS=halt_on_error=0:exitcode=0:log_path=$reports/report
    /usr/bin/python3 tools/test.py --sanitize "$kind" --scratch-path ".build/sanitize-$kind"
    [ "$kind" != thread ] || /usr/bin/python3 tools/thread-reports.py "$reports"
    echo "== tested under the $kind sanitizer in $((SECONDS - begin)) s"
done

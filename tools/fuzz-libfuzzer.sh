#!/usr/bin/env bash
# The fuzz targets under libFuzzer: fuzz-libfuzzer.sh SECONDS [TARGET]. Inputs that were found stay in .build/fuzzing/corpus/TARGET,
# one that breaks a promise in .build/fuzzing/TARGET-crash-….
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1 only=${2:-}
export SKEIN_FUZZ=1 SKEIN_PART=skein-proxy SWIFT_BACKTRACE=enable=no
# The program's own main is libFuzzer's.
swift build --scratch-path .build/fuzzing --product skein-fuzz -Xswiftc -sanitize=fuzzer
# A script, not the program, writes the seeds out: they stand escaped in Tests/FuzzTests/Corpus.
/usr/bin/python3 - <<'END'
import pathlib, re
for file in pathlib.Path("Tests/FuzzTests/Corpus").glob("*.txt"):
    place = pathlib.Path(".build/fuzzing/corpus") / file.stem
    place.mkdir(parents=True, exist_ok=True)
    plain = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}
    for number, line in enumerate(line for line in file.read_bytes().split(b"\n") if line and not line.startswith(b"#")):
        seed = re.sub(rb"\\(x..|.)", lambda m: bytes([int(m[1][1:], 16)]) if m[1][:1] == b"x" else plain.get(m[1], m[1]), line)
        (place / f"seed-{number}").write_bytes(seed)
END
failed=()
for directory in .build/fuzzing/corpus/*/; do
    SKEIN_FUZZ_TARGET=$(basename "$directory")
    export SKEIN_FUZZ_TARGET
    [ -z "$only" ] || [ "$only" = "$SKEIN_FUZZ_TARGET" ] || continue
    echo "== $SKEIN_FUZZ_TARGET"
    .build/fuzzing/debug/skein-fuzz "$directory" -max_total_time="$seconds" -max_len=16384 -rss_limit_mb=2048 -timeout=10 \
        -print_final_stats=1 -artifact_prefix=".build/fuzzing/$SKEIN_FUZZ_TARGET-" 2>&1 | grep -vE '^(#|INFO: Seed|INFO: Loaded|NEW_FUNC)' || failed+=("$SKEIN_FUZZ_TARGET")
done
if ((${#failed[@]})); then
    echo "fuzz-libfuzzer: a promise was broken by input for: ${failed[*]}" >&2
    exit 1
fi

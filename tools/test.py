#!/usr/bin/python3
"""Runs the test suites and says what `swift test` keeps quiet: time per suite, skipped and cancelled tests by name.

What failed stands at the very end again, one line a failure: of a long log often only the last lines are kept.
A skipped or cancelled test is a failure in CI (a peer that is missing must be seen): set CI=true.

  test.py [--failed] [arguments of `swift test`]

--failed runs only what failed, or did not end, the last time (everything when nothing did).
"""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

from check import probes

EVENTS, FAILED = ".build/test-events.json", ".build/test.failed"
ARGUMENTS = ["swift", "test", "--skip-build", "--disable-xctest", "--event-stream-output-path", EVENTS, "--event-stream-version", "0"]
# How long the tests may say nothing before they count as stuck.
SILENCE = 180
SLOWEST = 10


class Watch:
    """Ends a run that says nothing any more: its tests are named instead of a time limit of somebody else's."""

    def __init__(self, process):
        self.process, self.silent, self.is_stuck, self.threads = process, 0, False, []
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while self.process.poll() is None:
            # In looks, not by a clock: that jumps when the whole machine is held for a while, and then everything looks stuck.
            time.sleep(1)
            self.silent += 1
            if self.silent > SILENCE:
                self.is_stuck = True
                self.threads = threads_of(self.process.pid)
                end(self.process.pid)
                return


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"


def members(session):
    """The processes of a session: `swift test` gives the test process a group of its own, and leaves it behind when it is ended."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # pid (name) state parent group session
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) > 3 and fields[3] == str(session):
            yield int(pid)


def end(session):
    for pid in members(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def threads_of(session):
    """What the threads of the test process do, and the processes it has started: where to look for what is stuck."""
    found, children, lines = {}, {}, []
    for pid in members(session):
        name = read(f"/proc/{pid}/comm")
        if "xctest" not in read(f"/proc/{pid}/cmdline").split("\0")[0]:
            children[name] = children.get(name, 0) + 1
            continue
        for thread in os.listdir(f"/proc/{pid}/task"):
            place = f"/proc/{pid}/task/{thread}"
            what = f"{read(place + '/comm')}: {read(place + '/wchan')}"
            found[what] = found.get(what, 0) + 1
        lines += stacks(pid)
    lines += [f"{count} x thread {what}" for what, count in sorted(found.items())]
    return lines + [f"{count} x process {name}" for name, count in sorted(children.items())]


def stacks(pid):
    """The functions that the threads of a process are in, those of its own code; a loop that waits for events is not told of."""
    try:
        text = subprocess.run(
            ["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "set print frame-arguments none", "-ex", "thread apply all bt 40"],
            capture_output=True, text=True, errors="replace", timeout=150).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"no stacks: {error}"]
    lines = []
    for thread in re.split(r"^Thread ", text, flags=re.M)[1:]:
        frames = re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?(.+?)(?: \(\.*\))?(?: at \S*/([^/\s]+:\d+)| from \S+)?$", thread, flags=re.M)
        if any("epoll_wait" in name for name, _ in frames[:3]):
            continue
        own = [f"{name.split('(')[0].strip()[:90]} {place}" for name, place in frames if place and not place.startswith("<")]
        lines += [f"thread {thread.splitlines()[0][:80]} in {frames[0][0][:60] if frames else '?'}"] + [f"    {frame}" for frame in own[:8]]
    return lines


class Record:
    """What the event stream of a run tells: which tests began, ended, were left out and failed."""

    def __init__(self, path):
        self.names, self.running, self.left_out, self.failed, self.ended = {}, [], [], [], 0
        begun, ended = [], set()
        try:
            file = open(path, errors="replace")
        except OSError:
            return
        with file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # The run was cut off in the middle of a line.
                payload, kind = entry["payload"], entry["payload"].get("kind")
                test = payload.get("testID", "")
                if entry["kind"] == "test" and kind == "function":
                    self.names[payload["id"]] = payload.get("displayName") or payload["name"]
                elif test not in self.names:
                    continue
                elif kind == "testStarted":
                    begun.append(test)
                elif kind == "testEnded":
                    ended.add(test)
                elif kind in ("testSkipped", "testCancelled", "testCaseCancelled"):
                    self.left_out.append(" ".join([test] + [message["text"] for message in payload["messages"]]))
                elif kind == "issueRecorded" and not payload.get("issue", {}).get("isKnown") and test not in self.failed:
                    self.failed.append(test)
        self.ended = len(ended)
        self.running = [test for test in begun if test not in ended]

    def save(self):
        again = self.failed + [test for test in self.running if test not in self.failed]
        if again:
            with open(FAILED, "w") as file:
                json.dump(again, file, indent=1)
        elif os.path.exists(FAILED):
            os.remove(FAILED)


def selection(arguments):
    """The arguments for `swift test`: with --failed a filter for each test that failed, without the place it stands at."""
    if "--failed" not in arguments:
        return arguments
    rest = [argument for argument in arguments if argument != "--failed"]
    if not os.path.exists(FAILED):
        return rest
    with open(FAILED) as file:
        tests = json.load(file)
    print(f"once more: {len(tests)} tests")
    return rest + [word for test in tests for word in ("--filter", "^" + re.escape(test.rpartition("/")[0]) + "/")]


def main():
    begin = time.time()
    arguments = selection(sys.argv[1:])
    if os.geteuid() == 0:
        probes.show()
    environment = {**os.environ, "SWIFT_BACKTRACE": "enable=no"}
    if os.path.exists(EVENTS):
        os.remove(EVENTS)
    process = subprocess.Popen(
        ARGUMENTS + arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=environment, start_new_session=True)
    watch = Watch(process)
    suites, closing, failures = [], "", []
    try:
        for line in process.stdout:
            watch.silent = 0
            line = line.rstrip("\n")
            plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
            if match := re.match(r"^\S+ Suite (.+?) (passed|failed) after ([0-9.]+) seconds", plain):
                suites.append((float(match.group(3)), match.group(1)))
            # Arguments of a test may say anything.
            if not plain.startswith(("◇", "✔")) and (plain.startswith("✘") or re.search(r"error:|↳|Fatal|ERROR: AddressSanitizer|^SUMMARY: ", plain)):
                print(line, flush=True)
                if "recorded an issue" in plain or "error:" in plain or "Fatal" in plain:
                    failures.append(plain.removeprefix("✘ "))
                elif plain.startswith("↳") and not plain.startswith("↳ ///") and failures:
                    failures[-1] += " " + plain.strip()
            if "Test run with" in plain:
                closing = plain
        status = process.wait()
    except BaseException:
        end(process.pid)
        raise
    record = Record(EVENTS)
    record.save()
    for seconds, name in sorted(suites, reverse=True)[:SLOWEST]:
        print(f"{seconds:8.2f} s  {name}")
    print(f"skipped or cancelled: {len(record.left_out)}")
    for line in record.left_out:
        print(f"  {line}")
    print(f"tests took {time.time() - begin:.0f} s")
    print(closing or f"no closing line: the test process ended with status {status}")
    counted = re.search(r"Test run with (\d+) test", closing)
    if counted and int(counted.group(1)) != record.ended or status == 0 and not record.ended:
        # Somebody else has written into it, or nobody: what failed is not known from it.
        print(f"the record of the run has {record.ended} tests", file=sys.stderr)
        if os.path.exists(FAILED):
            os.remove(FAILED)
        status = status or 1
    for line in watch.threads:
        print(f"  {line}")
    if not closing:
        print(f"stuck for {SILENCE} s in:" if watch.is_stuck else "the test process ended in the middle of:")
        for test in record.running[:12]:
            print(f"  {record.names[test]} ({test})")
    for failure in failures[:40]:
        print(f"FAILED {failure[:600]}")
    if record.left_out and os.environ.get("CI"):
        print("a skipped or cancelled test is a failure in CI", file=sys.stderr)
        status = status or 1
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())

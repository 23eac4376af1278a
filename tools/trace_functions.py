#!/usr/bin/python3
"""Tells which functions of a running program are executed, in the order of their first call.

A breakpoint stands at each function and goes away when it is met, so that a program runs nearly as fast as ever: whole sidecars of a mesh
can be watched while they serve. For programs that are linked to fixed addresses, as the static skein-proxy is.

usage: trace_functions.py BINARY OUT PID...            until SIGINT; OUT gets a line per function: address, size, name
       trace_functions.py BINARY OUT -- COMMAND...     from the first instruction on
"""
import ctypes
import os
import re
import signal
import struct
import subprocess
import sys

PTRACE_CONT, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_DETACH = 7, 12, 13, 17
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
PTRACE_O_TRACECLONE, PTRACE_O_TRACEEXEC, PTRACE_EVENT_EXEC = 8, 16, 4
WALL = 0x40000000
# In user_regs_struct.
RIP = 16 * 8
BREAKPOINT = 0xCC

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Done(Exception):
    pass


def ptrace(request, thread, data=None):
    if libc.ptrace(request, thread, None, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def functions(binary):
    """Name and size of each function, by address; of several names the first."""
    found = {}
    for line in subprocess.run(["readelf", "-sW", binary], capture_output=True, text=True, check=True).stdout.splitlines():
        parts = line.split()
        if len(parts) == 8 and parts[3] in ("FUNC", "IFUNC") and parts[6] != "UND":
            found.setdefault(int(parts[1], 16), (parts[7], int(parts[2], 0)))
    return found


class Trace:
    def __init__(self, table):
        self.table = table
        self.met = {}
        self.threads = {}
        self.code = {}
        self.is_ended = self.is_waiting = False
        self.registers = ctypes.create_string_buffer(27 * 8)

    def attach(self, pid):
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            ptrace(PTRACE_SEIZE, thread, PTRACE_O_TRACECLONE)
            ptrace(PTRACE_INTERRUPT, thread)
            os.waitpid(thread, WALL)
            self.threads[thread] = pid
        self.arm(pid)

    def start(self, command):
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execvp(command[0], command)
        os.waitpid(pid, os.WUNTRACED)
        ptrace(PTRACE_SEIZE, pid, PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)
        os.kill(pid, signal.SIGCONT)
        while True:
            _, status = os.waitpid(pid, WALL)
            if status >> 16 == PTRACE_EVENT_EXEC:
                break
            ptrace(PTRACE_CONT, pid, 0 if status >> 16 else os.WSTOPSIG(status))
        self.threads[pid] = pid
        self.arm(pid)

    def arm(self, pid):
        """Puts the breakpoints into the largest stretch of code: the program's own."""
        with open(f"/proc/{pid}/maps") as maps:
            stretches = [[int(x, 16) for x in line.split()[0].split("-")] for line in maps if " r-xp " in line]
        begin, end = max(stretches, key=lambda s: s[1] - s[0])
        memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
        code = os.pread(memory, end - begin, begin)
        armed = bytearray(code)
        for address in self.table:
            if begin <= address < end:
                armed[address - begin] = BREAKPOINT
        os.pwrite(memory, bytes(armed), begin)
        self.code[pid] = (memory, begin, code)

    def at_breakpoint(self, thread):
        """Takes away the breakpoint at which the thread stopped, and sets it back before the instruction; false when it was another trap."""
        registers = ctypes.cast(self.registers, ctypes.c_void_p)
        ptrace(PTRACE_GETREGS, thread, registers)
        address = struct.unpack_from("Q", self.registers, RIP)[0] - 1
        memory, begin, code = self.code[self.threads[thread]]
        if address not in self.table or not begin <= address < begin + len(code):
            return False
        os.pwrite(memory, code[address - begin:address - begin + 1], address)
        struct.pack_into("Q", self.registers, RIP, address)
        ptrace(PTRACE_SETREGS, thread, registers)
        self.met.setdefault(address, None)
        return True

    def interrupted(self, *_):
        """Takes effect in the wait alone: a thread that has stopped is dealt with first."""
        self.is_ended = True
        if self.is_waiting:
            raise Done

    def run(self):
        for thread in self.threads:
            ptrace(PTRACE_CONT, thread)
        signal.signal(signal.SIGINT, self.interrupted)
        while self.threads and not self.is_ended:
            try:
                self.is_waiting = True
                if self.is_ended:
                    break
                thread, status = os.waitpid(-1, WALL)
            except Done:
                break
            finally:
                self.is_waiting = False
            if not os.WIFSTOPPED(status):
                self.threads.pop(thread, None)
                continue
            if thread not in self.threads:
                with open(f"/proc/{thread}/status") as facts:
                    self.threads[thread] = int(re.search(r"Tgid:\s+(\d+)", facts.read()).group(1))
            number, event = os.WSTOPSIG(status), status >> 16
            passed_on = 0 if event else number
            if number == signal.SIGTRAP and not event and self.at_breakpoint(thread):
                passed_on = 0
            ptrace(PTRACE_CONT, thread, passed_on)

    def end(self):
        for thread in list(self.threads):
            try:
                ptrace(PTRACE_INTERRUPT, thread)
                _, status = os.waitpid(thread, WALL)
                if os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTRAP and not status >> 16:
                    self.at_breakpoint(thread)
            except (OSError, ChildProcessError):
                self.threads.pop(thread)
        for memory, begin, code in self.code.values():
            os.pwrite(memory, code, begin)
        for thread in self.threads:
            ptrace(PTRACE_DETACH, thread)


def main():
    binary, out, *what = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trace = Trace(functions(binary))
    if what[0] == "--":
        trace.start(what[1:])
    else:
        for pid in map(int, what):
            trace.attach(pid)
    print("watching", flush=True)
    trace.run()
    trace.end()
    with open(out, "w") as file:
        for address in trace.met:
            name, size = trace.table[address]
            file.write(f"{address:x} {size} {name}\n")
    # Of a program that was started here: it ends with us.
    for pid in set(trace.threads.values()) if what[0] == "--" else ():
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()

"""Runs the plugin under ptrace and ends it, as by `kill -9`, at its n-th system call; or makes one of its writes a lie."""
import ctypes
import os
import signal
import struct

from .lab import libc

TRACEME, SYSCALL, SETOPTIONS, GETREGS, SETREGS = 0, 24, 0x4200, 12, 13
# TRACESYSGOOD, TRACECLONE, EXITKILL
OPTIONS = 1 | 8 | 0x100000
WALL = 0x40000000
REGISTERS = 27 * 8  # struct user_regs_struct of x86-64
ORIG_RAX, RAX, RDX = 15, 10, 12
PWRITE = 18

libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def run(program, environment, text, kill_at=0, lie_at=0):
    """Returns (system calls begun, exit status or None when killed, number of pwrite calls).

    kill_at: the call at whose beginning it dies, so that it is not made. lie_at: the n-th pwrite is not made and says it was.
    """
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    null = os.open("/dev/null", os.O_RDWR)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(reader, 0)
            os.dup2(null, 1)
            os.dup2(null, 2)
            libc.ptrace(TRACEME, 0, None, None)
            os.execve(program, [program], environment)
        finally:
            os._exit(127)
    os.close(reader)
    os.close(null)
    os.waitpid(pid, 0)
    libc.ptrace(SETOPTIONS, pid, None, OPTIONS)
    libc.ptrace(SYSCALL, pid, None, None)
    calls = writes = 0
    inside = {}
    lied = set()
    status = None
    registers = ctypes.create_string_buffer(REGISTERS)
    while True:
        try:
            task, state = os.waitpid(-1, WALL)
        except ChildProcessError:
            break
        if os.WIFEXITED(state) or os.WIFSIGNALED(state):
            if task == pid:
                status = os.WEXITSTATUS(state) if os.WIFEXITED(state) else None
                break
            continue
        if not os.WIFSTOPPED(state):
            continue
        stop = os.WSTOPSIG(state)
        deliver = None
        if stop == signal.SIGTRAP | 0x80:
            inside[task] = not inside.get(task, False)
            if inside[task]:
                calls += 1
                if calls == kill_at:
                    os.kill(pid, signal.SIGKILL)
                    continue
                if lie_at:
                    libc.ptrace(GETREGS, task, None, registers)
                    values = list(struct.unpack("27Q", registers.raw))
                    if values[ORIG_RAX] == PWRITE:
                        writes += 1
                        if writes == lie_at:
                            lied.add(task)
                            length = values[RDX]
                            values[ORIG_RAX] = (1 << 64) - 1
                            libc.ptrace(SETREGS, task, None, struct.pack("27Q", *values))
                            inside[task] = ("lie", length)
            elif task in lied:
                lied.discard(task)
                libc.ptrace(GETREGS, task, None, registers)
                values = list(struct.unpack("27Q", registers.raw))
                values[RAX] = 48  # a slot is 48 bytes
                libc.ptrace(SETREGS, task, None, struct.pack("27Q", *values))
        elif stop not in (signal.SIGTRAP, signal.SIGSTOP):
            deliver = stop
        libc.ptrace(SYSCALL, task, None, deliver)
    # Tasks that died with the leader.
    while True:
        try:
            if os.waitpid(-1, WALL | os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    return calls, status, writes

#include "clinux_spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// What the child says through the close-on-exec pipe when it cannot become the program.
struct failure {
    int error;
    int step;
};

enum { STEP_CLONE, STEP_SETNS, STEP_DUP, STEP_CHDIR, STEP_USER, STEP_SESSION, STEP_PRCTL, STEP_EXEC };
static const char *const steps[] = {"clone3", "setns", "dup2", "chdir", "setresuid", "setsid", "prctl", "execve"};

#define DESCRIPTORS_MAX 64

// What runs between clone3 and execve is on its own: other threads of the parent may have held locks at the moment of the clone, and
// nobody is left who could give them back. So it makes system calls only, and makes them itself: under a sanitizer glibc's wrappers are
// somebody else's functions, which take locks (a child stood still for ever, and its parent waited for its word), and the code
// around the calls would be watched as well.
#define IN_CHILD __attribute__((noinline, disable_sanitizer_instrumentation))

IN_CHILD static int fail(struct failure *failure, int step) {
    failure->step = step;
    failure->error = errno;
    return -1;
}

IN_CHILD static int duplicate_above(int descriptor, int highest) {
    return (int)syscall(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, highest + 1);
}

// Returns only when it failed. No target of a descriptor is greater than `above`.
IN_CHILD static int become(const struct clinux_command *command, int above, pid_t parent, struct failure *failure) {
    // The kernel's own form of `struct sigaction`: the standard action, no flags, no restorer, an empty mask.
    unsigned long standard[4] = {(unsigned long)SIG_DFL, 0, 0, 0};
    for (int number = 1; number < 65; number++)
        if (number != SIGKILL && number != SIGSTOP) syscall(SYS_rt_sigaction, number, standard, NULL, 8);

    // Namespaces first: the descriptors are still where the caller said.
    if (command->mount_namespace >= 0 && syscall(SYS_setns, command->mount_namespace, CLONE_NEWNS) < 0)
        return fail(failure, STEP_SETNS);
    if (command->network_namespace >= 0 && syscall(SYS_setns, command->network_namespace, CLONE_NEWNET) < 0)
        return fail(failure, STEP_SETNS);

    // Lift every descriptor above all targets, then put each in its place: so no move overwrites a source.
    int lifted[DESCRIPTORS_MAX];
    for (size_t i = 0; i < command->descriptor_count; i++) {
        lifted[i] = duplicate_above(command->descriptors[i].source, above);
        if (lifted[i] < 0) return fail(failure, STEP_DUP);
    }
    // Strange descriptors (opened by a library without close-on-exec) must not reach the program.
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    for (size_t i = 0; i < command->descriptor_count; i++)
        if (syscall(SYS_dup3, lifted[i], command->descriptors[i].target, 0) < 0) return fail(failure, STEP_DUP);

    if (command->new_session && syscall(SYS_setsid) < 0) return fail(failure, STEP_SESSION);
    if (command->directory && syscall(SYS_chdir, command->directory) < 0) return fail(failure, STEP_CHDIR);
    if (command->gid >= 0) {
        gid_t gid = (gid_t)command->gid;
        if (syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM) return fail(failure, STEP_USER);
        if (syscall(SYS_setresgid, gid, gid, gid) < 0) return fail(failure, STEP_USER);
    }
    if (command->uid >= 0) {
        uid_t uid = (uid_t)command->uid;
        if (syscall(SYS_setresuid, uid, uid, uid) < 0) return fail(failure, STEP_USER);
    }
    if (command->death_signal > 0) {
        // After the change of uid, which clears it.
        if (syscall(SYS_prctl, PR_SET_PDEATHSIG, command->death_signal, 0, 0, 0) < 0) return fail(failure, STEP_PRCTL);
        if (syscall(SYS_getppid) != parent) syscall(SYS_exit_group, 127);  // The parent died before the line above.
    }
    unsigned long none = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
    syscall(SYS_execve, command->path, command->arguments, command->environment);
    return fail(failure, STEP_EXEC);
}

IN_CHILD static void run_child(const struct clinux_command *command, int report, pid_t parent) {
    struct failure failure = {0, 0};
    int above = report;
    for (size_t i = 0; i < command->descriptor_count; i++)
        if (command->descriptors[i].target > above) above = command->descriptors[i].target;
    // A descriptor may get the pipe's number.
    int out = duplicate_above(report, above);
    if (out < 0) {
        out = report;
        fail(&failure, STEP_DUP);
    } else {
        become(command, above, parent, &failure);
    }
    syscall(SYS_write, out, &failure, sizeof failure);
    syscall(SYS_exit_group, 127);
}

int clinux_spawn(const struct clinux_command *command, int *pidfd, const char **step) {
    *step = steps[STEP_CLONE];
    *pidfd = -1;
    if (command->descriptor_count > DESCRIPTORS_MAX) return -E2BIG;
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) return -errno;

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    struct clone_args arguments = {
        .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0) run_child(command, report[1], parent);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return -error;
    }
    struct failure failure;
    ssize_t received;
    do received = read(report[0], &failure, sizeof failure);
    while (received < 0 && errno == EINTR);
    close(report[0]);
    if (received == (ssize_t)sizeof failure) {
        int code, status;
        clinux_pidfd_wait(*pidfd, 1, &code, &status);
        close(*pidfd);
        *pidfd = -1;
        *step = steps[failure.step];
        return -failure.error;
    }
    return (int)pid;
}

int clinux_pidfd_open(int pid) {
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

int clinux_pidfd_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int clinux_pidfd_wait(int pidfd, int block, int *code, int *status) {
    siginfo_t info;
    int result;
    memset(&info, 0, sizeof info);
    do result = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | (block ? 0 : WNOHANG));
    while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    if (info.si_pid == 0) return 0;
    *code = info.si_code;
    *status = info.si_status;
    return 1;
}

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0; }

int clinux_memory_file(const char *name) {
    int file = memfd_create(name, MFD_CLOEXEC);
    return file < 0 ? -errno : file;
}

int clinux_mount_filesystem(const char *source, const char *target, const char *type, unsigned long flags, const char *options) {
    return mount(source, target, type, flags, options) < 0 ? -errno : 0;
}

int clinux_unmount(const char *target) { return umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0; }

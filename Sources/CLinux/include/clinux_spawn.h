#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// A descriptor of ours that the new program shall have, and the number it has there.
struct clinux_descriptor {
    int source;
    int target;
};

/// What `clinux_spawn` starts. Numbers below 0 stand for "as it is".
struct clinux_command {
    const char *path;
    char *const *arguments;
    char *const *environment;
    const char *directory;
    const struct clinux_descriptor *descriptors;
    size_t descriptor_count;
    int64_t uid;
    int64_t gid;
    int network_namespace;
    int mount_namespace;
    int new_session;
    int death_signal;
};

/// Starts a program; its pid, with a pidfd in `*pidfd`, or -errno. A failure of the child before or at `execve` is the
/// result of this call too, and leaves no process behind; `*step` then names the call that failed.
int clinux_spawn(const struct clinux_command *command, int *pidfd, const char **step);
/// A pidfd (close-on-exec) of that process, or -errno.
int clinux_pidfd_open(int pid);
/// Sends a signal by pidfd; 0 or -errno.
int clinux_pidfd_signal(int pidfd, int signal);
/// Waits for a child by pidfd and reaps it. `*code` is CLD_EXITED, CLD_KILLED or CLD_DUMPED, `*status` the exit code or
/// signal. 1 when it has ended, 0 when it still runs (only with `block` 0), -errno.
int clinux_pidfd_wait(int pidfd, int block, int *code, int *status);
/// A close-on-exec pipe into `ends`; 0 or -errno.
int clinux_pipe(int ends[2]);
/// A close-on-exec file without a name, in memory; its descriptor or -errno.
int clinux_memory_file(const char *name);
/// `mount(2)`; 0 or -errno.
int clinux_mount_filesystem(const char *source, const char *target, const char *type, unsigned long flags, const char *options);
/// `umount2(2)` with MNT_DETACH and UMOUNT_NOFOLLOW; 0 or -errno.
int clinux_unmount(const char *target);

#pragma once
#include <stddef.h>

#include <stdint.h>

/// The calling thread's network namespace as a close-on-exec descriptor, or -errno.
int clinux_netns_current(void);
/// Moves the calling thread into the network namespace; 0 or -errno.
int clinux_netns_enter(int fd);
/// Moves the calling thread into a new, empty network namespace; 0 or -errno.
int clinux_netns_unshare(void);
// A table of descriptors of the calling thread's own, with 0 to 2 in it.
int clinux_own_descriptors(void);
/// Whether the descriptor is a network namespace: 1, 0 or -errno.
int clinux_is_netns(int fd);
/// Bind-mounts `source` on `target`; 0 or -errno.
int clinux_bind_mount(const char *source, const char *target);
/// Makes the mount at `path` shared, so that unmounting reaches copies in other mount namespaces; 0 or -errno.
int clinux_mount_make_shared(const char *path);
/// Unmounts lazily (MNT_DETACH, links not followed); 0 or -errno.
int clinux_netns_unmount(const char *path);
/// Sends a netlink request from a process of its own, which takes what time the kernel needs; 0 or -errno at once.
/// `*report` is the end of a pipe from which the answer's error number (4 bytes, 0 is success) can be read.
int clinux_send_detached(int socket, const void *bytes, size_t count, int *report);

#include "clinux_netns.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

int clinux_netns_current(void) {
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clinux_netns_enter(int fd) { return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0; }

int clinux_own_descriptors(void) {
    if (unshare(CLONE_FILES) < 0) return -errno;
    return close_range(3, ~0U, 0) < 0 ? -errno : 0;
}

int clinux_netns_unshare(void) { return unshare(CLONE_NEWNET) < 0 ? -errno : 0; }

int clinux_is_netns(int fd) {
    int type = ioctl(fd, NS_GET_NSTYPE);
    if (type < 0) return errno == ENOTTY ? 0 : -errno;
    return type == CLONE_NEWNET;
}

int clinux_bind_mount(const char *source, const char *target) {
    return mount(source, target, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

int clinux_mount_make_shared(const char *path) {
    return mount(NULL, path, NULL, MS_SHARED, NULL) < 0 ? -errno : 0;
}


int clinux_netns_unmount(const char *path) { return umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0; }

int clinux_send_detached(int socket, const void *bytes, size_t count, int *report) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    pid_t pid = fork();
    if (pid < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return -error;
    }
    if (pid > 0) {
        close(ends[1]);
        *report = ends[0];
        return 0;
    }
    // Whoever waits for the end of our output must not wait for this process, and no lock stays held by it.
    setsid();
    signal(SIGPIPE, SIG_IGN);
    int low = socket < ends[1] ? socket : ends[1], high = socket < ends[1] ? ends[1] : socket;
    if (low > 0) close_range(0, (unsigned)low - 1, 0);
    if (high > low + 1) close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    close_range((unsigned)high + 1, ~0U, 0);
    int32_t error = 0;
    if (send(socket, bytes, count, 0) < 0) {
        error = errno;
    } else {
        // An acknowledgement: a header of 16 bytes, then the error number, negative.
        char answer[256];
        ssize_t length = recv(socket, answer, sizeof answer, 0);
        if (length < 20) error = length < 0 ? errno : EIO;
        else {
            memcpy(&error, answer + 16, sizeof error);
            error = -error;
        }
    }
    if (write(ends[1], &error, sizeof error) < 0) _exit(1);
    _exit(0);
}

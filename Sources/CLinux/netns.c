#include "clinux_netns.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
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

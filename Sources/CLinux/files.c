#include "clinux_files.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

int clinux_open_in_root(int root, const char *path, uint64_t flags, uint64_t mode) {
    struct open_how how = {.flags = flags, .mode = mode, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
}

int clinux_set_overlay_opaque(int directory) {
    return fsetxattr(directory, "trusted.overlay.opaque", "y", 1, 0) < 0 ? -errno : 0;
}

int clinux_make_whiteout(int directory, const char *name) {
    return mknodat(directory, name, S_IFCHR, makedev(0, 0)) < 0 ? -errno : 0;
}

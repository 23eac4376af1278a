#pragma once
#include <stdint.h>

/// openat2(2) below `root`: symbolic links are followed as if `root` were `/`, so that no name leads out; descriptor or -errno.
int clinux_open_in_root(int root, const char *path, uint64_t flags, uint64_t mode);
/// Sets the overlayfs mark "opaque" on an open directory; 0 or -errno.
int clinux_set_overlay_opaque(int directory);
/// Makes an overlayfs whiteout (character device 0:0) in an open directory; 0 or -errno.
int clinux_make_whiteout(int directory, const char *name);

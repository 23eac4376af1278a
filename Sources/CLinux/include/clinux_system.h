#pragma once
#include <stddef.h>
#include <stdint.h>

/// The text for an error number, thread-safe, never null. Lives in `buffer` or for ever.
const char *clinux_error_text(int error, char *buffer, size_t size);
/// Names the calling thread (15 bytes are kept).
void clinux_name_thread(const char *name);
/// A close-on-exec, non-blocking signalfd for the bits of `mask` (bit n-1 is signal n); descriptor or -errno.
int clinux_signalfd(uint64_t mask);
/// Size, on disk free and total bytes of the file system that holds `path`; 0 or -errno.
int clinux_free_bytes(const char *path, uint64_t *free_bytes, uint64_t *total_bytes);
/// Number of processors that the calling thread may run on, or -errno.
int clinux_affinity_count(void);
/// Bytes that the allocator has given out, and bytes it has from the system.
void clinux_heap(uint64_t *allocated, uint64_t *total);
/// Gives free memory of the allocator back to the system.
void clinux_heap_trim(void);

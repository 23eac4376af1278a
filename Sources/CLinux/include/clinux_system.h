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
/// Lets go of the pages of the program's file that nobody can have written to.
void clinux_release_program(void);
/// From now on blocks of so many bytes go back to the system when they are freed; 0 or -errno.
int clinux_heap_large(int bytes);
/// Gives free memory of the allocator back to the system.
void clinux_heap_trim(long kept);
/// Sets the size of a terminal's window; 0 or -errno.
int clinux_set_window(int fd, uint16_t columns, uint16_t rows);
/// The size of a terminal's window; 0 or -errno.
int clinux_get_window(int fd, uint16_t *columns, uint16_t *rows);
/// A new terminal: both its sides, close-on-exec and nobody's controlling terminal, the second one in raw mode; 0 or -errno.
int clinux_open_terminal(int *main, int *replica);
/// For the thread sanitizer, which does not see the locks of Swift's library: what was done so far comes before whatever follows
/// `clinux_taken_over` of the same address. Nothing otherwise.
void clinux_handed_over(const void *address);
/// The other end of `clinux_handed_over`.
void clinux_taken_over(const void *address);

#include <sched.h>
#include "clinux_system.h"
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <termios.h>
#include <unistd.h>

const char *clinux_error_text(int error, char *buffer, size_t size) { return strerror_r(error, buffer, size); }

void clinux_name_thread(const char *name) {
    char kept[16];
    strncpy(kept, name, sizeof kept - 1);
    kept[sizeof kept - 1] = 0;
    pthread_setname_np(pthread_self(), kept);
}

int clinux_signalfd(uint64_t mask) {
    sigset_t set;
    sigemptyset(&set);
    for (int signal = 1; signal <= 64; signal++)
        if (mask & (UINT64_C(1) << (signal - 1))) sigaddset(&set, signal);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int clinux_free_bytes(const char *path, uint64_t *free_bytes, uint64_t *total_bytes) {
    struct statvfs facts;
    if (statvfs(path, &facts) < 0) return -errno;
    *free_bytes = (uint64_t)facts.f_bavail * facts.f_frsize;
    *total_bytes = (uint64_t)facts.f_blocks * facts.f_frsize;
    return 0;
}

int clinux_affinity_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return -errno;
    return CPU_COUNT(&set);
}

void clinux_heap(uint64_t *allocated, uint64_t *total) {
    struct mallinfo2 info = mallinfo2();
    *allocated = info.uordblks + info.hblkhd;
    *total = info.arena + info.hblkhd;
}

// Lets go of the pages from `begin` to `end` that are still the file's: those that relocation has changed are the process's own.
static void release_unchanged(uintptr_t begin, uintptr_t end, uintptr_t page) {
    const uint64_t is_present = UINT64_C(1) << 63, is_of_file = UINT64_C(1) << 61;
    uint64_t entries[256];
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    while (begin < end) {
        size_t count = (end - begin) / page;
        if (count > sizeof entries / sizeof *entries) count = sizeof entries / sizeof *entries;
        ssize_t size = pread(fd, entries, count * sizeof *entries, (off_t)(begin / page * sizeof *entries));
        if (size < (ssize_t)sizeof *entries) break;
        count = (size_t)size / sizeof *entries;
        // A call for each run of pages that go, not for each page.
        for (size_t first = 0, last; first < count; first = last + 1) {
            for (last = first; last < count; last++)
                if ((entries[last] & (is_present | is_of_file)) != (is_present | is_of_file)) break;
            if (last > first) madvise((void *)(begin + first * page), (last - first) * page, MADV_DONTNEED);
        }
        begin += count * page;
    }
    close(fd);
}

static int release_segments(struct dl_phdr_info *program, size_t size, void *context) {
    (void)size;
    (void)context;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &program->dlpi_phdr[i];
        uintptr_t begin = program->dlpi_addr + part->p_vaddr;
        uintptr_t end = begin + part->p_filesz;
        if (part->p_type == PT_LOAD && !(part->p_flags & PF_W)) {
            begin &= ~(page - 1);
            madvise((void *)begin, end - begin, MADV_DONTNEED);
        } else if (part->p_type == PT_GNU_RELRO) {
            // Nobody writes there once the program runs; at its edges there may be what is written to.
            release_unchanged((begin + page - 1) & ~(page - 1), end & ~(page - 1), page);
        }
    }
    // The first is the program itself; the others are libraries.
    return 1;
}

void clinux_release_program(void) { dl_iterate_phdr(release_segments, NULL); }

int clinux_heap_large(int bytes) {
    // Otherwise glibc raises the bound to the largest block that was ever freed, and keeps twice as much.
    return mallopt(M_MMAP_THRESHOLD, bytes) == 1 && mallopt(M_TRIM_THRESHOLD, 2 * bytes) == 1 ? 0 : -EINVAL;
}

void clinux_heap_trim(long kept) { malloc_trim(kept > 0 ? (size_t)kept : 0); }

int clinux_set_window(int fd, uint16_t columns, uint16_t rows) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(fd, TIOCSWINSZ, &size) == 0 ? 0 : -errno;
}

int clinux_get_window(int fd, uint16_t *columns, uint16_t *rows) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0) return -errno;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return 0;
}

int clinux_open_terminal(int *main, int *replica) {
    char name[64];
    int error;
    *replica = -1;
    *main = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*main < 0) return -errno;
    if (grantpt(*main) == 0 && unlockpt(*main) == 0 && ptsname_r(*main, name, sizeof name) == 0) {
        *replica = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        struct termios mode;
        if (*replica >= 0 && tcgetattr(*replica, &mode) == 0) {
            cfmakeraw(&mode);
            if (tcsetattr(*replica, TCSANOW, &mode) == 0) return 0;
        }
    }
    error = errno;
    if (*replica >= 0) close(*replica);
    close(*main);
    return -error;
}

#if __has_feature(thread_sanitizer)
void __tsan_release(void *address);
void __tsan_acquire(void *address);
void clinux_handed_over(const void *address) { __tsan_release((void *)address); }
void clinux_taken_over(const void *address) { __tsan_acquire((void *)address); }
#else
void clinux_handed_over(const void *address) { (void)address; }
void clinux_taken_over(const void *address) { (void)address; }
#endif

#include <sched.h>
#include "clinux_system.h"
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>

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

void clinux_heap_trim(void) { malloc_trim(0); }

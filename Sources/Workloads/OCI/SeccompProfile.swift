internal import Serialization

/// The system calls that a container may make.
///
/// An allow list: what is not named fails with EPERM, and `clone3`, whose flags a filter cannot see, with ENOSYS, so that
/// the C library falls back to `clone`, whose namespace flags are refused.
public enum SeccompProfile {
    /// The profile in the form of the OCI runtime specification, for a container with these capabilities.
    static func standard(capabilities: Set<String>) -> JSON {
        var rules: [JSON] = [allow(always)]
        let isAdmin = capabilities.contains("CAP_SYS_ADMIN")
        for (capability, calls) in byCapability where capabilities.contains(capability) { rules.append(allow(calls)) }
        if isAdmin {
            rules.append(allow(["clone", "clone3", "mount", "setns", "umount", "umount2", "unshare"]))
        } else {
            // No new namespaces: CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET are these bits.
            rules.append([
                "names": ["clone"], "action": "SCMP_ACT_ALLOW",
                "args": [["index": 0, "value": 0x7E02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"]],
            ])
            rules.append(["names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38])
        }
        // Address families other than AF_VSOCK, which reaches the hypervisor.
        rules.append([
            "names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [["index": 0, "value": 40, "op": "SCMP_CMP_NE"]],
        ])
        // personality: 0, PER_LINUX32, UNAME26 and the query.
        for value in [0, 0x0008, 0x20000, 0x20008, 0xFFFF_FFFF] as [Int64] {
            rules.append([
                "names": ["personality"], "action": "SCMP_ACT_ALLOW",
                "args": [["index": 0, "value": .integer(value), "op": "SCMP_CMP_EQ"]],
            ])
        }
        return [
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
            "syscalls": .array(rules),
        ]
    }

    private static func allow(_ names: [String]) -> JSON {
        ["names": .array(names.sorted().map { .string($0) }), "action": "SCMP_ACT_ALLOW"]
    }

    private static let byCapability: KeyValuePairs<String, [String]> = [
        "CAP_DAC_READ_SEARCH": ["open_by_handle_at"],
        "CAP_SYS_CHROOT": ["chroot"],
        "CAP_SYS_BOOT": ["reboot"],
        "CAP_SYS_MODULE": ["delete_module", "finit_module", "init_module"],
        "CAP_SYS_PACCT": ["acct"],
        "CAP_SYS_PTRACE": [
            "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
        ],
        "CAP_SYS_RAWIO": ["ioperm", "iopl"],
        "CAP_SYS_TIME": ["adjtimex", "clock_adjtime", "clock_settime", "settimeofday"],
        "CAP_SYS_TTY_CONFIG": ["vhangup"],
        "CAP_SYS_NICE": ["get_mempolicy", "mbind", "set_mempolicy"],
        "CAP_SYSLOG": ["syslog"],
        "CAP_BPF": ["bpf"],
        "CAP_PERFMON": ["perf_event_open"],
        "CAP_SYS_ADMIN": [
            "bpf", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount_setattr", "move_mount",
            "open_tree", "perf_event_open", "quotactl", "setdomainname", "sethostname",
        ],
    ]

    private static let always: [String] = """
        accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chown32 clock_getres
        clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range
        connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2
        epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64
        fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
        fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
        ftruncate64 futex futex_time64 futex_waitv futimesat get_robust_list get_thread_area getcpu getcwd getdents
        getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername
        getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
        getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch
        inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit ioctl
        ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
        lgetxattr link linkat listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
        membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2
        mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap msgctl msgget msgrcv
        msgsnd msync munlock munlockall munmap nanosleep name_to_handle_at newfstatat _newselect open openat openat2
        pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
        pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
        readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
        rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
        rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
        sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
        sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
        select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid
        setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid
        setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid
        setsockopt set_thread_area set_tid_address setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown
        sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
        statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
        timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
        timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname
        unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
        """.split(whereSeparator: \.isWhitespace).map(String.init)
}

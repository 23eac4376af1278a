internal import CLinux
internal import Glibc

/// A network namespace, held open by a descriptor.
///
/// A named one is an empty file with the namespace bind-mounted on it (as `ip netns` does it), so it lives on when the
/// process that made it is gone. Code runs inside by `run`, on a thread of its own: the namespace of a pool's or a
/// loop's thread never changes. A socket that is opened inside stays inside, whichever thread uses it later.
public final class NetworkNamespace: Sendable {
    /// The descriptor of the namespace, for `setns` in a child or IFLA_NET_NS_FD.
    ///
    /// Closed with this object.
    public let fd: Int32
    /// The file that names it, if it has a name.
    public let path: String?

    private init(fd: Int32, path: String?) {
        self.fd = fd
        self.path = path
    }

    deinit { close(fd) }

    /// The namespace of the calling thread.
    public static func current() throws(SystemError) -> NetworkNamespace {
        let fd = try check(clinux_netns_current(), "open /proc/thread-self/ns/net")
        return NetworkNamespace(fd: fd, path: nil)
    }

    /// Makes a new one that has no name: it goes when its last descriptor, process and thread go.
    public static func create() throws(SystemError) -> NetworkNamespace {
        try onThread { () throws(SystemError) in
            try check(clinux_netns_unshare(), "make a network namespace")
            return try current()
        }
    }

    /// Makes a new one under the name `directory/name`.
    ///
    /// Fails with EEXIST when the name is taken.
    public static func create(
        named name: String, in directory: String
    ) throws(SystemError) -> NetworkNamespace {
        let path = try file(name, in: directory)
        try prepare(directory)
        let place = Glibc.open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o444)
        guard place >= 0 else { throw SystemError.last("make network namespace \(path)") }
        close(place)
        do throws(SystemError) {
            return try onThread { () throws(SystemError) in
                try check(clinux_netns_unshare(), "make network namespace \(path)")
                try check(clinux_bind_mount("/proc/thread-self/ns/net", path), "mount network namespace \(path)")
                let fd = try check(clinux_netns_current(), "open /proc/thread-self/ns/net")
                return NetworkNamespace(fd: fd, path: path)
            }
        } catch {
            try? remove(named: name, in: directory)
            throw error
        }
    }

    /// Gives the name `directory/name` to one that is there.
    ///
    /// Fails with EEXIST when the name is taken.
    public static func adopt(
        _ source: String, named name: String, in directory: String
    ) throws(SystemError) -> NetworkNamespace {
        let path = try file(name, in: directory)
        try prepare(directory)
        // Opened before it is mounted: a process that has ended meanwhile has none.
        let namespace = try open(path: source)
        let place = Glibc.open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o444)
        guard place >= 0 else { throw SystemError.last("make network namespace \(path)") }
        close(place)
        do throws(SystemError) {
            try check(
                clinux_bind_mount("/proc/self/fd/\(namespace.fd)", path), "mount network namespace \(path)")
            return namespace
        } catch {
            try? remove(named: name, in: directory)
            throw error
        }
    }

    /// Opens the named one.
    public static func open(named name: String, in directory: String) throws(SystemError) -> NetworkNamespace {
        try open(path: try file(name, in: directory))
    }

    /// Opens the namespace that a file stands for (`/run/netns/x`, `/proc/PID/ns/net`).
    ///
    /// A file that is none (a name whose mount is gone) is EINVAL.
    public static func open(path: String) throws(SystemError) -> NetworkNamespace {
        let fd = try checkErrno(Glibc.open(path, O_RDONLY | O_CLOEXEC), "open network namespace \(path)")
        guard clinux_is_netns(fd) == 1 else {
            close(fd)
            throw SystemError(EINVAL, "open network namespace \(path)")
        }
        return NetworkNamespace(fd: fd, path: path)
    }

    /// Removes the name; the namespace itself goes with its last process and descriptor.
    ///
    /// Harmless when it is gone.
    public static func remove(named name: String, in directory: String) throws(SystemError) {
        let path = try file(name, in: directory)
        // A name may be mounted on twice when a crash came between; each unmount takes one off.
        while true {
            let result = clinux_netns_unmount(path)
            if result == 0 { continue }
            guard [-EINVAL, -ENOENT].contains(result) else { throw SystemError(-result, "unmount \(path)") }
            break
        }
        if unlink(path) != 0, errno != ENOENT { throw SystemError.last("remove \(path)") }
    }

    /// The names in a directory of namespaces, also those whose mount is gone.
    ///
    /// Empty when there is no such directory.
    public static func list(in directory: String) throws(SystemError) -> [String] {
        guard File.isDirectory(directory) else { return [] }
        return try File.list(directory)
    }

    /// Removes the directory of namespaces, which must have no names any more, and its mount.
    public static func removeDirectory(_ directory: String) throws(SystemError) {
        guard File.exists(directory) else { return }
        while clinux_netns_unmount(directory) == 0 {}
        try File.remove(directory)
    }

    /// Whether both are the same namespace.
    public func isSame(as other: NetworkNamespace) -> Bool {
        var (mine, its) = (stat(), stat())
        guard fstat(fd, &mine) == 0, fstat(other.fd, &its) == 0 else { return false }
        return mine.st_ino == its.st_ino && mine.st_dev == its.st_dev
    }

    /// Runs `body` inside, on a new thread, and waits for it.
    ///
    /// `body` opens sockets and calls the kernel, and nothing else: a thread that is started from inside is inside for
    /// ever, and the runtime starts its pool's threads wherever a task is made or resumed. So no event loop, no task
    /// and no continuation in here.
    public func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        try NetworkNamespace.onThread { () throws(SystemError) in
            try check(clinux_netns_enter(self.fd), "enter network namespace \(self.path ?? "")")
            return try body()
        }
    }

    /// Runs `body` inside on the calling thread, which then goes back to where it was.
    ///
    /// Only for a thread of the caller's own: for a moment it is in another namespace, and stays there when the kernel does
    /// not let it go back, which is the error then. It saves a program that lives for three milliseconds half of one.
    public func visit<Value>(_ body: () throws(SystemError) -> Value) throws(SystemError) -> Value {
        let home = try NetworkNamespace.current()
        try check(clinux_netns_enter(fd), "enter network namespace \(path ?? "")")
        let outcome: Result<Value, SystemError>
        do throws(SystemError) { outcome = .success(try body()) } catch { outcome = .failure(error) }
        try check(clinux_netns_enter(home.fd), "go back to the network namespace")
        return try outcome.get()
    }

    /// Runs `body`, which fails in its own way, inside, on a new thread, and waits for it.
    public func run<Value: Sendable, Failure: Error>(
        catching body: @escaping @Sendable () throws(Failure) -> Value
    ) throws(SystemError) -> Result<Value, Failure> {
        try run { () throws(SystemError) in
            do throws(Failure) { return .success(try body()) } catch { return .failure(error) }
        }
    }

    /// `directory/name`, for a name that is one plain path component.
    private static func file(_ name: String, in directory: String) throws(SystemError) -> String {
        let plain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard plain, !name.isEmpty, name.utf8.count <= 255, name != ".", name != ".." else {
            throw SystemError(EINVAL, "network namespace name '\(name)'")
        }
        return "\(directory)/\(name)"
    }

    /// Makes the directory a shared mount of its own, so that an unmount also reaches the copies which processes with
    /// another mount namespace hold; they would keep dead pods' namespaces alive otherwise.
    private static func prepare(_ directory: String) throws(SystemError) {
        try File.makeDirectory(directory, mode: 0o755)
        // EINVAL: no mount point yet.
        guard clinux_mount_make_shared(directory) == -EINVAL else { return }
        try check(clinux_bind_mount(directory, directory), "mount \(directory)")
        try check(clinux_mount_make_shared(directory), "share mount \(directory)")
    }

    private final class Work<Value: Sendable> {
        let body: @Sendable () throws(SystemError) -> Value
        var result: Result<Value, SystemError>?
        init(_ body: @escaping @Sendable () throws(SystemError) -> Value) { self.body = body }

        func perform() {
            do throws(SystemError) { result = .success(try body()) } catch { result = .failure(error) }
        }
    }

    /// Runs `body` on a thread of its own, in the calling thread's namespaces, with no descriptor open but 0 to 2.
    ///
    /// For libraries that use `select(2)`, which ends the process at descriptors from 1,024 on.
    public static func withoutDescriptors<Value: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        try onThread { () throws(SystemError) in
            try check(clinux_own_descriptors(), "make a table of descriptors")
            return try body()
        }
    }

    /// A thread that changed its namespace cannot be used for anything else, so each piece of work gets a new one
    /// (about 30 µs).
    private static func onThread<Value: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        let work = Work(body)
        let perform: () -> Void = { work.perform() }
        let start = Unmanaged.passRetained(ThreadBody(perform))
        var thread = pthread_t()
        let error = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                clinux_name_thread("netns")
                Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, start.toOpaque())
        guard error == 0 else {
            start.release()
            throw SystemError(error, "make a thread for a network namespace")
        }
        pthread_join(thread, nil)
        guard let result = work.result else { throw SystemError(ECANCELED, "run in a network namespace") }
        return try result.get()
    }
}

/// What a thread is to run; the C start routine takes one pointer.
private final class ThreadBody {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

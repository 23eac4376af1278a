internal import Glibc
internal import IO

/// The container's network namespace, which the calling thread visits: it must be the caller's own.
struct ContainerNamespace {
    let namespace: NetworkNamespace
    let links: LinkSocket

    /// Opens the namespace that CNI_NETNS names.
    init(path: String) throws(CNIError) {
        do throws(SystemError) {
            let namespace = try NetworkNamespace.open(path: path)
            self.namespace = namespace
            links = try namespace.visit { () throws(SystemError) in try LinkSocket() }
        } catch {
            throw error.errno == ENOENT || error.errno == EINVAL
                ? CNIError(
                    .unknownContainer,
                    "CNI_NETNS: \(path) is no network namespace: the container is gone, or the path is wrong")
                : CNIError(.inputOutput, "CNI_NETNS: \(error)")
        }
    }

    /// Whether it is the namespace in which we are.
    func isOurs() -> Bool { (try? NetworkNamespace.current()).map { $0.isSame(as: namespace) } ?? false }

    /// Sets `/proc/sys/net/…` inside; settings that this kernel does not have are left out.
    func set(_ settings: [(path: String, value: String)]) throws(SystemError) {
        guard !settings.isEmpty else { return }
        try namespace.visit { () throws(SystemError) in
            for (path, value) in settings { try KernelSetting.write(path, value) }
        }
    }
}

/// `/proc/sys/net/…` in the namespace of the calling thread.
enum KernelSetting {
    /// Sets it unless it is so; a setting that is not there is passed over (a kernel without IPv6).
    static func write(_ path: String, _ value: String) throws(SystemError) {
        let file = "/proc/sys/net/\(path)"
        do throws(SystemError) {
            let old = String(decoding: try File.readPrefix(file, 16), as: UTF8.self)
            guard old.prefix(while: { !$0.isWhitespace }) != value else { return }
            try File.writeInPlace(file, value)
        } catch {
            guard error.errno == ENOENT else { throw error }
        }
    }
}

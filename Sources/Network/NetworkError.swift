public import IO

/// Why the network could not be set up, changed or removed.
public enum NetworkError: Error, Sendable, Hashable, CustomStringConvertible {
    /// A system call or a netlink request failed.
    case system(SystemError)
    /// nftables refused a transaction; nothing of it was done.
    case rules(String)
    /// An address pool cannot be used here.
    case pool(String)
    /// A value that was given cannot be used.
    case invalid(String)
    /// No address is left.
    case exhausted(String)
    /// A file of ours is damaged.
    case damaged(String)

    /// What, where and what to do, on one line.
    public var description: String {
        switch self {
        case .system(let error): error.description
        case .rules(let text): "nftables: \(text)"
        case .pool(let text), .invalid(let text), .exhausted(let text), .damaged(let text): text
        }
    }
}

/// Runs system work in a place that throws network errors.
func system<Value>(_ body: () throws(SystemError) -> Value) throws(NetworkError) -> Value {
    do throws(SystemError) { return try body() } catch { throw .system(error) }
}

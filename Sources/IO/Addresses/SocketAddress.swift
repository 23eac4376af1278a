internal import CLinux
internal import Glibc

/// Where a socket is bound or connected.
public enum SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// An IP address and port.
    case ip(IPAddress, port: UInt16)
    /// A unix socket by its path; empty for an unnamed peer.
    case unix(String)

    /// Reads `10.0.0.1:80`, `[fd00::1]:80` or `unix:/path`.
    public init?(_ text: String) {
        if text.hasPrefix("unix:") {
            self = .unix(String(text.dropFirst(5)))
            return
        }
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard let address = IPAddress(host), address.isV6 else { return nil }
            self = .ip(address, port: port)
        } else {
            guard let address = IPAddress(host), !address.isV6 else { return nil }
            self = .ip(address, port: port)
        }
    }

    /// The IP address, if there is one.
    public var address: IPAddress? { if case .ip(let address, _) = self { address } else { nil } }

    /// The port, if there is one.
    public var port: UInt16? { if case .ip(_, let port) = self { port } else { nil } }

    /// `10.0.0.1:80`, `[fd00::1]:80`, or the path of a unix socket.
    public var description: String {
        switch self {
        case .ip(let address, let port):
            AddressText.with({ $0.add(address, port) }, { String(decoding: $0, as: UTF8.self) })
        case .unix(let path): path
        }
    }

    /// Appends the text of `description`.
    public func append(to bytes: inout [UInt8]) {
        switch self {
        case .ip(let address, let port):
            AddressText.with({ $0.add(address, port) }, { bytes.append(contentsOf: $0) })
        case .unix(let path): bytes += path.utf8
        }
    }

    /// The most bytes that an IP address with its port has as text.
    public static let textBytesMax = AddressText.room

    /// Writes the text of `description` where there is room for `textBytesMax` bytes, and says how many it wrote; nil for a unix socket,
    /// whose path may be longer.
    public func writeText(to memory: UnsafeMutablePointer<UInt8>) -> Int? {
        guard case .ip(let address, let port) = self else { return nil }
        var text = AddressText(in: memory)
        text.add(address, port)
        return text.count
    }

    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    var family: Int32 {
        switch self {
        case .ip(.v4, _): AF_INET
        case .ip(.v6, _): AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// Calls `body` with the kernel's form of the address.
    ///
    /// A unix path that is too long is ENAMETOOLONG.
    func withSockaddr<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) throws(SystemError) -> Result {
        var storage = sockaddr_storage()
        let length: Int
        switch self {
        case .ip(.v4(let value), let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = value.bigEndian
            length = MemoryLayout<sockaddr_in>.size
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_in.self) }
        case .ip(let ip, let port):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: ip.bytes) }
            length = MemoryLayout<sockaddr_in6>.size
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_in6.self) }
        case .unix(let path):
            let bytes = Array(path.utf8)
            guard bytes.count < 108, !bytes.contains(0) else { throw SystemError(ENAMETOOLONG, "unix socket \(path)") }
            let offset = MemoryLayout<sa_family_t>.size
            length = offset + bytes.count + 1
            withUnsafeMutableBytes(of: &storage) { buffer in
                buffer.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
                UnsafeMutableRawBufferPointer(rebasing: buffer[offset...]).copyBytes(from: bytes)
            }
        }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
        }
    }

    /// Reads the kernel's form; `nil` for a family that is none of ours.
    init?(_ storage: sockaddr_storage, length: socklen_t) {
        var storage = storage
        let address = withUnsafeBytes(of: &storage) { buffer -> SocketAddress? in
            switch Int32(buffer.load(as: sa_family_t.self)) {
            case AF_INET:
                let value = buffer.load(as: sockaddr_in.self)
                return .ip(.v4(UInt32(bigEndian: value.sin_addr.s_addr)), port: UInt16(bigEndian: value.sin_port))
            case AF_INET6:
                let value = buffer.load(as: sockaddr_in6.self)
                let ip = withUnsafeBytes(of: value.sin6_addr) { IPAddress(bytes: $0) }
                return ip.map { .ip($0.canonical, port: UInt16(bigEndian: value.sin6_port)) }
            case AF_UNIX:
                let offset = MemoryLayout<sa_family_t>.size
                let path = buffer.prefix(min(buffer.count, Int(length))).dropFirst(offset).prefix { $0 != 0 }
                return .unix(String(decoding: path, as: UTF8.self))
            default: return nil
            }
        }
        guard let address else { return nil }
        self = address
    }
}

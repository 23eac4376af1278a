internal import CLinux
internal import Glibc

/// What came of reading or writing.
public enum IOResult: Sendable, Hashable {
    /// That many bytes, at least one.
    case bytes(Int)
    /// Nothing now; the loop will say when.
    case wouldBlock
    /// The peer has ended its direction (reading only).
    case end
    /// The connection is broken.
    case failed(SystemError)
}

/// Somebody who wants to know when a socket is closed.
public protocol SocketObserver: AnyObject {
    /// The socket's owner has closed it, or let go of it.
    ///
    /// Called once, on the thread that did.
    func socketClosed()
}

/// A non-blocking, close-on-exec socket.
///
/// Owned by one loop; closes itself when nobody holds it any more.
public final class Socket {
    /// The descriptor; -1 after `close`.
    public private(set) var fd: Int32
    /// Whether `close` sends a reset (`setResetOnClose`).
    public private(set) var resetsOnClose = false
    /// Is told of the end, whoever closes the socket.
    public var observer: (any SocketObserver)?

    /// Takes over a descriptor and makes it non-blocking and close-on-exec.
    public init(adopting fd: Int32) {
        self.fd = fd
        _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
        _ = fcntl(fd, F_SETFD, FD_CLOEXEC)
    }

    /// Takes over a descriptor that is non-blocking and close-on-exec already.
    init(prepared fd: Int32) { self.fd = fd }

    deinit { close() }

    /// Closes the descriptor.
    ///
    /// Cancel its registration first. Harmless when done twice.
    public func close() {
        guard fd >= 0 else { return }
        _ = Glibc.close(fd)
        fd = -1
        if let observer {
            self.observer = nil
            observer.socketClosed()
        }
    }

    /// Gives the descriptor away: the caller closes it.
    public func release() -> Int32 {
        defer { fd = -1 }
        return fd
    }

    // MARK: Making

    private static func make(_ address: SocketAddress, _ type: Int32, _ operation: String) throws(SystemError) -> Socket
    {
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let fd = try checkErrno(socket(address.family, type | flags, 0), operation)
        return Socket(prepared: fd)
    }

    /// Makes a listening stream socket.
    ///
    /// A unix socket's path is removed first when a dead socket lies there.
    ///
    /// - Parameters:
    ///   - reusePort: several loops listen on the same address and the kernel spreads connections (SO_REUSEPORT).
    ///   - backlog: connections that wait for `accept`; the kernel caps it at net.core.somaxconn.
    ///   - transparent: IP_TRANSPARENT, also for addresses that are not ours.
    ///   - acceptsIPv4: an IPv6 socket takes IPv4 clients, too (no IPV6_V6ONLY); they are seen with their IPv4 addresses.
    ///   - freebind: IP_FREEBIND, also on an address that no interface has yet.
    ///   - options: further options, each at its moment; accepted connections inherit most of them.
    public static func listen(
        on address: SocketAddress, reusePort: Bool = false, backlog: Int32 = 4096, transparent: Bool = false,
        acceptsIPv4: Bool = false, freebind: Bool = false, options: [SocketOption] = []
    ) throws(SystemError) -> Socket {
        let operation = "listen on \(address)"
        let socket = try make(address, Int32(SOCK_STREAM.rawValue), operation)
        if case .unix(let path) = address {
            try removeDeadSocket(path)
        } else {
            try socket.set(SOL_SOCKET, SO_REUSEADDR, 1, operation)
            if reusePort { try socket.set(SOL_SOCKET, SO_REUSEPORT, 1, operation) }
            try socket.limitFamily(address, acceptsIPv4: acceptsIPv4, operation)
        }
        if transparent { try socket.setTransparent(address.family, operation) }
        if freebind { try socket.setFreebind(address.family, operation) }
        try socket.set(options, .beforeBind)
        try checkErrno(address.withSockaddr { bind(socket.fd, $0, $1) }, operation)
        try socket.set(options, .bound)
        try checkErrno(Glibc.listen(socket.fd, backlog), operation)
        try socket.set(options, .listening)
        return socket
    }

    /// Makes a bound datagram socket.
    ///
    /// - Parameters:
    ///   - reusePort: other sockets of this user may be bound to the address too (SO_REUSEPORT).
    ///   - acceptsIPv4: as of `listen`.
    ///   - freebind: as of `listen`.
    ///   - options: as of `listen`; it never listens.
    public static func datagram(
        on address: SocketAddress, reusePort: Bool = false, acceptsIPv4: Bool = false, freebind: Bool = false,
        options: [SocketOption] = []
    ) throws(SystemError) -> Socket {
        let operation = "bind udp \(address)"
        let socket = try make(address, Int32(SOCK_DGRAM.rawValue), operation)
        // A port that the kernel chooses is to be nobody else's: with SO_REUSEPORT it also gives away those of others who set it.
        let isChosen = address.port == 0
        if reusePort, !isChosen { try socket.set(SOL_SOCKET, SO_REUSEPORT, 1, operation) }
        try socket.limitFamily(address, acceptsIPv4: acceptsIPv4, operation)
        if freebind { try socket.setFreebind(address.family, operation) }
        try socket.set(options, .beforeBind)
        try checkErrno(address.withSockaddr { bind(socket.fd, $0, $1) }, operation)
        if reusePort, isChosen { try socket.set(SOL_SOCKET, SO_REUSEPORT, 1, operation) }
        try socket.set(options, .bound)
        return socket
    }

    /// Says it explicitly either way: what the kernel does by itself is a setting of the machine (net.ipv6.bindv6only).
    private func limitFamily(_ address: SocketAddress, acceptsIPv4: Bool, _ operation: String) throws(SystemError) {
        guard address.family == AF_INET6 else { return }
        try set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, acceptsIPv4 ? 0 : 1, operation)
    }

    /// Begins a connection.
    ///
    /// It is established, or has failed (`pendingError`), when the socket becomes writable.
    ///
    /// - Parameters:
    ///   - source: local address to connect from (port 0: any).
    ///   - transparent: IP_TRANSPARENT: `source` need not be ours.
    ///   - mark: SO_MARK, for routing; 0 is none.
    public static func connect(
        to address: SocketAddress, from source: SocketAddress? = nil, transparent: Bool = false, mark: UInt32 = 0
    ) throws(SystemError) -> Socket {
        let operation = "connect \(address)"
        let socket = try make(address, Int32(SOCK_STREAM.rawValue), operation)
        if transparent { try socket.setTransparent(address.family, operation) }
        // SO_MARK is not in glibc's Swift module.
        if mark != 0 { try socket.set(SOL_SOCKET, 36, Int32(bitPattern: mark), operation) }
        if let source {
            // The port is chosen at connect time: the same local address may talk to many peers.
            if source.family != AF_UNIX { try socket.set(Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1, operation) }
            try checkErrno(source.withSockaddr { bind(socket.fd, $0, $1) }, "bind \(source)")
        }
        if address.family != AF_UNIX { try socket.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1, operation) }
        let result = try address.withSockaddr { Glibc.connect(socket.fd, $0, $1) }
        if result < 0, errno != EINPROGRESS { throw SystemError.last(operation) }
        return socket
    }

    /// A connection to a unix socket that keeps the bounds of messages (SOCK_SEQPACKET).
    public static func connectSequenced(to path: String) throws(SystemError) -> Socket {
        let operation = "connect \(path)"
        let address = SocketAddress.unix(path)
        let socket = try make(address, Int32(SOCK_SEQPACKET.rawValue), operation)
        try checkErrno(address.withSockaddr { Glibc.connect(socket.fd, $0, $1) }, operation)
        return socket
    }

    /// A connected pair of unix stream sockets.
    public static func pair() throws(SystemError) -> (Socket, Socket) {
        var fds: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        try checkErrno(socketpair(AF_UNIX, type, 0, &fds), "socketpair")
        return (Socket(prepared: fds[0]), Socket(prepared: fds[1]))
    }

    /// Removes a socket file on which nobody listens; EADDRINUSE when somebody does, or when it is no socket.
    private static func removeDeadSocket(_ path: String) throws(SystemError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw SystemError(EADDRINUSE, "listen on \(path)") }
        let probe = try make(.unix(path), Int32(SOCK_STREAM.rawValue), "listen on \(path)")
        let result = try SocketAddress.unix(path).withSockaddr { Glibc.connect(probe.fd, $0, $1) }
        guard result < 0, errno == ECONNREFUSED else { throw SystemError(EADDRINUSE, "listen on \(path)") }
        unlink(path)
    }

    // MARK: Options

    /// Sets all options, on a socket that is in use already.
    public func apply(_ options: [SocketOption]) throws(SystemError) {
        for moment in [SocketOption.Moment.beforeBind, .bound, .listening] { try set(options, moment) }
    }

    private func set(_ options: [SocketOption], _ moment: SocketOption.Moment) throws(SystemError) {
        for option in options where option.moment == moment {
            let result = option.value.withUnsafeBytes {
                setsockopt(fd, option.level, option.name, $0.baseAddress, socklen_t($0.count))
            }
            try checkErrno(result, option.place)
        }
    }

    private func set(_ level: Int32, _ name: Int32, _ value: Int32, _ operation: String) throws(SystemError) {
        var value = value
        try checkErrno(setsockopt(fd, level, name, &value, socklen_t(MemoryLayout<Int32>.size)), operation)
    }

    private func setTransparent(_ family: Int32, _ operation: String) throws(SystemError) {
        // IP_TRANSPARENT 19, IPV6_TRANSPARENT 75: linux/in.h, not in glibc's Swift module.
        if family == AF_INET { try set(Int32(IPPROTO_IP), 19, 1, operation) }
        if family == AF_INET6 { try set(Int32(IPPROTO_IPV6), 75, 1, operation) }
    }

    private func setFreebind(_ family: Int32, _ operation: String) throws(SystemError) {
        // IP_FREEBIND 15, IPV6_FREEBIND 78: linux/in.h and linux/in6.h, not in glibc's Swift module.
        if family == AF_INET { try set(Int32(IPPROTO_IP), 15, 1, operation) }
        if family == AF_INET6 { try set(Int32(IPPROTO_IPV6), 78, 1, operation) }
    }

    /// Turns Nagle's algorithm off; no effect on unix sockets.
    public func setNoDelay() {
        var one: Int32 = 1
        _ = setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Turns TCP keep-alive probes on (seconds before the first, between them, and how many).
    public func setKeepAlive(idleSeconds: Int32, intervalSeconds: Int32, probes: Int32) throws(SystemError) {
        try set(SOL_SOCKET, SO_KEEPALIVE, 1, "keep-alive")
        try set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, idleSeconds, "keep-alive")
        try set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, intervalSeconds, "keep-alive")
        try set(Int32(IPPROTO_TCP), TCP_KEEPCNT, probes, "keep-alive")
    }

    /// Makes `close` send a reset instead of an orderly end: for connections whose peer must notice at once.
    public func setResetOnClose() {
        resetsOnClose = true
        var value = linger(l_onoff: 1, l_linger: 0)
        _ = setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }

    // MARK: Accepting

    /// The next waiting connection, or `nil` when there is none.
    ///
    /// Errors of a connection that died in the queue are skipped; EMFILE and the like are thrown (wait before trying
    /// again: the connection stays in the queue).
    public func accept() throws(SystemError) -> Socket? {
        while true {
            let result = clinux_accept4(fd, nil, nil, Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue))
            if result >= 0 { return Socket(prepared: result) }
            switch -result {
            case EAGAIN: return nil
            case EINTR, ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, ENETUNREACH:
                continue
            default: throw SystemError(-result, "accept")
            }
        }
    }

    // MARK: Bytes

    /// Reads once.
    public func read(into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        while true {
            let count = clinux_receive(fd, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            switch Int32(-count) {
            case EAGAIN: return .wouldBlock
            case EINTR: continue
            case let error: return .failed(SystemError(error, "read"))
            }
        }
    }

    /// Writes once; fewer bytes than given means that the next call would block.
    public func write(_ buffer: UnsafeRawBufferPointer) -> IOResult {
        guard !buffer.isEmpty else { return .bytes(0) }
        while true {
            let count = clinux_send(fd, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
            if count >= 0 { return .bytes(count) }
            switch Int32(-count) {
            case EAGAIN: return .wouldBlock
            case EINTR: continue
            case let error: return .failed(SystemError(error, "write"))
            }
        }
    }

    /// Writes several pieces with one system call; pieces beyond the first 64 wait for the next call.
    public func write(pieces: [UnsafeRawBufferPointer]) -> IOResult {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: 64) { vectors in
            var count = 0
            for piece in pieces where !piece.isEmpty && count < 64 {
                vectors.initializeElement(
                    at: count,
                    to: iovec(iov_base: UnsafeMutableRawPointer(mutating: piece.baseAddress), iov_len: piece.count))
                count += 1
            }
            guard count > 0 else { return .bytes(0) }
            var message = msghdr()
            message.msg_iov = vectors.baseAddress
            message.msg_iovlen = count
            while true {
                let sent = sendmsg(fd, &message, Int32(MSG_NOSIGNAL))
                if sent >= 0 { return .bytes(sent) }
                switch errno {
                case EAGAIN: return .wouldBlock
                case EINTR: continue
                default: return .failed(.last("write"))
                }
            }
        }
    }

    /// Looks at waiting bytes without taking them.
    public func peek(into buffer: UnsafeMutableRawBufferPointer) -> IOResult {
        while true {
            let count = recv(fd, buffer.baseAddress, buffer.count, Int32(MSG_PEEK))
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            switch errno {
            case EAGAIN: return .wouldBlock
            case EINTR: continue
            default: return .failed(.last("peek"))
            }
        }
    }

    /// Receives one datagram; `nil` when none waits.
    public func receive(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> (
        count: Int, from: SocketAddress?
    )? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        // Only EAGAIN re-arms an edge: an interrupted call must be made again, or what waits would wait for ever.
        while true {
            let count = withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(fd, buffer.baseAddress, buffer.count, 0, $0, &length)
                }
            }
            if count >= 0 { return (count, SocketAddress(storage, length: length)) }
            switch errno {
            case EAGAIN: return nil
            case EINTR: length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            default: throw SystemError.last("receive")
            }
        }
    }

    /// Sends one datagram.
    public func send(_ buffer: UnsafeRawBufferPointer, to address: SocketAddress) throws(SystemError) {
        let result = try address.withSockaddr {
            sendto(fd, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL), $0, $1)
        }
        try checkErrno(result, "send to \(address)")
    }

    /// Ends our direction: the peer reads the end, we may go on reading.
    public func shutdownWrite() { _ = shutdown(fd, Int32(SHUT_WR)) }

    // MARK: Facts

    /// The error of a connect that has ended, or `nil` when it succeeded.
    ///
    /// Clears it.
    public func pendingError(_ operation: String = "connect") -> SystemError? {
        let result = clinux_socket_error(fd)
        return result == 0 ? nil : SystemError(abs(result), operation)
    }

    /// The address this end is bound to.
    public var localAddress: SocketAddress? { address(getsockname) }

    /// The address of the other end.
    public var peerAddress: SocketAddress? { address(getpeername) }

    private func address(
        _ call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(fd, $0, &length) }
        }
        return result == 0 ? SocketAddress(storage, length: length) : nil
    }

    /// The destination before nftables redirected the connection; `nil` when nothing did.
    public func originalDestination() -> SocketAddress? {
        guard let family = localAddress?.family, family != AF_UNIX else { return nil }
        var storage = sockaddr_storage()
        guard clinux_original_destination(fd, family, &storage) == 0 else { return nil }
        return SocketAddress(storage, length: socklen_t(MemoryLayout<sockaddr_storage>.size))
    }

    /// Another descriptor of the same socket.
    public func duplicate() throws(SystemError) -> Socket {
        Socket(adopting: try checkErrno(fcntl(fd, F_DUPFD_CLOEXEC, 0), "fcntl"))
    }

    /// Waits until there is something to read; false when the time is over.
    ///
    /// Blocks the thread: for a process that does nothing else yet.
    public func waitReadable(milliseconds: Int32) -> Bool {
        var descriptor = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        return poll(&descriptor, 1, milliseconds) > 0
    }

    /// Process, user and group at the other end of a unix socket, as the kernel knows them.
    public func peerCredentials() throws(SystemError) -> (pid: Int32, uid: UInt32, gid: UInt32) {
        var (pid, uid, gid) = (Int32(0), UInt32(0), UInt32(0))
        try check(clinux_peer_credentials(fd, &pid, &uid, &gid), "peer credentials")
        return (pid, uid, gid)
    }

    /// Sends bytes with a descriptor over a unix socket; the number of bytes sent.
    public func send(_ bytes: [UInt8], descriptor: Int32) throws(SystemError) -> Int {
        try check(bytes.withUnsafeBytes { clinux_send_fd(fd, $0.baseAddress, $0.count, descriptor) }, "send descriptor")
    }

    /// Receives bytes and perhaps a descriptor, which the caller owns.
    ///
    /// `nil` when nothing waits; no bytes at the end.
    public func receiveDescriptor(upTo count: Int) throws(SystemError) -> (bytes: [UInt8], descriptor: Int32?)? {
        var descriptor: Int32 = -1
        var bytes = [UInt8](repeating: 0, count: count)
        var received = -Int(EINTR)
        while received == -Int(EINTR) {
            received = bytes.withUnsafeMutableBytes { clinux_receive_fd(fd, $0.baseAddress, $0.count, &descriptor) }
        }
        if received == -Int(EAGAIN) { return nil }
        try check(received, "receive descriptor")
        return (Array(bytes.prefix(received)), descriptor >= 0 ? descriptor : nil)
    }
}

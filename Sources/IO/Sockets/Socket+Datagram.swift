internal import CLinux
internal import Glibc

extension Socket {
    /// Makes a datagram socket that speaks to one peer.
    ///
    /// - Parameter source: local address to speak from (port 0: any).
    public static func datagram(
        connectedTo address: SocketAddress, from source: SocketAddress? = nil
    ) throws(SystemError) -> Socket {
        let operation = "connect udp \(address)"
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let type = Int32(SOCK_DGRAM.rawValue)
        let socket = Socket(prepared: try checkErrno(Glibc.socket(address.family, type | flags, 0), operation))
        if let source {
            try checkErrno(source.withSockaddr { bind(socket.fd, $0, $1) }, "bind \(source)")
        }
        try checkErrno(address.withSockaddr { Glibc.connect(socket.fd, $0, $1) }, operation)
        return socket
    }

    /// Receives one datagram; nil when none waits.
    ///
    /// A count above the buffer's says that it was longer, and what is in the buffer is its beginning.
    public func receiveDatagram(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> (
        count: Int, from: SocketAddress?
    )? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        while true {
            let count = withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(fd, buffer.baseAddress, buffer.count, Int32(MSG_TRUNC), $0, &length)
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

    /// Lets `receiveDatagram(into:local:)` tell to which of our addresses a datagram came, where the socket is bound to all of them.
    public func enablePacketInfo() throws(SystemError) {
        let family = localAddress?.family ?? AF_INET
        let result = clinux_enable_packet_info(fd, family)
        if result < 0 { throw SystemError(-result, "packet info") }
    }

    /// As `receiveDatagram(into:)`; `local` becomes the address that the datagram was sent to, as far as the kernel says.
    public func receiveDatagram(
        into buffer: UnsafeMutableRawBufferPointer, local: inout IPAddress?
    ) throws(SystemError) -> (count: Int, from: SocketAddress?)? {
        var from = sockaddr_storage()
        var to = sockaddr_storage()
        var length = socklen_t(0)
        while true {
            let count = clinux_receive_datagram(fd, buffer.baseAddress, buffer.count, &from, &length, &to)
            if count >= 0 {
                let size =
                    to.ss_family == sa_family_t(AF_INET6)
                    ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
                local = to.ss_family == 0 ? nil : SocketAddress(to, length: socklen_t(size))?.address
                return (count, SocketAddress(from, length: length))
            }
            switch Int32(truncatingIfNeeded: -count) {
            case EAGAIN: return nil
            case EINTR: continue
            case let code: throw SystemError(code, "receive")
            }
        }
    }

    /// Sends one datagram from an address of ours, whichever the kernel would have taken.
    public func send(
        _ buffer: UnsafeRawBufferPointer, to address: SocketAddress, from local: SocketAddress
    ) throws(SystemError) {
        var from = sockaddr_storage()
        try local.withSockaddr { pointer, length in
            withUnsafeMutableBytes(of: &from) {
                $0.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: min(Int(length), $0.count)))
            }
        }
        let result = try address.withSockaddr { to, length in
            withUnsafePointer(to: &from) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    clinux_send_datagram(fd, buffer.baseAddress, buffer.count, to, length, $0)
                }
            }
        }
        if result < 0 { throw SystemError(Int32(truncatingIfNeeded: -result), "send to \(address)") }
    }

    /// Sends one datagram to the peer of a connected socket; what the kernel has no room for is lost, as datagrams are.
    public func sendDatagram(_ buffer: UnsafeRawBufferPointer) throws(SystemError) {
        while true {
            if Glibc.send(fd, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL)) >= 0 { return }
            if errno != EINTR { throw SystemError.last("send") }
        }
    }
}

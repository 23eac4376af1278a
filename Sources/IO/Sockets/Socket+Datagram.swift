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

    /// Sends one datagram to the peer of a connected socket; what the kernel has no room for is lost, as datagrams are.
    public func sendDatagram(_ buffer: UnsafeRawBufferPointer) throws(SystemError) {
        while true {
            if Glibc.send(fd, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL)) >= 0 { return }
            if errno != EINTR { throw SystemError.last("send") }
        }
    }
}

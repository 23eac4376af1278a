import EnvoyAPI
import Glibc
import IO
import Testing
import Upstream

@testable import Proxy

@Suite("Listeners: socket options by number")
struct SocketOptionTests {
    private func config(_ options: [EnvoyAPI.SocketOption], port: UInt32 = 0) throws -> ListenerConfig {
        var socket = EnvoyAPI.SocketAddress()
        socket.address = "127.0.0.1"
        socket.portSpecifier = .portValue(port)
        var address = Address()
        address.address = .socketAddress(socket)
        var listener = Listener()
        listener.name = "l"
        listener.address = address
        listener.useOriginalDst = true
        listener.socketOptions = options
        return try ListenerConfig(
            compiling: listener, at: "listener", context: CompileContext(secrets: SecretStore()))
    }

    private func option(
        _ level: Int64, _ name: Int64, _ value: Int64, _ state: EnvoyAPI.SocketOption.SocketState = .statePrebind
    ) -> EnvoyAPI.SocketOption {
        var option = EnvoyAPI.SocketOption()
        option.level = level
        option.name = name
        option.value = .intValue(value)
        option.state = state
        return option
    }

    // SOL_SOCKET 1, SO_KEEPALIVE 9; IPPROTO_TCP 6, TCP_KEEPIDLE 4, TCP_KEEPINTVL 5, TCP_KEEPCNT 6.
    @Test("keep-alive of accepted connections is what the listener's options say")
    func keepAlive() async throws {
        let config = try config([option(1, 9, 1), option(6, 4, 77, .stateBound), option(6, 6, 5, .stateListening)])
        try await onLoop { loop in
            let listening = try config.openSocket(config.addresses[0], on: config.address)
            defer { listening.close() }
            let client = try Socket.connect(to: try #require(listening.localAddress))
            defer { client.close() }
            var accepted: Socket?
            let deadline = loop.now + .seconds(30)
            while accepted == nil, loop.now < deadline {
                accepted = try listening.accept()
                await loop.sleep(for: .milliseconds(5))
            }
            let socket = try #require(accepted)
            let fd = socket.release()
            defer { close(fd) }
            func option(_ level: Int32, _ name: Int32) -> Int32 {
                var (value, size) = (Int32(-1), socklen_t(4))
                return getsockopt(fd, level, name, &value, &size) == 0 ? value : -1
            }
            #expect(option(1, 9) == 1 && option(6, 4) == 77 && option(6, 6) == 5)
        }
    }

    @Test("options for another kind of socket, or another family, are passed over")
    func others() throws {
        var datagram = option(1, 9, 1)
        datagram.type = EnvoyAPI.SocketOption.SocketType()
        datagram.type?.datagram = .init()
        var six = option(1, 9, 1)
        six.ipVersion = .ipv6
        let config = try config([datagram, six])
        #expect(config.addresses[0].options(on: config.address).isEmpty)
    }

    @Test("what the kernel refuses, or cannot be meant, is told with its place")
    func refused() throws {
        let unknown = try config([option(1, 9, 1), option(1, 9999, 1)])
        let error = #expect(throws: SystemError.self) {
            try unknown.openSocket(unknown.addresses[0], on: unknown.address).close()
        }
        #expect(error?.description.contains("listener.socket_options[1]") == true)
        let wide = #expect(throws: ConfigurationError.self) { try config([option(1, 9, 1 << 40)]) }
        #expect(wide?.path == "listener.socket_options[0].int_value")
        var empty = option(1, 9, 1)
        empty.value = nil
        #expect(throws: ConfigurationError.self) { try config([empty]) }
    }
}

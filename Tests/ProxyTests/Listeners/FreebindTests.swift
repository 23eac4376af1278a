import EnvoyAPI
import IO
import Testing

@testable import Proxy

@Suite("Listeners: addresses that no interface has")
struct FreebindTests {
    /// A listener on an address of documentation (RFC 5737), which nobody has.
    private func config(freebind: Bool?) throws -> ListenerConfig {
        var socket = EnvoyAPI.SocketAddress()
        socket.address = "192.0.2.77"
        socket.portSpecifier = .portValue(0)
        var address = Address()
        address.address = .socketAddress(socket)
        var listener = Listener()
        listener.name = "elsewhere"
        listener.address = address
        listener.freebind = freebind
        listener.useOriginalDst = true
        return try ListenerConfig(
            compiling: listener, at: "listener", context: CompileContext(secrets: SecretStore()))
    }

    @Test("freebind lets a listener bind to an address before an interface has it")
    func freebind() throws {
        let config = try config(freebind: true)
        let socket = try config.openSocket(config.addresses[0], on: config.address)
        defer { socket.close() }
        #expect("\(try #require(socket.localAddress))".hasPrefix("192.0.2.77:"))
        let datagram = try Socket.datagram(on: config.address, freebind: true)
        datagram.close()
    }

    @Test("without it the address is refused", arguments: [nil, false])
    func refused(freebind: Bool?) throws {
        let config = try config(freebind: freebind)
        #expect(throws: SystemError.self) { try config.openSocket(config.addresses[0], on: config.address).close() }
    }
}

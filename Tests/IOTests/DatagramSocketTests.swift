import IO
import Testing

@Suite("Datagram sockets")
struct DatagramSocketTests {
    @Test("a port that the kernel chose is shared with those who ask for it by number, and with nobody else")
    func chosenPort() throws {
        let loopback = IPAddress.v4(0x7F00_0001)
        // Of so many sockets that set SO_REUSEPORT before they are bound, six would share a port with another one.
        var sockets: [Socket] = []
        defer { for socket in sockets { socket.close() } }
        for _ in 0..<600 { sockets.append(try Socket.datagram(on: .ip(loopback, port: 0), reusePort: true)) }
        let ports = Set(sockets.compactMap { $0.localAddress?.port })
        #expect(ports.count == 600)
        let chosen = try #require(sockets.first?.localAddress)
        sockets.append(try Socket.datagram(on: chosen, reusePort: true))
        #expect(throws: SystemError.self) { try Socket.datagram(on: chosen) }
    }
}

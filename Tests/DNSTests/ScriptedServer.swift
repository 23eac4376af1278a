import IO
import Synchronization
import Testing

@testable import DNS

/// A DNS server that answers as told, on 127.0.0.1, UDP and TCP at one port.
final class ScriptedServer: ReadinessHandler, @unchecked Sendable {
    let address: SocketAddress
    let asked = Mutex<[String]>([])
    private let datagrams: Socket
    private let loop: EventLoop
    private var registration: Registration?
    private let answer: @Sendable (DNSMessage, _ byTCP: Bool) -> [[UInt8]]

    init(on loop: EventLoop, _ answer: @escaping @Sendable (DNSMessage, _ byTCP: Bool) -> [[UInt8]]) throws {
        let (datagrams, streams) = try Self.pair()
        self.datagrams = datagrams
        address = try #require(datagrams.localAddress)
        self.loop = loop
        self.answer = answer
        registration = try loop.register(datagrams.fd, self)
        let listener = try SocketListener(streams, on: loop)
        Task(executorPreference: loop) { await self.accept(listener) }
    }

    /// Sockets of both kinds at one port: that of the one may be somebody else's of the other.
    private static func pair() throws -> (Socket, Socket) {
        var last: SystemError?
        for _ in 0..<100 {
            let datagrams = try Socket.datagram(on: .ip(.v4(0x7F00_0001), port: 0))
            do throws(SystemError) {
                guard let address = datagrams.localAddress else { throw SystemError(98, "a port") }
                return (datagrams, try Socket.listen(on: address))
            } catch {
                last = error
                datagrams.close()
            }
        }
        throw last ?? SystemError(98, "a port")
    }

    func ready(_ readiness: Readiness) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while let received = buffer.withUnsafeMutableBytes({ space in try? datagrams.receive(into: space) }) {
            guard let from = received.from else { continue }
            for bytes in answers(Array(buffer[..<received.count]), false) {
                bytes.withUnsafeBytes { _ = try? datagrams.send($0, to: from) }
            }
        }
    }

    private func accept(_ listener: SocketListener) async {
        while let socket = try? await listener.accept(), let stream = try? SocketStream(socket, on: loop) {
            if let query = await readFramed(stream) {
                for bytes in answers(query, true) {
                    try? await stream.write([UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes)
                }
            }
            stream.close()
        }
    }

    private func answers(_ bytes: [UInt8], _ byTCP: Bool) -> [[UInt8]] {
        guard let query = try? DNSMessage(parsing: bytes), let question = query.questions.first else { return [] }
        // Forwarders ask in random letters.
        let name = "\(question.name)".lowercased()
        asked.withLock { $0.append("\(name) \(question.type)\(byTCP ? " tcp" : "")") }
        return answer(query, byTCP)
    }
}

func configuration(_ servers: SocketAddress...) -> ResolverConfiguration {
    var configuration = ResolverConfiguration(servers: servers)
    // Long where somebody answers: a busy machine takes its time.
    configuration.timeout = .seconds(10)
    return configuration
}

/// For servers that are silent on purpose.
func impatient(_ servers: SocketAddress...) -> ResolverConfiguration {
    var configuration = ResolverConfiguration(servers: servers)
    configuration.timeout = .milliseconds(200)
    return configuration
}

func addressAnswer(_ query: DNSMessage, _ addresses: [IPAddress], ttl: UInt32 = 60) -> DNSMessage {
    var response = query.response(.success)
    guard let question = query.questions.first else { return response }
    response.answers = addresses.filter { $0.isV6 == (question.type == .aaaa) }.map {
        Record(name: question.name, ttl: ttl, value: .address($0))
    }
    return response
}

/// A UDP and a TCP socket of one port; a port that is free for one may be somebody's for the other.
func samePort() throws -> (Socket, Socket) {
    for _ in 0..<100 {
        let datagrams = try Socket.datagram(on: .ip(.v4(0x7F00_0001), port: 0))
        let address = try #require(datagrams.localAddress)
        if let streams = try? Socket.listen(on: address) { return (datagrams, streams) }
    }
    throw SystemError(98, "no port that is free for UDP and TCP")
}

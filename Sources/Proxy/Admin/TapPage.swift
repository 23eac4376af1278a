internal import HTTP
internal import IO
internal import Serialization
internal import Synchronization

/// The admin page `/tap`: requests that match, one JSON object in a line, as they end, until whoever asks goes.
enum TapPage {
    /// Who looks at present.
    private static let sessions = Mutex(0)
    /// How often lines are sent.
    private static let interval = Duration.milliseconds(100)
    /// How often it is said that nothing happened: so that a peer that is gone is noticed.
    private static let ticksOfSilence = 50

    static func answer(_ proxy: ProxyServer, _ query: [(name: String, value: String)]) -> HTTPResponse {
        let filter: TapFilter
        do throws(TapFilter.Refusal) { filter = try TapFilter(query) } catch {
            return HTTPResponse(status: 400, text: error.message + "\n")
        }
        let mayEnter = sessions.withLock { count in
            guard count < Limits.tapSessions else { return false }
            count += 1
            return true
        }
        guard mayEnter else {
            return HTTPResponse(status: 503, text: "\(Limits.tapSessions) look at this proxy already\n")
        }
        let session = TapSession(filter, key: (0..<16).map { _ in UInt8.random(in: 0 ... .max) })
        let (workers, loop) = (proxy.workers, proxy.loop)
        return .stream(contentType: "application/x-ndjson") { writer throws(HTTPError) in
            for worker in workers { worker.send { $0.begin(session) } }
            defer {
                for worker in workers { worker.send { $0.end(session) } }
                sessions.withLock { $0 -= 1 }
            }
            // The head is there at once: who waits for it knows that nothing is missed from now on.
            var told: UInt64 = 0
            var silence = 0
            try await writer.write("{\"tap\":\"begun\"}\n")
            while !Task.isCancelled, !writer.isClientGone {
                await loop.sleep(for: interval)
                var (lines, dropped) = session.drain()
                if dropped > told {
                    told = dropped
                    lines += Array("{\"dropped\":\(dropped)}\n".utf8)
                }
                silence = lines.isEmpty ? silence + 1 : 0
                if silence >= ticksOfSilence {
                    silence = 0
                    lines = [0x0A]
                }
                try await writer.write(lines)
            }
        }
    }
}

import IO
import Telemetry

// UDP.
extension DNSServer {
    /// How many batches of one socket are handled before the loop's others have their turn.
    private static let batchesPerTurn = 8

    /// What a batch has counted: told once for all of them.
    private struct Tally {
        var queries: UInt64 = 0
        var codes: (UInt64, UInt64, UInt64) = (0, 0, 0)
        var limited: UInt64 = 0
        var denied: UInt64 = 0

        /// Of a ready answer: NOERROR, NXDOMAIN, another.
        mutating func ready(_ code: UInt8) {
            queries += 1
            switch code {
            case 0: codes.0 += 1
            case 3: codes.1 += 1
            default: codes.2 += 1
            }
        }

        func tell(_ counts: DNSCounts) {
            if queries > 0 {
                counts.datagrams.add(queries)
                counts.fromReady.add(queries)
                counts.successes.add(codes.0)
                counts.nameErrors.add(codes.1)
                counts.otherAnswers.add(codes.2)
            }
            if denied > 0 {
                counts.datagrams.add(denied)
                counts.fromZone.add(denied)
                counts.nameErrors.add(denied)
            }
            if limited > 0 {
                counts.datagrams.add(limited)
                counts.limited.add(limited)
                counts.refusals.add(limited)
            }
        }
    }

    final class DatagramSource: ReadinessHandler {
        private let socket: Socket
        private unowned let server: DNSServer
        private var registration: Registration?

        init(_ socket: Socket, _ server: DNSServer) throws(SystemError) {
            self.socket = socket
            self.server = server
            registration = try server.loop.register(socket.fd, self)
        }

        func ready(_ readiness: Readiness) {
            let batch = server.batch
            for _ in 0..<DNSServer.batchesPerTurn {
                guard registration != nil else { return }
                // An error is of one datagram (its sender is unreachable); others may wait behind it.
                guard (try? batch.receive(from: socket)) != nil else { continue }
                guard batch.count > 0 else { return }
                var tally = Tally()
                for index in 0..<batch.count { answer(index, batch, &tally) }
                guard registration != nil else { return }
                let lost = batch.flush(to: socket)
                if lost > 0 { server.counts.unsent.add(UInt64(lost)) }
                tally.tell(server.counts)
                // Less than there was room for: the kernel has said that there is no more.
                if batch.count < DatagramBatch.capacity { return }
            }
            // More may wait, and the edge does not come again.
            _ = server.loop.schedule(after: .zero) { [self] in ready(.readable) }
        }

        private func answer(_ index: Int, _ batch: DatagramBatch, _ tally: inout Tally) {
            let datagram = batch[index]
            let plain = batch.isCut(index) ? nil : PlainQuery(datagram, seed: server.ready.seed)
            guard server.limits.allows(batch.sourceKey(index), now: server.loop.now) else {
                tally.limited += 1
                // Who sends something else gets nothing.
                if let plain { batch.answer(index) { Self.refuse(datagram, plain, into: $0) } }
                return
            }
            if let plain, !server.queryLog.isOn {
                var code: UInt8 = 0
                let isAnswered = batch.answer(index) { space in
                    let limit = min(plain.datagramSize ?? 512, DNSServer.datagramMax)
                    let count = server.ready.write(plain, datagram, into: space, limit: limit, now: server.loop.now)
                    code = space[3] & 0x0F
                    return count
                }
                if isAnswered { return tally.ready(code) }
                if batch.answer(index, { server.deny(plain, datagram, into: $0) }) {
                    tally.denied += 1
                    return
                }
            }
            guard let client = batch.source(index) else { return }
            var isNow = true
            server.handle(Array(datagram), limit: nil, from: client, plain: plain) { [self] answer in
                guard let answer, registration != nil else { return }
                if isNow, answer.count <= DatagramBatch.sentBytesMax {
                    batch.answer(index) { space in
                        answer.withUnsafeBytes { space.copyMemory(from: $0) }
                        return answer.count
                    }
                    return
                }
                // A client that cannot be reached, or a full buffer: it will ask again.
                if answer.withUnsafeBytes({ try? socket.send($0, to: client) }) == nil { server.counts.unsent.add() }
            }
            isNow = false
        }

        /// Writes REFUSED to a query: its header and its question.
        private static func refuse(
            _ datagram: UnsafeRawBufferPointer, _ plain: PlainQuery, into space: UnsafeMutableRawBufferPointer
        ) -> Int {
            let count = PlainQuery.questionStart + plain.questionLength
            space.copyMemory(from: UnsafeRawBufferPointer(rebasing: datagram[..<count]))
            space[2] = 0x80 | datagram[2] & 1
            space[3] = ResponseCode.refused.rawValue
            for index in 6..<12 { space[index] = 0 }
            return count
        }

        func close() {
            registration?.cancel()
            registration = nil
            socket.close()
        }
    }
}

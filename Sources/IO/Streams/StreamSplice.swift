/// Carries bytes between two streams in both directions.
public enum StreamSplice {
    /// Bytes of one step.
    private static let pieceBytes = 64 * 1024

    /// Carries until either stream ends or fails; both are closed then.
    ///
    /// Nothing is kept: each direction reads when what it read before has been taken.
    ///
    /// - Parameter rest: what was read of `one` already.
    public static func run(
        _ one: any ByteStream, _ other: any ByteStream, rest: [UInt8] = [], on loop: EventLoop
    ) async {
        let back = Task(executorPreference: loop) { await carry(other, one, []) }
        await carry(one, other, rest)
        await back.value
    }

    private static func carry(_ from: any ByteStream, _ to: any ByteStream, _ rest: [UInt8]) async {
        defer {
            from.close()
            to.close()
        }
        do throws(SystemError) {
            if !rest.isEmpty { try await to.write(rest) }
            while true {
                let piece = try await from.read(upTo: pieceBytes)
                guard !piece.isEmpty else { return }
                try await to.write(piece)
            }
        } catch {
            // The other end says so by ending, too.
        }
    }
}

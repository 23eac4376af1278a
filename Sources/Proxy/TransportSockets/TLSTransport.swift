internal import IO
internal import TLS

/// The TLS part of a socket connection: its engine, and bytes of the wire on their way.
///
/// Loop-owned. Both buffers are empty, and hold no block, whenever nothing is on its way.
final class TLSTransport {
    let engine: TLSEngine
    /// Bytes of the peer that the engine has not taken yet.
    let wireInput: ByteBuffer
    /// Records that the kernel has not taken yet.
    let wireOutput: ByteBuffer
    /// How many bytes at the start of the connection's `output` are sealed and in `wireOutput` already.
    ///
    /// They stay in `output` until the kernel has their records, so that `output` tells what is unsent with and without TLS.
    var sealedBytes = 0

    init(_ engine: TLSEngine, pool: BlockPool) {
        self.engine = engine
        wireInput = ByteBuffer(pool: pool)
        wireOutput = ByteBuffer(pool: pool)
    }

    /// What a look at the wire gave.
    enum Opened {
        case bytes, needsInput, end
        case failed(TLSError)
    }

    /// Decrypts everything in `wireInput` to the end of `plain`.
    func open(into plain: ByteBuffer) -> Opened {
        var hasBytes = false
        while true {
            // Room for a record's plain bytes and what is decrypted along with it: mostly once and for all.
            let room = plain.room(max(Limits.readMinimumBytes, wireInput.count))
            var taken = 0
            do throws(TLSError) {
                let result = try engine.open(wireInput.bytes, taken: &taken, into: room)
                wireInput.consume(taken)
                switch result {
                case .bytes(let count):
                    plain.commit(count)
                    hasBytes = true
                    // A full room may have left something behind.
                    if count == room.count { continue }
                    return .bytes
                case .needsInput:
                    plain.commit(0)
                    return hasBytes ? .bytes : .needsInput
                case .end:
                    plain.commit(0)
                    return hasBytes ? .bytes : .end
                }
            } catch {
                wireInput.removeAll()
                plain.commit(0)
                return hasBytes ? .bytes : .failed(error)
            }
        }
    }

    /// Seals bytes of the connection's output.
    func seal(_ plain: UnsafeRawBufferPointer) throws(TLSError) {
        takeOutput()
        let room = wireOutput.room(TLSEngine.sealedBytesMax(plain.count))
        do throws(TLSError) {
            wireOutput.commit(try engine.seal(plain, into: room))
        } catch {
            wireOutput.commit(0)
            throw error
        }
        takeOutput()
    }

    /// Says that nothing more will be written.
    func shutdown() { engine.shutdown() }

    /// Whether the peer's end of the socket came without TLS's own end: somebody may have cut it off.
    var wasCutOff: Bool { !engine.endsNext }

    /// Moves what the engine says of its own accord (handshake, alerts, key updates) to `wireOutput`.
    func takeOutput() {
        guard engine.hasOutput else { return }
        engine.takeOutput { wireOutput.append($0) }
    }
}

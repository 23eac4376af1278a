internal import IO
internal import TLS
internal import Upstream

extension SocketConnection {
    /// Most plain bytes that are sealed ahead of the kernel.
    private static let sealedAheadBytes = 65_536
    private static let protocolError: Int32 = 71  // EPROTO

    /// `fill` through an engine: reads until there are plain bytes or nothing more to read.
    final func fill(_ tls: TLSTransport, _ socket: Socket) -> Filled {
        while true {
            if !tls.engine.endsNext {
                guard mayRead else { return .wouldBlock }
                let room = tls.wireInput.room(isStreaming ? BlockPool.largeBlockSize : Limits.readMinimumBytes)
                switch readOnce(socket, into: tls.wireInput, room) {
                case .bytes: break
                case let other: return other
                }
            }
            let opened = tls.open(into: input)
            // Answers of the engine's own: key updates, alerts.
            if tls.engine.hasOutput {
                tls.takeOutput()
                worker.markDirty(self)
            }
            switch opened {
            case .bytes:
                // What follows is known already, whatever the socket says.
                if tls.engine.endsNext { setMayRead(true) }
                return .bytes
            case .needsInput: continue
            case .end:
                setMayRead(false)
                return .end
            case .failed(let error):
                setMayRead(false)
                flushWire(tls, socket)
                return .failed(SystemError(Self.protocolError, error.description))
            }
        }
    }

    /// `flush` through an engine: one record and one call of the kernel for what was said during a turn.
    final func flush(_ tls: TLSTransport, _ socket: Socket) {
        while mayWrite {
            tls.takeOutput()
            if !tls.wireOutput.isEmpty {
                switch socket.write(tls.wireOutput.bytes) {
                case .bytes(let count):
                    let isShort = count < tls.wireOutput.count
                    tls.wireOutput.consume(count)
                    if isShort { return setMayWrite(false) }
                case .wouldBlock, .end: return setMayWrite(false)
                case .failed(let error): return failWriting(tls, error)
                }
            }
            output.consume(tls.sealedBytes)
            tls.sealedBytes = 0
            guard !output.isEmpty else { return handleFlushed() }
            let count = min(output.count, Self.sealedAheadBytes)
            do throws(TLSError) {
                try tls.seal(UnsafeRawBufferPointer(rebasing: output.bytes[..<count]))
            } catch {
                return failWriting(tls, SystemError(Self.protocolError, error.description))
            }
            tls.sealedBytes = count
            countSent(count)
        }
    }

    /// Seals and sends what was said before a close, as far as the kernel takes it.
    final func flushLast(_ tls: TLSTransport, _ socket: Socket) {
        flushWire(tls, socket)
        guard mayWrite, tls.wireOutput.isEmpty else { return }
        output.consume(tls.sealedBytes)
        tls.sealedBytes = 0
        let count = min(output.count, Self.sealedAheadBytes)
        guard count > 0,
            (try? tls.seal(UnsafeRawBufferPointer(rebasing: output.bytes[..<count]))) != nil
        else { return }
        countSent(count)
        flushWire(tls, socket)
    }

    private func failWriting(_ tls: TLSTransport, _ error: SystemError) {
        setMayWrite(false)
        tls.sealedBytes = 0
        tls.wireOutput.removeAll()
        output.removeAll()
        handleWriteFailure(error)
    }

    /// Hands records to the kernel as far as it takes them now; for what nobody waits for.
    final func flushWire(_ tls: TLSTransport, _ socket: Socket) {
        tls.takeOutput()
        guard mayWrite, !tls.wireOutput.isEmpty else { return }
        switch socket.write(tls.wireOutput.bytes) {
        case .bytes(let count):
            let isShort = count < tls.wireOutput.count
            tls.wireOutput.consume(count)
            if isShort { setMayWrite(false) }
        case .wouldBlock, .end, .failed: setMayWrite(false)
        }
    }

    /// Says something before the handshake, or before the first byte of a plain connection.
    final func sendPreface(_ bytes: [UInt8]) {
        if let tls {
            bytes.withUnsafeBytes { tls.wireOutput.append($0) }
        } else {
            output.append(bytes)
            worker.markDirty(self)
        }
    }

    /// The PROXY protocol header of a connection to a host, where its transport socket wants one.
    final func sendPreface(_ cluster: ClusterRuntime, _ host: Host, _ made: [UInt8]?, to address: SocketAddress) {
        guard let socket, let bytes = cluster.preface(host, made, socket, to: address) else { return }
        sendPreface(bytes)
    }

    /// What came of going on with a handshake.
    enum HandshakeStep {
        case done, pending
        /// Why, for a log and a transport failure reason.
        case failed(String)
    }

    /// Goes on with the handshake as far as the socket allows.
    ///
    /// Bytes behind the handshake are decrypted into `input` when it is done.
    final func stepHandshake(_ tls: TLSTransport) -> HandshakeStep {
        guard let socket else { return .failed("the connection is closed") }
        while true {
            var taken = 0
            do throws(TLSError) {
                let isDone = try tls.engine.handshake(taking: tls.wireInput.bytes, taken: &taken)
                tls.wireInput.consume(taken)
                flushWire(tls, socket)
                if isDone {
                    if !tls.wireInput.isEmpty { _ = tls.open(into: input) }
                    return .done
                }
            } catch {
                // The peer gets the alert that says why.
                tls.wireInput.removeAll()
                flushWire(tls, socket)
                return .failed(error.reason)
            }
            guard mayRead else { return .pending }
            let room = tls.wireInput.room(Limits.readMinimumBytes)
            switch readOnce(socket, into: tls.wireInput, room) {
            case .bytes: continue
            case .wouldBlock: return .pending
            case .end: return .failed("the peer closed the connection")
            case .failed(let error): return .failed(error.reason)
            }
        }
    }

    /// Ends our direction: TLS's own end first, so that the peer knows that nothing was cut off.
    final func shutdownWrite() {
        guard let socket else { return }
        if let tls {
            tls.shutdown()
            flushWire(tls, socket)
        }
        socket.shutdownWrite()
    }
}

internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Telemetry

// What the processor says, and what becomes of the message.
extension ExtProcFilter {
    func callReceived(_ message: [UInt8]) {
        guard let stream, !isOver, !stream.isFinished, !config.onlyObserves else { return }
        guard let response = try? ProcessingResponse(serialized: message) else {
            config.counters.failed.add(row: row)
            return fail(status: config.statusOnError, details: "ext_proc_error_gRPC_error_13")
        }
        if let timeout = response.overrideMessageTimeout { return overrideTimeout(timeout) }
        if case .object(let namespaces)? = response.dynamicMetadata {
            for (namespace, value) in namespaces where settings.namespaces.taken.contains(namespace) {
                var known = stream.info.metadata[namespace] ?? .object([:])
                for (key, member) in value.object ?? [:] { known[key] = member }
                stream.info.metadata[namespace] = known
            }
        }
        switch response.response {
        case .requestHeaders(let answer): headAnswered(request, answer.response, response.modeOverride)
        case .responseHeaders(let answer): headAnswered(self.response, answer.response, response.modeOverride)
        case .requestBody(let answer): bodyAnswered(request, answer.response)
        case .responseBody(let answer): bodyAnswered(self.response, answer.response)
        case .requestTrailers(let answer): trailersAnswered(request, answer.headerMutation)
        case .responseTrailers(let answer): trailersAnswered(self.response, answer.headerMutation)
        case .immediateResponse(let answer): answerImmediately(answer, stream)
        case nil: spurious()
        }
    }

    func callEnded(_ status: GRPCStatus) {
        guard !isOver else { return }
        config.counters.halfClosed.add(row: row)
        if config.onlyObserves {
            // Nothing waits for it: the rest is not told.
            if status.code != .ok { config.counters.failed.add(row: row) }
            config.counters.closed.add(row: row)
            isOver = true
            call = nil
            return
        }
        if status.code == .ok {
            // The processor has seen enough.
            config.counters.closed.add(row: row)
            call = nil
            guard request.isAway || response.isAway else { return passEverything() }
            // What it has not given back is lost: the message must not pass for whole.
            return fail(
                status: config.statusOnError, details: "ext_proc_error_stream_closed_before_end_of_stream", always: true
            )
        }
        config.counters.failed.add(row: row)
        if settings.allowsOnFailure {
            // As Envoy counts it: our end, too.
            config.counters.closed.add(row: row)
            config.counters.halfClosed.add(row: row)
        }
        let source = call?.endedByServer ?? false ? "{via_upstream}" : ""
        fail(
            status: config.statusOnError, details: "ext_proc_error_gRPC_error_\(status.code.rawValue)\(source)")
    }

    private func overrideTimeout(_ timeout: Duration) {
        let waiting = [request, response].first { !$0.expected.isEmpty }
        guard config.timeoutMax > .zero, timeout >= .milliseconds(1), timeout <= config.timeoutMax, let waiting,
            !waiting.timeoutIsOverridden
        else { return config.counters.timeoutIgnored.add(row: row) }
        waiting.timeoutIsOverridden = true
        config.counters.timeoutReceived.add(row: row)
        startTimer(waiting, timeout)
    }

    /// Takes an answer off the list; false when nobody waits for it.
    private func take(_ direction: ExtProcDirection) {
        direction.expected.removeFirst()
        direction.timeoutIsOverridden = false
        config.counters.received.add(row: row)
        if direction.expected.isEmpty || direction.isDuplex {
            direction.stopTimer()
        } else {
            startTimer(direction, config.timeout)
        }
    }

    /// - Parameter reason: What Envoy says of it beside.
    private func spurious(_ reason: String = "") {
        config.counters.spurious.add(row: row)
        fail(status: config.statusOnError, details: "spurious_message" + reason)
    }

    // MARK: Head

    private func headAnswered(
        _ direction: ExtProcDirection, _ answer: ExtProcCommonResponse?, _ override: ProcessingMode?
    ) {
        guard let stream, direction.expected.first == .head else { return spurious() }
        take(direction)
        let answer = answer ?? ExtProcCommonResponse()
        guard mutate(direction, answer.headerMutation) else { return rejected() }
        clearRoute(direction, answer)
        if let override { takeOverride(override, direction) }
        if answer.status == .continueAndReplace {
            direction.part = ExtProcPart(sendsHead: direction.part.sendsHead, body: .none, sendsTrailers: false)
            let bytes = replacement(answer.bodyMutation) ?? []
            setChunked(direction)
            stream.replaceHeld(direction.flow, self, first: .max, with: bytes)
            direction.dropsBody = !direction.hasEnded
            return stream.resume(direction.flow, self)
        }
        if direction.isBodyless { return stream.resume(direction.flow, self) }
        switch direction.part.body {
        case .none:
            guard direction.showsTrailers else { return stream.resume(direction.flow, self) }
            stream.passHead(direction.flow, self)
            sendTrailers(direction)
        case .streamed:
            removeLength(direction)
            stream.passHead(direction.flow, self)
            guard !stream.isFinished, !isOver else { return }
            sendPiece(direction, stream.held(direction.flow, self))
            if direction.showsTrailers, !isOver { sendTrailers(direction) }
        case .fullDuplex:
            removeLength(direction)
            stream.passHead(direction.flow, self)
            guard !stream.isFinished, !isOver else { return }
            // Where the processor has just chosen this mode, the body has waited for it.
            let waiting = stream.held(direction.flow, self)
            stream.replaceHeld(direction.flow, self, with: [])
            if !waiting.isEmpty || direction.hasEnded { sendDuplex(direction, waiting) }
        case .buffered, .bufferedPartial:
            let bytes = stream.held(direction.flow, self)
            if direction.hasEnded || (direction.part.body == .bufferedPartial && bytes.count >= Self.partialBytes) {
                sendCollected(direction, bytes)
            } else {
                stream.collect(direction.flow, self)
            }
        }
    }

    private func clearRoute(_ direction: ExtProcDirection, _ answer: ExtProcCommonResponse) {
        guard direction.flow == .request else {
            if answer.clearRouteCache { config.counters.routeIgnored.add(row: row) }
            return
        }
        switch config.routeAction {
        case .clear: stream?.clearRoute()
        case .retain: break
        case .disabled: if answer.clearRouteCache { config.counters.routeDisabled.add(row: row) }
        case .standard: if answer.clearRouteCache { stream?.clearRoute() }
        }
    }

    private func takeOverride(_ message: ProcessingMode, _ direction: ExtProcDirection) {
        guard config.allowsOverride, let wanted = mode.overridden(by: message) else { return }
        guard
            config.allowedModes.isEmpty
                || config.allowedModes.contains(where: {
                    var other = $0
                    other.request.sendsHead = wanted.request.sendsHead
                    return other == wanted
                })
        else { return }
        mode = wanted
        // Nothing of the request's body is under way before its head has been answered.
        if direction === request {
            request.part.body = stream?.request.isUpgrade ?? false ? .none : wanted.request.body
            request.part.sendsTrailers = wanted.request.sendsTrailers
        }
        if response.hasHead {
            response.part.body = wanted.response.body
            response.part.sendsTrailers = wanted.response.sendsTrailers
        } else {
            response.part = wanted.response
        }
    }

    // MARK: Body and trailers

    private func bodyAnswered(_ direction: ExtProcDirection, _ answer: ExtProcCommonResponse?) {
        if direction.isDuplex { return pieceAnswered(direction, answer) }
        guard let stream, case .body(let count, let isEnd)? = direction.expected.first else { return spurious() }
        if case .streamedResponse? = answer?.bodyMutation?.mutation { return spurious() }
        take(direction)
        let bytes = replacement(answer?.bodyMutation)
        guard direction.collects else {
            return stream.pass(direction.flow, self, count, as: bytes, isEnd: isEnd)
        }
        guard mutate(direction, answer?.headerMutation) else { return rejected() }
        if let bytes {
            stream.replaceHeld(direction.flow, self, first: count, with: bytes)
            changeLength(direction, from: count, to: bytes.count)
        }
        direction.isPartDone = true
        if direction.isWhole, direction.showsTrailers { return sendTrailers(direction) }
        stream.resume(direction.flow, self)
    }

    /// A piece of the body that takes the place of what was sent; how many there are of them is the processor's choice.
    private func pieceAnswered(_ direction: ExtProcDirection, _ answer: ExtProcCommonResponse?) {
        guard let stream, case .streamedResponse(let piece)? = answer?.bodyMutation?.mutation, direction.isAway,
            direction.expected.first != .head
        else {
            if case .streamedResponse? = answer?.bodyMutation?.mutation { return spurious() }
            return spurious(
                ":_Normal_body_mutation_response_is_received_while_body_mode__is_FULL_DUPLEX_STREAMED")
        }
        config.counters.received.add(row: row)
        let isEnd = piece.endOfStream && direction.endIsSent && direction.expected.isEmpty
        if isEnd || piece.endOfStream { direction.isAway = false }
        // The processor wants no more of the body: what still comes of it goes nowhere.
        if piece.endOfStream && !direction.endIsSent {
            direction.dropsBody = true
            direction.endIsSent = true
        }
        stream.pass(direction.flow, self, 0, as: piece.body, isEnd: isEnd)
    }

    private func trailersAnswered(_ direction: ExtProcDirection, _ mutation: ExtProcHeaderMutation?) {
        guard let stream, direction.expected.first == .trailers else { return spurious() }
        take(direction)
        let isRequest = direction.flow == .request
        var trailers = (isRequest ? stream.requestFilters.trailers : stream.responseFilters.trailers) ?? HeaderTable()
        guard let changes = changes(mutation) else { return rejected() }
        for change in changes { trailers.apply(change) }
        if isRequest { stream.requestFilters.trailers = trailers } else { stream.responseFilters.trailers = trailers }
        direction.isAway = false
        stream.resume(direction.flow, self)
    }

    /// The body that takes the place of the one sent; nil leaves it.
    private func replacement(_ mutation: BodyMutation?) -> [UInt8]? {
        switch mutation?.mutation {
        case .body(let bytes): bytes
        case .clearBody(let clears): clears ? [] : nil
        case .streamedResponse, nil: nil
        }
    }

    // MARK: Fields

    /// The changes that the rules let pass; nil when one of them makes the whole answer unusable.
    private func changes(_ mutation: ExtProcHeaderMutation?) -> [FieldChange]? {
        guard let mutation else { return [] }
        var wanted = mutation.removeHeaders.map { FieldChange($0, [], .remove) }
        wanted += mutation.setHeaders.compactMap(\.change)
        var allowed: [FieldChange] = []
        for change in wanted {
            switch config.rules.judge(change) {
            case .allowed: allowed.append(change)
            case .ignored: config.counters.rejected.add(row: row)
            case .refused:
                config.counters.rejected.add(row: row)
                return nil
            }
        }
        return allowed
    }

    private func mutate(_ direction: ExtProcDirection, _ mutation: ExtProcHeaderMutation?) -> Bool {
        guard let stream, let changes = changes(mutation) else { return false }
        if direction.flow == .request {
            for change in changes { stream.request.apply(change) }
            if changes.contains(where: \.removesLength), direction.part.body != .none { removeLength(direction) }
        } else if !changes.isEmpty {
            var headers = stream.response.headers
            for change in changes {
                if change.name == ":status" {
                    if let status = UInt16(String(decoding: change.value, as: UTF8.self)), (200...599).contains(status)
                    {
                        stream.response.status = status
                        stream.info.status = status
                    }
                } else {
                    headers.apply(change)
                }
            }
            stream.response.headers = headers
            if changes.contains(where: \.removesLength), direction.part.body != .none { removeLength(direction) }
        }
        return true
    }

    private func rejected() {
        fail(status: 500, details: "header_mutation_set_headers_failed", always: true)
    }

    private func framing(_ direction: ExtProcDirection) -> BodyFraming? {
        direction.flow == .request ? stream?.request.body : stream?.response.body
    }

    private func setLength(_ direction: ExtProcDirection, _ count: Int) {
        if direction.flow == .request {
            stream?.request.body = .length(count)
            try? stream?.request.headers.set(.contentLength, "\(count)")
        } else {
            stream?.response.body = .length(count)
            try? stream?.response.headers.set(.contentLength, "\(count)")
        }
    }

    private func changeLength(_ direction: ExtProcDirection, from old: Int, to new: Int) {
        // Where only the beginning is another one, what follows has the length that it had.
        guard case .length(let whole)? = framing(direction) else { return }
        setLength(direction, direction.isWhole ? new : max(whole - old, 0) + new)
    }

    /// Pieces may change their size.
    func removeLength(_ direction: ExtProcDirection) {
        if case .length? = framing(direction) { setChunked(direction) }
    }

    private func setChunked(_ direction: ExtProcDirection) {
        if direction.flow == .request {
            stream?.request.body = .chunked
            stream?.request.headers.remove(.contentLength)
        } else {
            stream?.response.body = .chunked
            stream?.response.headers.remove(.contentLength)
        }
    }

    // MARK: End

    private func answerImmediately(_ answer: ImmediateResponse, _ stream: HTTPStream) {
        guard !config.takesNoImmediateResponse else { return spurious() }
        config.counters.received.add(row: row)
        let code = answer.status?.code.rawValue ?? 200
        var headers = HeaderTable()
        for change in changes(answer.headers) ?? [] where change.action != .remove { headers.apply(change) }
        var fields: [(String, String)] = []
        for index in 0..<headers.count { fields.append((headers.nameText(at: index), headers.valueText(at: index))) }
        let details = String(answer.details.map { $0.isWhitespace ? "_" : $0 })
        reply(
            status: (200...599).contains(code) ? UInt16(code) : 200, body: answer.body, details: details,
            headers: fields, grpcStatus: answer.grpcStatus.map { Int($0.status) })
    }

    /// The processor is of no use: everything passes, or nothing does.
    func fail(status: UInt16, details: String, always: Bool = false) {
        guard !isOver else { return }
        if settings.allowsOnFailure && !always && !request.isAway && !response.isAway {
            config.counters.failureModeAllowed.add(row: row)
            close()
            return passEverything()
        }
        reply(status: status, body: [], details: details, headers: [], grpcStatus: nil)
    }

    private func reply(
        status: UInt16, body: [UInt8], details: String, headers: [(String, String)], grpcStatus: Int?
    ) {
        guard let stream else { return }
        // As Envoy: whatever answers in place of the message.
        config.counters.immediate.add(row: row)
        close()
        isOver = true
        answersItself = true
        request.stopTimer()
        response.stopTimer()
        stream.router?.abandon()
        stream.info.details = details
        stream.localReply(status: status, bytes: body, details: details, headers: headers, grpcStatus: grpcStatus)
    }

    private func close() {
        guard let call else { return }
        self.call = nil
        guard !call.isOver else { return }
        config.counters.closed.add(row: row)
        call.cancel()
    }

    private func passEverything() {
        isOver = true
        request.stopTimer()
        response.stopTimer()
        guard let stream else { return }
        stream.resumeRequest(self)
        stream.resumeResponse(self)
    }
}

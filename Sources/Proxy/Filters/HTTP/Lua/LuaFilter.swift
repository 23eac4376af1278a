internal import HTTP
internal import Lua
internal import Serialization
internal import Synchronization
internal import Telemetry

/// Runs a script on one request and its response.
final class LuaFilter: HTTPFilter {
    private let config: LuaHTTPFilterConfig
    private var request: LuaRun?
    private var response: LuaRun?
    /// The answer that each script waits for.
    private var requestCall: ClusterCall?
    private var responseCall: ClusterCall?

    private static let lastID = Atomic<UInt64>(0)

    init(_ config: LuaHTTPFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .requestBody, .responseHead, .responseBody]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        request = begin("envoy_on_request", stream, isRequest: true, isEnd: isEnd)
        return request.map { head($0, stream) } ?? .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        response = begin("envoy_on_response", stream, isRequest: false, isEnd: isEnd)
        return response.map { head($0, stream) } ?? .next
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        request.map { body($0, stream, &chunk, isEnd: isEnd) } ?? .next
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        response.map { body($0, stream, &chunk, isEnd: isEnd) } ?? .next
    }

    private func begin(_ function: String, _ stream: HTTPStream, isRequest: Bool, isEnd: Bool) -> LuaRun? {
        let (program, context) = config.program(stream)
        guard let program, isRequest ? program.hooksRequests : program.hooksResponses,
            stream.response.status != 101 || isRequest
        else { return nil }
        let row = stream.worker.index
        config.executions.add(row: row)
        guard let machine = program.machine(row),
            let thread = try? LuaThread(machine, starter: LuaPrelude.starter, function: function)
        else {
            config.errors.add(row: row)
            return nil
        }
        let id = Self.lastID.wrappingAdd(1, ordering: .relaxed).newValue
        return LuaRun(
            stream, config, thread: thread, id: Double(id), isRequest: isRequest, isEnd: isEnd, context: context)
    }

    private func head(_ run: LuaRun, _ stream: HTTPStream) -> FilterStep {
        go(run, stream)
        switch run.state {
        case .running, .finished, .waitsForChunk, .waitsForTrailers:
            run.headHasPassed = true
            return .next
        case .waitsForBody, .calls: return .stop
        case .responded:
            answer(run, stream)
            return .stop
        }
    }

    /// Lets the script go on, through calls that end at once.
    private func go(_ run: LuaRun, _ stream: HTTPStream) {
        run.advance(stream)
        while true {
            let calls = run.asynchronousCalls
            run.asynchronousCalls = []
            for call in calls { start(call, stream) { _ in } }
            guard run.state == .calls, let call = run.pendingCall else { return }
            run.pendingCall = nil
            var isStarting = true
            let started = start(call, stream) { [weak self, weak run, weak stream] answer in
                guard let self, let run, let stream, !stream.isFinished, run.state == .calls else { return }
                run.callAnswer = answer
                if !isStarting { self.callEnded(run, stream) }
            }
            isStarting = false
            guard run.callAnswer != nil else {
                if run.isRequest { requestCall = started } else { responseCall = started }
                return
            }
            run.advance(stream)
        }
    }

    @discardableResult
    private func start(
        _ call: LuaRun.Call, _ stream: HTTPStream, done: @escaping ((head: ResponseHead, body: [UInt8])) -> Void
    ) -> ClusterCall {
        var head = call.head
        let span = stream.span?.beginCall(to: call.cluster, stream, isSampled: call.isTraced)
        span?.inject(into: &head.headers)
        let started = ClusterCall(
            head, body: call.body, cluster: call.cluster, worker: stream.worker,
            options: ClusterCall.Options(timeout: call.timeout, span: span)
        ) { result in
            switch result {
            case .success(let answer): done((answer.head, answer.body))
            // Envoy's: scripts see a failed call as an answer.
            case .failure(let failed):
                let (status, text) = Self.answer(failed.reason)
                done((ResponseHead(status: status), Array(text.utf8)))
            }
        }
        started.start()
        return started
    }

    private static func answer(_ failure: CallFailure) -> (UInt16, String) {
        let reset = "upstream connect error or disconnect/reset before headers. reset reason: "
        switch failure {
        case .noHost: return (503, "no healthy upstream")
        case .overflow: return (503, reset + "overflow")
        case .connect: return (503, reset + "remote connection failure")
        case .reset: return (503, reset + "connection termination")
        case .timedOut: return (504, "upstream request timeout")
        case .noCluster, .tooLarge, .malformed: return (503, "upstream failure")
        }
    }

    private func callEnded(_ run: LuaRun, _ stream: HTTPStream) {
        if run.isRequest { requestCall = nil } else { responseCall = nil }
        go(run, stream)
        guard !stream.isFinished else { return }
        switch run.state {
        case .calls: return
        case .responded: return answer(run, stream)
        case .waitsForBody where !run.headHasPassed: return
        default: break
        }
        let flow: FilterDirection.Flow = run.isRequest ? .request : .response
        if !run.headHasPassed {
            run.headHasPassed = true
            let body = run.body
            run.body = []
            if !body.isEmpty { stream.replaceHeld(flow, self, with: body) }
        }
        stream.resume(flow, self)
    }

    private func body(_ run: LuaRun, _ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        if isEnd && run.headHasPassed && !run.body.isEmpty {
            // A message without a body got one.
            chunk.replace(with: run.body)
            run.body = []
        }
        if run.state == .finished && run.headHasPassed { return .next }
        run.sees(chunk.count)
        if isEnd { run.hasEnded = true }
        return run.headHasPassed ? pass(run, stream, &chunk, isEnd: isEnd) : collect(run, stream, &chunk, isEnd: isEnd)
    }

    /// The head waits for the script: the body is collected.
    private func collect(_ run: LuaRun, _ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        let flow: FilterDirection.Flow = run.isRequest ? .request : .response
        let limit = run.isRequest ? stream.requestFilters.heldBytesMax : stream.responseFilters.heldBytesMax
        guard run.body.count + chunk.count <= limit else {
            run.end()
            cancelCalls()
            stream.bodyTooLarge(flow)
            return .drop
        }
        run.body += chunk.copy
        guard isEnd else { return .drop }
        if run.state == .waitsForBody { go(run, stream) }
        if run.state == .waitsForTrailers { go(run, stream) }
        switch run.state {
        case .responded:
            answer(run, stream)
            return .drop
        case .calls:
            chunk.replace(with: [])
            return .hold
        default:
            run.headHasPassed = true
            chunk.replace(with: run.body)
            run.body = []
            return .next
        }
    }

    /// The head is gone: the script may look at each piece.
    private func pass(_ run: LuaRun, _ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        if run.state == .calls { return .hold }
        if run.state == .waitsForChunk {
            run.chunk = chunk.isEmpty && isEnd ? nil : chunk.copy
            run.changedChunk = nil
            run.chunkIsHeld = false
            go(run, stream)
            if let changed = run.changedChunk { chunk.replace(with: changed) }
        }
        if run.state == .waitsForTrailers && isEnd { go(run, stream) }
        guard run.state == .calls else { return .next }
        run.chunkIsHeld = true
        return .hold
    }

    private func answer(_ run: LuaRun, _ stream: HTTPStream) {
        guard let reply = run.reply else { return }
        run.end()
        stream.localReply(
            status: reply.status, bytes: reply.body, details: "lua_response", headers: reply.headers)
    }

    private func cancelCalls() {
        requestCall?.cancel()
        responseCall?.cancel()
        requestCall = nil
        responseCall = nil
    }

    func streamEnded(_ stream: HTTPStream) {
        cancelCalls()
        request?.end()
        response?.end()
        request = nil
        response = nil
    }
}

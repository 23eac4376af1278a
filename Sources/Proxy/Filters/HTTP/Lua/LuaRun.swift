internal import HTTP
internal import Lua
internal import Serialization
internal import Telemetry
internal import Upstream

/// One function of a script at work on one message: the request or the response.
final class LuaRun: LuaHost {
    enum State { case running, waitsForBody, waitsForChunk, waitsForTrailers, calls, responded, finished }

    /// A call that the script asked for.
    struct Call {
        var head: RequestHead
        var cluster: String
        var body: [UInt8]
        var timeout: Duration?
        /// What the script says about tracing it; nil: as the request.
        var isTraced: Bool?
    }

    let id: Double
    let isRequest: Bool
    let config: LuaHTTPFilterConfig
    let filterContext: JSON?
    private(set) var thread: LuaThread?
    weak var stream: HTTPStream?
    var state = State.running
    /// The head has gone on: it can no longer be changed, and nothing can be answered.
    var headHasPassed = false
    /// No more of the body comes.
    var hasEnded: Bool
    private(set) var hasSeenBody = false
    /// The body as far as it came, until the head has gone on.
    var body: [UInt8] = []
    /// The piece that the script looks at.
    var chunk: [UInt8]?
    /// What the script put in its place.
    var changedChunk: [UInt8]?
    /// The piece waits for a call: it can no longer be changed.
    var chunkIsHeld = false
    var pendingCall: Call?
    var callAnswer: (head: ResponseHead, body: [UInt8])?
    /// Calls for whose answers nobody waits.
    var asynchronousCalls: [Call] = []
    private var asynchronousCount = 0
    var reply: (status: UInt16, headers: [(String, String)], body: [UInt8])?

    init(
        _ stream: HTTPStream, _ config: LuaHTTPFilterConfig, thread: LuaThread, id: Double, isRequest: Bool,
        isEnd: Bool, context: JSON?
    ) {
        self.stream = stream
        self.config = config
        self.thread = thread
        self.id = id
        self.isRequest = isRequest
        hasEnded = isEnd
        filterContext = context
    }

    /// Lets the script go on; it ends by itself, by an error, or waits.
    func advance(_ stream: HTTPStream) {
        guard state != .finished, let thread else { return }
        state = .running
        switch thread.resume(self) {
        case .finished: end()
        case .yielded:
            if state == .running { fail("script performed an unexpected yield", stream) }
        case .failed(let error): fail(error.description, stream)
        }
    }

    private func fail(_ text: String, _ stream: HTTPStream) {
        config.errors.add(row: stream.worker.index)
        LuaProgram.log.error("script: \(text)")
        end()
    }

    func end() {
        state = .finished
        thread = nil
        pendingCall = nil
    }

    /// A piece of the body has come.
    func sees(_ bytes: Int) { if bytes > 0 { hasSeenBody = true } }

    // MARK: What scripts ask

    func call(_ operation: Int, _ arguments: [LuaValue]) -> LuaAnswer {
        guard let operation = LuaOperation(rawValue: operation), let stream else {
            return .failure("the request is over")
        }
        switch operation {
        case .begin: return .values([.number(id)])
        case .log: return log(arguments)
        case .verify, .isKey, .base64, .unbase64, .timestamp: return LuaTools.call(operation, arguments)
        default: break
        }
        // A script may keep an object beyond its time.
        guard arguments.first?.number == id else { return .failure("object used outside of proper scope") }
        let rest = Array(arguments.dropFirst())
        switch operation {
        case .body, .bodyLength, .bodyBytes, .setBody, .beginChunks, .nextChunk, .hasChunk, .trailers:
            return body(operation, rest, stream)
        case .httpCall: return startCall(rest, stream)
        case .callResult: return callResult(rest)
        case .respond: return respond(rest)
        case .metadata, .filterContext, .info, .getDynamic, .setDynamic, .filterState, .hasTLS, .tls, .clearRoute:
            return facts(operation, rest, stream)
        default: return headers(operation, rest, stream)
        }
    }

    private func log(_ arguments: [LuaValue]) -> LuaAnswer {
        let text = arguments.last?.string ?? ""
        switch arguments.first?.number ?? 3 {
        case ..<3: LuaProgram.log.debug("script log: \(text)")
        case 3: LuaProgram.log.info("script log: \(text)")
        case 4: LuaProgram.log.warning("script log: \(text)")
        default: LuaProgram.log.error("script log: \(text)")
        }
        return .values([])
    }

    // MARK: Body

    private func body(_ operation: LuaOperation, _ arguments: [LuaValue], _ stream: HTTPStream) -> LuaAnswer {
        switch operation {
        case .body:
            if headHasPassed && hasSeenBody {
                return .failure("cannot call body() after body streaming has started")
            }
            if hasEnded { return .values([.number(body.isEmpty && !hasSeenBody ? 0 : 2)]) }
            if headHasPassed { return .failure("cannot call body() after the headers have been continued") }
            state = .waitsForBody
            return .values([.number(1)])
        case .beginChunks:
            return hasSeenBody
                ? .failure("cannot call bodyChunks after body processing has begun") : .values([])
        case .nextChunk:
            chunk = nil
            if hasEnded { return .values([.number(0)]) }
            state = .waitsForChunk
            return .values([.number(1)])
        case .hasChunk: return .values([.bool(chunk != nil)])
        case .trailers:
            guard hasEnded else {
                state = .waitsForTrailers
                return .values([.number(1)])
            }
            let has = (isRequest ? stream.requestFilters.trailers : stream.responseFilters.trailers) != nil
            return .values([.number(has ? 2 : 0)])
        default: return bytes(operation, arguments, stream)
        }
    }

    private func bytes(_ operation: LuaOperation, _ arguments: [LuaValue], _ stream: HTTPStream) -> LuaAnswer {
        let isChunk = arguments.first?.isTrue ?? false
        guard let bytes = isChunk ? chunk : body else { return .failure("the piece of the body is gone") }
        switch operation {
        case .bodyLength: return .values([.number(Double(bytes.count))])
        case .bodyBytes:
            guard arguments.count >= 3, let from = arguments[1].number, let count = arguments[2].number,
                from >= 0, count >= 0, from + count <= Double(bytes.count)
            else { return .failure("index/length must be >= 0 and (index + length) must be <= buffer size") }
            return .values([.text(Array(bytes[Int(from)..<(Int(from) + Int(count))]))])
        default:
            guard arguments.count >= 2, let new = arguments[1].bytes else { return .failure("string expected") }
            if isChunk {
                guard !chunkIsHeld else { return .failure("the piece can no longer be changed") }
                chunk = new
                changedChunk = new
            } else {
                guard !headHasPassed else { return .failure("the body can no longer be changed") }
                body = new
                setLength(new.count, stream)
            }
            return .values([.number(Double(new.count))])
        }
    }

    private func setLength(_ count: Int, _ stream: HTTPStream) {
        if isRequest {
            stream.request.body = .length(count)
            try? stream.request.headers.set(.contentLength, String(count))
        } else {
            stream.response.body = .length(count)
            try? stream.response.headers.set(.contentLength, String(count))
        }
    }

    // MARK: Calls and answers

    private func startCall(_ arguments: [LuaValue], _ stream: HTTPStream) -> LuaAnswer {
        guard arguments.count >= 5, let cluster = arguments[0].string, let timeout = arguments[1].number else {
            return .failure("httpCall: wrong arguments")
        }
        guard stream.worker.cluster(named: cluster) != nil else {
            return .failure("http call cluster invalid. Must be configured")
        }
        var head = RequestHead()
        var names: Set<String> = []
        for index in stride(from: 5, to: arguments.count - 1, by: 2) {
            guard let name = arguments[index].bytes, let value = arguments[index + 1].bytes else { continue }
            let text = String(decoding: name, as: UTF8.self).lowercased()
            names.insert(text)
            do throws(HTTPFieldError) {
                switch text {
                case ":path": try head.setPath(value.span.bytes)
                case ":method": try head.setMethod(token: value.span.bytes)
                case ":authority", "host":
                    names.insert(":authority")
                    try head.setAuthority(value.span.bytes)
                case ":scheme": break
                case "content-length", "transfer-encoding", "connection", "upgrade": break
                default: try head.headers.append(name.span.bytes, value.span.bytes)
                }
            } catch {
                return .failure("\(error)")
            }
        }
        guard names.isSuperset(of: [":path", ":method", ":authority"]) else {
            return .failure("http call headers must include ':path', ':method', and ':authority'")
        }
        let body = arguments[3].bytes ?? []
        if arguments[3] != .none {
            head.body = .length(body.count)
            head.headers.append(.contentLength, number: body.count)
        }
        let isAsynchronous = arguments[2].isTrue
        let milliseconds = Int(min(timeout, 86_400_000))
        // As for Envoy's own calls.
        try? head.headers.set(.xEnvoyInternal, "true")
        if milliseconds > 0 { try? head.headers.set(.xEnvoyExpectedRqTimeoutMs, String(milliseconds)) }
        let call = Call(
            head: head, cluster: cluster, body: body,
            timeout: milliseconds > 0 ? .milliseconds(milliseconds) : isAsynchronous ? CallLimits.timeout : nil,
            isTraced: arguments[4] == .none ? nil : arguments[4].isTrue)
        if isAsynchronous {
            guard asynchronousCount < LuaLimits.asynchronousCalls else {
                return .failure("more than \(LuaLimits.asynchronousCalls) asynchronous calls")
            }
            asynchronousCount += 1
            asynchronousCalls.append(call)
        } else {
            state = .calls
            pendingCall = call
        }
        return .values([])
    }

    private func callResult(_ arguments: [LuaValue]) -> LuaAnswer {
        guard let answer = callAnswer else { return .failure("there is no answer") }
        callAnswer = nil
        let keepsAll = arguments.first?.isTrue ?? false
        var values: [String: [[UInt8]]] = [":status": [Array(String(answer.head.status).utf8)]]
        for index in 0..<answer.head.headers.count {
            values[answer.head.headers.nameText(at: index), default: []].append(
                [UInt8](copying: answer.head.headers.value(at: index)))
        }
        var table: [LuaValue] = []
        for (name, all) in values.sorted(by: { $0.key < $1.key }) {
            guard let last = all.last else { continue }
            table.append(.string(name))
            table.append(keepsAll && all.count > 1 ? .list(all.map { .text($0) }) : .text(last))
        }
        return .values([.table(table), answer.body.isEmpty ? .none : .text(answer.body)])
    }

    private func respond(_ arguments: [LuaValue]) -> LuaAnswer {
        guard isRequest else { return .failure("respond not currently supported in the response path") }
        guard !headHasPassed else { return .failure("respond() cannot be called if headers have been continued") }
        var status: Int?
        var headers: [(String, String)] = []
        for index in stride(from: 1, to: arguments.count - 1, by: 2) {
            guard let name = arguments[index].string, let value = arguments[index + 1].string else { continue }
            if name.lowercased() == ":status" {
                status = Int(value)
            } else if !name.hasPrefix(":") && name.lowercased() != "content-length" {
                headers.append((name, value))
            }
        }
        guard let status, (200..<600).contains(status) else { return .failure(":status must be between 200-599") }
        reply = (UInt16(status), headers, arguments.first?.bytes ?? [])
        state = .responded
        return .values([])
    }
}

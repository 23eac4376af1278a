internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The question about one request, and what its answer does to it.
final class ExtAuthzFilter: HTTPFilter {
    private enum State { case idle, collecting, calling, done }

    static let partialBody = "x-envoy-auth-partial-body"
    private static let path = "/envoy.service.auth.v3.Authorization/Check"

    private let config: ExtAuthzFilterConfig
    private let route: ExtAuthzRouteConfig?
    private let body: CheckedBody?
    private var state = State.idle
    private var collected: [UInt8] = []
    private var cancelCall: (() -> Void)?
    private var isInCall = false
    private var cluster: ClusterRuntime?
    private var started = MonotonicTime.never
    private var bytesSent: Int?
    private var bytesReceived: Int?
    private var responseChanges: [FieldChange] = []

    init(_ config: ExtAuthzFilterConfig, _ route: ExtAuthzRouteConfig?) {
        self.config = config
        self.route = route
        body = route?.buffersNoBody ?? false ? nil : route?.body ?? config.body
        interest = body == nil ? [.requestHead, .responseHead] : [.requestHead, .requestBody, .responseHead]
    }

    let interest: FilterInterest

    // MARK: Request

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard isEnabled(stream) else {
            config.disabled.add(row: stream.worker.index)
            state = .done
            guard config.deniesAtDisable.value else { return .next }
            stream.info.flags.insert(.unauthorizedExternalService)
            if config.isShadow {
                keep(ShadowDecision(result: .denied, status: config.statusOnError), stream)
                return .next
            }
            stream.localReply(status: config.statusOnError, details: "ext_authz_error")
            return .stop
        }
        if let body, !isEnd, !stream.request.isUpgrade {
            state = .collecting
            if !body.allowsPart {
                stream.requestFilters.heldBytesMax = body.bytesMax
            }
            return .stop
        }
        return ask(stream) ? .next : .stop
    }

    private func isEnabled(_ stream: HTTPStream) -> Bool {
        guard config.enabled.includes(random: stream.worker.random.next()) else { return false }
        guard let condition = config.enabledMetadata else { return true }
        return condition.matches(stream.knownMetadata(condition.namespace))
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        switch state {
        case .idle, .done: return .next
        case .calling: return .wait
        case .collecting: break
        }
        guard let body else { return .next }
        let room = body.bytesMax - collected.count
        chunk.withBytes { collected += $0.prefix(max(room, 0)) }
        isPartial = isPartial || chunk.count > room
        guard isEnd || (body.allowsPart && collected.count >= body.bytesMax) else { return .hold }
        // More than a stream may hold is refused before anybody is asked about it.
        if !body.allowsPart && isPartial { return .hold }
        return ask(stream) ? .next : .wait
    }

    private var isPartial = false

    /// Asks; true when the answer is there already and lets the request pass.
    private func ask(_ stream: HTTPStream) -> Bool {
        let hasBody = state == .collecting
        state = .calling
        started = stream.worker.loop.now
        // The route may change with the answer; what counts is the cluster that was asked about.
        _ = stream.currentRoute
        cluster = stream.target.flatMap { stream.worker.cluster(named: $0.cluster) }
        isInCall = true
        var checked = CheckedRequest(stream.request, fields: config.fields)
        switch route?.authorizer ?? config.authorizer {
        case .grpc(let target):
            if hasBody { checked.fields.append((Self.partialBody, Array((isPartial ? "true" : "false").utf8))) }
            let message = checkRequest(stream, checked, hasBody: hasBody).serialized()
            bytesSent = message.count + GRPCCall.frameBytes
            let call = GRPCCall(
                target, path: Self.path, message: message, worker: stream.worker, stream: stream,
                timeout: target.timeout.map { $0 > .zero ? $0 : nil } ?? Self.timeout
            ) { [weak self, weak stream] result in
                guard let self, let stream else { return }
                self.cancelCall = nil
                switch result {
                case .success(let bytes):
                    self.bytesReceived = bytes.count + GRPCCall.frameBytes
                    let response = try? CheckResponse(serialized: bytes)
                    self.answered(response.map { CheckVerdict($0) } ?? .failed, stream)
                case .failure: self.answered(.failed, stream)
                }
            }
            cancelCall = { call.cancel() }
            call.start()
        case .http(let http):
            var head = http.head(
                stream, checked, bodyBytes: collected.count, partial: hasBody ? isPartial : nil)
            let span = stream.span?.beginCall(to: http.target.cluster, stream)
            span?.inject(into: &head.headers)
            let call = ClusterCall(
                head, body: collected, cluster: http.target.cluster, worker: stream.worker,
                options: ClusterCall.Options(timeout: http.target.timeout, retry: http.retry, span: span)
            ) { [weak self, weak stream] result in
                guard let self, let stream else { return }
                self.cancelCall = nil
                switch result {
                case .success(let answer): self.answered(CheckVerdict(answer, http.fields), stream)
                case .failure: self.answered(.failed, stream)
                }
            }
            cancelCall = { call.cancel() }
            call.start()
        }
        isInCall = false
        collected = []
        return state == .done && mayPass
    }

    /// Envoy's, where the service names none.
    private static let timeout: Duration = .milliseconds(200)
    private var mayPass = false

    private func checkRequest(_ stream: HTTPStream, _ checked: CheckedRequest, hasBody: Bool) -> CheckRequest {
        let request = stream.request
        let connection = stream.connectionInfo
        var http = AttributeContext.HttpRequest()
        http.id = "\(stream.worker.random.next())"
        http.method = String(decoding: request.methodBytes, as: UTF8.self)
        if config.request.isRaw { http.headerMap = checked.map } else { http.headers = checked.table }
        http.path = request.pathText
        http.host = request.authorityText
        http.scheme = String(decoding: [UInt8](copying: request.scheme), as: UTF8.self)
        http.size = Int64(clamping: stream.info.bytesReceived)
        http.protocol = "\(stream.version.text)"
        if hasBody {
            if body?.isRaw ?? false {
                http.rawBody = collected
            } else {
                http.body = String(decoding: collected, as: UTF8.self)
            }
        }
        var asked = AttributeContext.Request()
        let now = WallClock.now
        asked.time = Timestamp(seconds: now.seconds, nanoseconds: now.nanoseconds)
        asked.http = http
        var attributes = AttributeContext()
        attributes.source = CheckRequestParts.source(
            connection, address: (stream.connection?.info ?? connection).remoteAddress,
            service: request.headers["x-envoy-downstream-service-cluster"] ?? "",
            certificate: config.request.includesCertificate)
        attributes.destination = CheckRequestParts.destination(connection, labels: config.request.labels)
        attributes.request = asked
        attributes.contextExtensions = route?.context ?? [:]
        attributes.metadataContext = CheckRequestParts.metadata(config.request.metadata) { stream.knownMetadata($0) }
        attributes.routeMetadataContext = CheckRequestParts.metadata(config.request.routeMetadata) {
            stream.currentRoute?.metadata?[$0]
        }
        if config.request.includesSession, let tls = connection.tls {
            var session = AttributeContext.TLSSession()
            session.sni = tls.serverName ?? ""
            attributes.tlsSession = session
        }
        var message = CheckRequest()
        message.attributes = attributes
        return message
    }

    // MARK: Answer

    private func answered(_ verdict: CheckVerdict, _ stream: HTTPStream) {
        guard state == .calling, !stream.isFinished else { return }
        state = .done
        tell(stream)
        if verdict.outcome != .error, let metadata = verdict.metadata { take(metadata, verdict, stream) }
        let row = stream.worker.index
        switch verdict.outcome {
        case .ok: allow(verdict, stream)
        case .denied:
            config.denied.add(row: row)
            count("denied")
            let status = verdict.status ?? 403
            if config.countsAnswers { cluster?.metrics.countResponse(status, isInternal: true, row: row) }
            if config.validates, verdict.changes.contains(where: { !$0.isWellFormed }) { return reject(stream) }
            if config.isShadow {
                return goOn(ShadowDecision(result: .denied, status: status, fields: fields(verdict, row)), stream)
            }
            stream.info.flags.insert(.unauthorizedExternalService)
            refuse(stream, status, verdict, details: "ext_authz_denied")
        case .error:
            config.error.add(row: row)
            count("error")
            // As Envoy: what becomes of failures does not count then.
            if config.isShadow {
                return goOn(ShadowDecision(result: .error, status: verdict.status ?? config.statusOnError), stream)
            }
            if config.allowsOnFailure {
                config.failureModeAllowed.add(row: row)
                count("failure_mode_allowed")
                if config.marksFailure {
                    stream.request.headers.apply(FieldChange("x-envoy-auth-failure-mode-allowed", "true"))
                }
                return goOn(stream)
            }
            stream.info.flags.insert(.unauthorizedExternalService)
            refuse(stream, verdict.status ?? config.statusOnError, verdict, details: "ext_authz_error")
        }
    }

    /// What filter state says of the call: `filter_metadata`, and how it went where that is wanted.
    private func tell(_ stream: HTTPStream) {
        guard config.tellsCalls || config.stateMetadata != nil else { return }
        var members: [String: JSON] = config.stateMetadata?.object ?? [:]
        if config.tellsCalls {
            let microseconds = (stream.worker.loop.now - started).wholeNanoseconds / 1000
            members["latency_us"] = .integer(Int64(clamping: microseconds))
            if let bytesSent { members["bytesSent"] = .integer(Int64(bytesSent)) }
            if let bytesReceived { members["bytesReceived"] = .integer(Int64(bytesReceived)) }
        }
        stream.info.filterState[config.name] = JSON.object(members).text
    }

    private func allow(_ verdict: CheckVerdict, _ stream: HTTPStream) {
        var changes = verdict.changes
        if config.validates,
            (changes + verdict.responseChanges).contains(where: { !$0.isWellFormed })
                || !verdict.queryToSet.allSatisfy({ QueryChange.isWellFormed($0) })
        {
            return reject(stream)
        }
        if let rules = config.rules {
            for change in changes where rules.judge(change) == .refused { return reject(stream) }
            changes.removeAll { rules.judge($0) != .allowed }
        }
        for change in changes { stream.request.apply(change) }
        if !verdict.queryToSet.isEmpty || !verdict.queryToRemove.isEmpty {
            let path = QueryChange.apply(
                stream.request.pathBytes, set: verdict.queryToSet, remove: verdict.queryToRemove)
            try? stream.request.setPath(path.span.bytes)
        }
        if config.clearsRoute, verdict.changesRequest { stream.clearRoute() }
        responseChanges = verdict.responseChanges
        config.ok.add(row: stream.worker.index)
        count("ok")
        if config.isShadow { keep(ShadowDecision(result: .ok, status: 200), stream) }
        goOn(stream)
    }

    private func take(_ metadata: JSON, _ verdict: CheckVerdict, _ stream: HTTPStream) {
        guard case .object(var members) = metadata, !members.isEmpty else { return }
        guard config.takesMetadata else { return config.ignoredMetadata.add(row: stream.worker.index) }
        if verdict.outcome == .ok {
            let milliseconds = (stream.worker.loop.now - started).wholeNanoseconds / 1_000_000
            members["ext_authz_duration"] = .integer(Int64(clamping: milliseconds))
        }
        if case .object(let known)? = stream.info.metadata[config.name] { members.merge(known) { new, _ in new } }
        stream.info.metadata[config.name] = .object(members)
    }

    private func goOn(_ stream: HTTPStream) {
        mayPass = true
        if !isInCall { stream.resumeRequest(self) }
    }

    /// Says what the service decided, and lets the request pass.
    private func goOn(_ decision: ShadowDecision, _ stream: HTTPStream) {
        keep(decision, stream)
        goOn(stream)
    }

    private func keep(_ decision: ShadowDecision, _ stream: HTTPStream) {
        switch decision.result {
        case .ok: break
        case .denied: config.shadowDenied.add(row: stream.worker.index)
        case .error: config.shadowError.add(row: stream.worker.index)
        }
        stream.info.filterState[config.name + ".shadow"] = decision.text
    }

    /// What the service wants cannot be done.
    private func reject(_ stream: HTTPStream) {
        config.invalid.add(row: stream.worker.index)
        count("invalid")
        if config.isShadow { return goOn(ShadowDecision(result: .error, status: 500), stream) }
        stream.info.flags.insert(.unauthorizedExternalService)
        stream.localReply(status: 500, details: "ext_authz_invalid")
    }

    private func refuse(_ stream: HTTPStream, _ status: UInt16, _ verdict: CheckVerdict, details: String) {
        stream.localReply(
            status: status, bytes: Array(verdict.body.prefix(config.deniedBodyMax)), details: details,
            headers: fields(verdict, stream.worker.index))
    }

    /// The fields of a refusal.
    private func fields(_ verdict: CheckVerdict, _ row: Int) -> [(name: String, value: String)] {
        // As Envoy: what is set takes the place of what is appended.
        var headers = HeaderTable()
        if verdict.isOverHTTP {
            for change in verdict.changes { headers.apply(change) }
        } else {
            for change in verdict.changes where change.action == .append { headers.apply(change) }
            for change in verdict.changes where change.action != .append { headers.apply(change) }
        }
        if config.limitsResponse, !headers.isWithinResponseLimits {
            config.omittedHeaders.add(row: row)
            while !headers.isWithinResponseLimits, headers.count > 0 { headers.remove(at: headers.count - 1) }
        }
        return (0..<headers.count).map { (headers.nameText(at: $0), headers.valueText(at: $0)) }
    }

    private func count(_ name: String) {
        guard let cluster else { return }
        cluster.authorizationScope.counter(config.statPrefix + name).add(row: cluster.worker.index)
    }

    // MARK: Response

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        if !responseChanges.isEmpty {
            var headers = stream.response.headers
            for change in responseChanges { headers.apply(change) }
            if config.limitsResponse, !headers.isWithinResponseLimits {
                responseChanges = []
                config.responseLimitReached.add(row: stream.worker.index)
                stream.router?.abandon()
                stream.localReply(status: 500, details: "ext_authz_response_header_limits_reached")
                return .stop
            }
            stream.response.headers = headers
        }
        return .next
    }

    func streamEnded(_ stream: HTTPStream) {
        cancelCall?()
        cancelCall = nil
        state = .done
    }
}

extension HeaderTable {
    /// Whether Envoy would take them as a response of an upstream: at most 100 fields in 60 KiB.
    fileprivate var isWithinResponseLimits: Bool {
        guard count <= Limits.checkedResponseFields else { return false }
        var bytes = 0
        for index in 0..<count { bytes += nameText(at: index).utf8.count + value(at: index).byteCount }
        return bytes <= Limits.checkedResponseBytes
    }
}

extension QueryChange {
    static func isWellFormed(_ parameter: (key: String, value: String)) -> Bool {
        !parameter.key.isEmpty && (parameter.key + parameter.value).utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }
}

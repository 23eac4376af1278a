internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

// What an explained request notes on its way. The decisions are made elsewhere, by what every request runs.
extension HTTPStream {
    func explainRoute(_ explanation: Explanation, _ table: RouteTable, random: UInt64) {
        let trace = readRequest { table.explain($0, random: random, facts: self) }
        let place = explanation.routesPlace
        let messages = explanation.routeConfiguration
        explanation.virtualHost = nil
        explanation.routePlace = nil
        explanation.virtualHostIndex = trace.virtualHost
        explanation.routeIndex = nil
        if let header = trace.authorityHeader {
            explanation.note(
                "virtual_host", "chosen by header \(header): \(trace.authority.map { "\"\($0)\"" } ?? "not there")",
                at: place + ".vhost_header", level: 1)
        }
        for trial in trace.domains where trial.virtualHost == nil {
            explanation.note("virtual_host", "no domain \"\(trial.pattern)\"", level: 1)
        }
        guard let index = trace.virtualHost, table.virtualHosts.indices.contains(index) else {
            explanation.note("virtual_host", "none for \"\(trace.authority ?? "")\"", at: place + ".virtual_hosts")
            return
        }
        let host = table.virtualHosts[index]
        explanation.virtualHost = host.name
        explanation.decision = ["virtual_host": .string(host.name)]
        let pattern = trace.domains.last?.pattern ?? ""
        explanation.note(
            "virtual_host", "\"\(host.name)\" by domain \"\(pattern)\"",
            at: messages?.domain(pattern, ofVirtualHost: index))
        let hostPlace = "\(place).virtual_hosts[\(index)]"
        if trace.redirectsToTLS {
            explanation.decision["redirect"] = "https"
            explanation.note("route", "the virtual host wants TLS: redirect to https", at: hostPlace + ".require_tls")
            return
        }
        for trial in trace.routes {
            let name = trial.name.isEmpty ? "" : " \"\(trial.name)\""
            let here = "\(hostPlace).\(trial.path)"
            if let refusal = trial.refusal {
                explanation.note(
                    "route", "not \(trial.path)\(name): \(refusal.reason)", at: "\(here).\(refusal.path)", level: 1)
            } else if let route = trace.route {
                explanation.note("route", "\(trial.path)\(name): \(route.pathText)", at: here)
                explanation.routePlace = "virtual_hosts[\(index)].\(trial.path)"
                if trial.path.hasPrefix("routes["), let end = trial.path.firstIndex(of: "]") {
                    explanation.routeIndex = Int(trial.path[..<end].dropFirst(7))
                }
            }
        }
        guard let route = trace.route else {
            explanation.note("route", "none of the virtual host's \(trace.routes.count)", at: hostPlace + ".routes")
            return
        }
        explanation.route = route.name.isEmpty ? nil : route.name
        explainAction(explanation, route)
    }

    private func explainAction(_ explanation: Explanation, _ route: Upstream.Route) {
        let here = explanation.routePlace.map { "\(explanation.routesPlace).\($0)" }
        switch route.action {
        case .forward: break
        case .redirect(let redirect):
            let location = readRequest({ route.location(for: $0) }).map { String(decoding: $0, as: UTF8.self) }
            explanation.decision["redirect"] = .string("\(redirect.status) \(location ?? "")")
            explanation.note(
                "route", "redirect with \(redirect.status) to \(location ?? "")", at: here.map { $0 + ".redirect" },
                level: 1)
        case .directResponse(let direct):
            let (body, _) = body(of: direct)
            explanation.decision["direct_response"] = .string(
                "\(direct.status), \(body.count) bytes, \(String(decoding: body.prefix(64), as: UTF8.self))")
            explanation.note(
                "route", "direct response: \(direct.status), \(body.count) bytes",
                at: here.map { $0 + ".direct_response" }, level: 1)
        case .nonForwarding:
            explanation.decision["direct_response"] = "404, never forwarded"
            explanation.note(
                "route", "never forwarded: 404", at: here.map { $0 + ".non_forwarding_action" }, level: 1)
        }
    }

    func explainTarget(_ explanation: Explanation, _ forwarding: Forwarding) {
        let here = explanation.actionPlace
        explanation.weightedIndex = nil
        switch forwarding.destination {
        case .cluster(let target):
            explanation.decision["clusters"] = [.string(target.cluster)]
            explanation.note("cluster", "\"\(target.cluster)\"", at: here + ".cluster")
        case .header(let name, _):
            explanation.decision["clusters"] = [.string(target?.cluster ?? "header \(name)")]
            explanation.note(
                "cluster",
                target.map { "\"\($0.cluster)\", named by header \(name)" }
                    ?? "header \(name), which names it, is not there",
                at: here + ".cluster_header")
        case .weighted(let clusters):
            let total = clusters.weights.reduce(0, +)
            explanation.decision["clusters"] = .array(
                zip(clusters.targets, clusters.weights).map { .string("\($0.cluster) \($1)/\(total)") })
            for (index, (cluster, weight)) in zip(clusters.targets, clusters.weights).enumerated() {
                let isTaken = cluster === target || (cluster.cluster.isEmpty && target != nil)
                if isTaken { explanation.weightedIndex = index }
                explanation.note(
                    "cluster",
                    "\(isTaken ? "drawn" : "not drawn"): \"\(cluster.cluster)\", weight \(weight) of \(total)",
                    at: "\(here).weighted_clusters.clusters[\(index)]", level: 1)
            }
            explanation.note(
                "cluster", target.map { "\"\($0.cluster)\" by the draw of this seed" } ?? "none: nothing names one",
                at: here + ".weighted_clusters")
        }
    }

    /// A filter for an explained request: one that tells what it does, or none.
    func explainFilter(
        _ explanation: Explanation, _ factory: any HTTPFilterConfig, isOff: Bool
    ) -> (any HTTPFilter)? {
        let place = explanation.filterPlace(factory)
        guard !isOff else {
            explanation.decision["filter \(factory.name)"] = "switched off"
            explanation.note("http_filters", "\(factory.name): switched off", at: place)
            return nil
        }
        let levels =
            explanation.routeConfiguration?.filterConfigs(
                factory.name, virtualHost: explanation.virtualHostIndex, route: explanation.routeIndex,
                weighted: explanation.weightedIndex) ?? []
        if !levels.isEmpty {
            explanation.decision["filter \(factory.name)"] = .array(
                levels.compactMap { explanation.places.origins.value(at: $0) })
        }
        var notes: [(String, String)] = []
        let own = levels.last ?? place + ".typed_config"
        let run = factory.explain(self) { text, path in notes.append((text, path.isEmpty ? own : own + "." + path)) }
        switch run {
        case .isAsked(let reason):
            explanation.isExact = false
            explanation.note("http_filters", "\(factory.name): \(reason)", at: own)
        case .decidesNothing(let reason): explanation.note("http_filters", "\(factory.name): \(reason)", at: own)
        case .runs:
            guard let filter = factory.make(self) else {
                explanation.note("http_filters", "\(factory.name): has nothing to do with this request", at: own)
                return nil
            }
            for level in levels {
                explanation.note("http_filters", "\(factory.name): configured here", at: level, level: 1)
            }
            return ExplainedFilter(filter, name: factory.name, place: own, notes: notes, explanation: explanation)
        }
        for level in levels {
            explanation.note("http_filters", "\(factory.name): configured here", at: level, level: 1)
        }
        for (text, path) in notes { explanation.note("http_filters", text, at: path, level: 1) }
        return nil
    }
}

/// A filter at work on an explained request, and what it changes.
private final class ExplainedFilter: HTTPFilter {
    private let filter: any HTTPFilter
    private let name: String
    private let place: String
    private let notes: [(String, String)]
    private let explanation: Explanation

    init(
        _ filter: any HTTPFilter, name: String, place: String, notes: [(String, String)], explanation: Explanation
    ) {
        self.filter = filter
        self.name = name
        self.place = place
        self.notes = notes
        self.explanation = explanation
    }

    var interest: FilterInterest { filter.interest.union(.requestHead).subtracting([.requestBody, .responseBody]) }

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let before = (
            lines: stream.request.headers.lines, metadata: stream.info.metadata, filterState: stream.info.filterState,
            flags: stream.info.flags
        )
        for (text, path) in notes { explanation.note("http_filters", text, at: path, level: 1) }
        let step = filter.requestHead(stream, isEnd: isEnd)
        if stream.isLocalReply {
            explanation.note("http_filters", "\(name): answers with \(stream.info.status)", at: place)
            return step
        }
        let flags = stream.info.flags.subtracting(before.flags)
        explanation.note(
            "http_filters", "\(name): \(flags.contains(.delayInjected) ? "delays this request" : "passes")", at: place)
        explanation.noteChanges("http_filters", from: before.lines, to: stream.request.headers.lines)
        for (key, value) in stream.info.metadata where before.metadata[key] != value {
            explanation.note("http_filters", "dynamic metadata \(key): \(value.text)", level: 1)
        }
        for (key, value) in stream.info.filterState where before.filterState[key] != value {
            explanation.note("http_filters", "filter state \(key): \(value)", level: 1)
        }
        // Who waits for something that nobody sends would wait for ever.
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let before = stream.response.headers.lines
        _ = filter.responseHead(stream, isEnd: isEnd)
        explanation.noteChanges("response", from: before, to: stream.response.headers.lines, by: name)
        return .next
    }

    func streamEnded(_ stream: HTTPStream) { filter.streamEnded(stream) }
}

extension Explanation {
    /// The `route` action in force.
    var actionPlace: String { routePlace.map { "\(routesPlace).\($0).route" } ?? routesPlace }

    /// Where the configuration of a filter of the connection manager stands.
    func filterPlace(_ factory: any HTTPFilterConfig) -> String {
        guard let index = filterNames.firstIndex(of: factory.name) else {
            return "\(managerPlace).http_filters[\(factory.name)]"
        }
        return "\(managerPlace).http_filters[\(index)]"
    }

    func noteChanges(_ step: String, from old: [String], to new: [String], by name: String? = nil) {
        let prefix = name.map { "\($0): " } ?? ""
        for line in old where !new.contains(line) { note(step, "\(prefix)takes away \(line)", level: 1) }
        for line in new where !old.contains(line) { note(step, "\(prefix)adds \(line)", level: 1) }
    }
}

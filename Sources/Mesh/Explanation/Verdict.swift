import KubernetesAPI
import Serialization

/// One sentence about a request, and why.
public struct Verdict: Sendable, Hashable {
    /// Why it ends as it does.
    public enum Cause: String, Sendable, Hashable, CaseIterable {
        /// A program would get it.
        case answered
        /// A program answers as it was asked about, and the request is not tried again.
        case notRetried
        /// All retries that the policy allows would end as it was asked about.
        case retriesExhausted
        /// A proxy answers itself as it is told: a redirect, a direct response.
        case answeredByProxy
        /// No name server knows the name.
        case noSuchName
        /// A proxy on the way does not answer its admin port.
        case proxyUnreachable
        /// Nothing listens there, or no filter chain takes the connection.
        case noListener
        /// No virtual host has the name.
        case noVirtualHost
        /// No route of the virtual host fits.
        case noRoute
        /// The route names a subset that no DestinationRule has.
        case unknownSubset
        /// The route names a service that is not there.
        case unknownService
        /// The service has no such port.
        case unknownPort
        /// The service has no endpoint.
        case noEndpoint
        /// There are endpoints, and none may be taken.
        case noHealthyEndpoint
        /// All are ejected by outlier detection.
        case ejected
        /// The last connection to the host failed, a moment ago.
        case connectionFailed
        /// A limit of connections or requests is met now.
        case circuitOpen
        /// One side speaks mutual TLS and the other does not.
        case mutualTLSMismatch
        /// A certificate is not accepted.
        case certificateRefused
        /// A certificate has expired.
        case certificateExpired
        /// A certificate has not arrived.
        case certificateMissing
        /// An AuthorizationPolicy denies.
        case policyDenied
        /// A token is missing or not accepted.
        case tokenRefused
        /// A configured fault.
        case fault
        /// What is needed has to come from the control plane, which does not answer.
        case controlPlaneGone
        /// What leaves the mesh is not allowed (REGISTRY_ONLY).
        case blackHole
        /// Anything else that a proxy refuses.
        case refused
    }

    /// Why.
    public var cause: Cause
    /// The sentence.
    public var headline: String
    /// Whether a program would answer.
    public var isAnswered: Bool
    /// The status that the caller would see, when a proxy makes it.
    public var status: Int?
    /// Response flags of the caller's proxy.
    public var flags = ""
    /// The objects that decided.
    public var origins: [Provenance] = []
    /// What to look at, or to do.
    public var advice: [String] = []
}

extension MeshExplanation {
    /// The verdict.
    public var verdict: Verdict {
        guard case .failed(let problem) = names else { return verdictOfProxies }
        let isGone = controlPlane.problem != nil
        guard outbound != nil else {
            return Verdict(
                cause: isGone ? .controlPlaneGone : .noSuchName,
                headline: "no connection: \(problem)"
                    + (isGone ? "; the control plane, which answers names, is gone" : ""),
                isAnswered: false)
        }
        var verdict = verdictOfProxies
        verdict.cause = isGone ? .controlPlaneGone : .noSuchName
        verdict.isAnswered = false
        verdict.headline =
            "no connection for who has to look the name up: \(problem)" + (isGone ? "; the control plane is gone" : "")
            + "; for who knows the address: \(verdict.headline)"
        return verdict
    }

    /// What comes of a connection to the address.
    private var verdictOfProxies: Verdict {
        if source.hasProxy, outbound == nil {
            return Verdict(
                cause: .proxyUnreachable,
                headline: "unknown: the proxy of \(source.words) does not answer: \(outboundProblem ?? "")",
                isAnswered: false)
        }
        if let outbound, outbound.outcome != .forwarded { return refused(outbound, isInbound: false) }
        if let passage, passage.answer?.outcome != .forwarded {
            // As if it ended there, which it does.
            var there = self
            there.passage = nil
            there.destination = passage.workload
            (there.inbound, there.inboundProblem) = (passage.answer, passage.problem)
            return there.verdictOfProxies
        }
        if let passage {
            // The caller's proxy has done its part; from here on the gateway is the one that asks.
            if let verdict = tried { return verdict }
            var beyond = self
            beyond.passage = nil
            (beyond.source, beyond.outbound) = (passage.workload, passage.answer)
            var verdict = beyond.verdictOfProxies
            verdict.headline = "through \(passage.workload.words): \(verdict.headline)"
            return verdict
        }
        if let inbound, inbound.outcome != .forwarded { return refused(inbound, isInbound: true) }
        if let destination, destination.hasProxy, inbound == nil {
            return Verdict(
                cause: .proxyUnreachable,
                headline: "unknown: the proxy of \(destination.words) does not answer: \(inboundProblem ?? "")",
                isAnswered: false)
        }
        if let refused = withoutKeys { return refused }
        if let passed = passedThrough { return passed }
        if outbound == nil, destination == nil {
            return Verdict(
                cause: .noEndpoint,
                headline: "unknown: no proxy stands before \(source.words), and no ready endpoint of \(host) is known",
                isAnswered: false)
        }
        return tried ?? failed ?? answered
    }

    /// The keys that the request's token is checked with are not to be had: it is refused (ATK-29).
    private var withoutKeys: Verdict? {
        for answer in [inbound, outbound] {
            guard let last = answer?.json["state"]?["asked"]?.array?.last, last["arrived"]?.bool == false,
                let what = last["what"]?.string, what.hasPrefix("keys of ")
            else { continue }
            let lines = (answer?.json["request"]?["headers"]?.array ?? []).compactMap { $0.string?.lowercased() }
            guard lines.contains(where: { $0.hasPrefix("authorization: bearer") }) else { continue }
            let origins = tokenOrigins
            let places = origins.map(words)
            return Verdict(
                cause: .tokenRefused,
                headline: "401: the token is refused: \(what) \(last["outcome"]?.string ?? "")"
                    + (places.isEmpty ? "" : " (\(places.joined(separator: "; ")))"),
                isAnswered: false, status: 401, origins: origins)
        }
        return nil
    }

    /// How long the failure of a connection stands for what comes next, in milliseconds.
    private static let failureCounts = 30_000

    /// How long ago a proxy on the way last got a key, certificate or roots, in milliseconds; nil when that is unknown.
    private var certificatesAge: Int? {
        [outbound, inbound].compactMap {
            $0?.json["state"]?["control_plane"]?["types"]?["Secret"]?["accepted_ms_ago"]?.int
        }.min()
    }

    /// A proxy met nobody at the host when it last tried.
    private var failed: Verdict? {
        for (answer, isInbound) in [(inbound, true), (outbound, false)] {
            guard let last = answer?.json["state"]?["last_failure"], let age = last["ms_ago"]?.int,
                age < Self.failureCounts
            else { continue }
            let text = last["text"]?.string ?? ""
            // A handshake that failed with certificates that were replaced since says nothing about the next one.
            if text.hasPrefix("the handshake failed"), let since = certificatesAge, since < age { continue }
            let who = isInbound ? "\(destination?.words ?? "")'s program" : "the host"
            var cause = Verdict.Cause.connectionFailed
            if text.hasPrefix("the handshake failed") {
                cause = text.contains("expired") ? .certificateExpired : .certificateRefused
            }
            return Verdict(
                cause: cause,
                headline:
                    "503 UF: \(who) at \(answer?.host ?? host) took no connection \(Self.span(age)) ago: \(text)",
                isAnswered: false, status: 503, flags: "UF",
                advice: ["this is what came of the last try; the next one may fare better"])
        }
        return nil
    }

    /// The tries end as it was asked about (`--answer`): what follows of it.
    private var tried: Verdict? {
        guard let tries = outbound?.json["state"]?["tries"], let list = tries["list"]?.array, let last = list.last
        else {
            return nil
        }
        let retries = tries["retries"]?.int ?? 0
        let status = tries["status"]?.int
        let flags = tries["flags"]?.string.flatMap { $0 == "-" ? nil : $0 } ?? ""
        let ends = last["ends"]?.string ?? ""
        let count = retries == 0 ? "not tried again" : "tried again \(retries == 1 ? "once" : "\(retries) times")"
        let reason = tries["reason"]?.string ?? ""
        let code = status.map(String.init) ?? ""
        let isGood = reason == "notRetriable" && (status ?? 500) < 400 && !ends.hasPrefix("grpc:")
        var text = "\(code)\(flags.isEmpty ? "" : " " + flags): \(count)"
        text += isGood ? "" : retries == 0 ? "" : ", the last try ends with \(ends)"
        if !isGood { text += ": \(last["why"]?.string ?? "")" }
        let origin = retryOrigin
        if let origin { text += " (\(words(origin)))" }
        var verdict = Verdict(
            cause: isGood ? .answered : reason == "limitExceeded" ? .retriesExhausted : .notRetried, headline: text,
            isAnswered: true, status: status, flags: flags, origins: [origin].compactMap { $0 })
        verdict.advice = list.enumerated().prefix(10).map { index, item in
            "try \(index + 1): \(item["ends"]?.string ?? ""), "
                + (item["again"]?.bool == true ? item["why"]?.string ?? "" : "the client gets it")
        }
        return verdict
    }

    /// Where the number of retries is written: the rule's `retries`; nil when it is the mesh's default.
    private var retryOrigin: Provenance? {
        guard var origin = outbound?.routeOrigin, let object = object(origin.kind, origin.object) else { return nil }
        let rule = origin.field.split(separator: ".").prefix(2).joined(separator: ".")
        for name in ["retries", "retry"] where object.value(at: "\(rule).\(name)") != nil {
            origin.field = "\(rule).\(name)"
            return origin
        }
        return nil
    }

    /// The mesh has nothing for the address: the connection goes where it wanted to go.
    private var passedThrough: Verdict? {
        guard let outbound, outbound.cluster?.description == "PassthroughCluster", destination == nil else {
            return nil
        }
        let wanted = outbound.host ?? host
        let address = wanted.lastIndex(of: ":").map { String(wanted[..<$0]) } ?? wanted
        let service = objects("Service").first { service in
            service.spec["clusterIP"]?.string == address
                || (service.spec["clusterIPs"]?.array ?? []).contains { $0.string == address }
        }
        guard let service else {
            if let origin = elsewhere {
                return Verdict(
                    cause: .answered,
                    headline:
                        "passed on to \(wanted): the routes of the service that the host names are for requests to its own "
                        + "address (\(words(origin)))", isAnswered: true, origins: [origin])
            }
            return Verdict(
                cause: .answered, headline: "passed through to \(wanted), of which the mesh knows nothing",
                isAnswered: true)
        }
        let key = NamespacedName(namespace: service.namespace, name: service.name)
        if let origin = elsewhere {
            return Verdict(
                cause: .answered,
                headline:
                    "passed on to \(wanted), the address of service \(key): the routes of the service that the host names "
                    + "are for requests to its own address (\(words(origin)))",
                isAnswered: true, origins: [origin],
                advice: ["the caller's proxy adds no mutual TLS to it: where \(key) takes nothing else, it is refused"])
        }
        let ports = (service.spec["ports"]?.array ?? []).compactMap { $0["port"]?.int.map(String.init) }
        let origin = Provenance(kind: "Service", object: key, field: "spec.ports")
        return Verdict(
            cause: .unknownPort,
            headline: "connection refused: service \(key) has no such port, \(wanted) leads nowhere (\(words(origin)))",
            isAnswered: false, origins: [origin], advice: ["its ports: \(ports.joined(separator: ", "))"])
    }

    /// Where the service says its address that the request names and does not go to; nil when it goes there, or by its name.
    private var elsewhere: Provenance? {
        guard let outbound, outbound.text("route") == OutboundRoutes.elsewhereName else { return nil }
        return outbound.routeOrigin
    }

    private var answered: Verdict {
        var text = "answered by "
        if let destination {
            text += "\(destination.words) at \(inbound?.host ?? outbound?.host ?? destination.address)"
        } else {
            text += outbound?.host.map { "host \($0)" } ?? host
        }
        var origins: [Provenance] = []
        if let origin = outbound?.routeOrigin {
            origins.append(origin)
            text += " (\(words(origin)))"
        }
        if let secure = outbound?.json["decision"]?["upstream_tls"]?.bool, inbound != nil {
            text += secure ? ", by mutual TLS" : ", in plain text"
        }
        var verdict = Verdict(cause: .answered, headline: text, isAnswered: true, origins: origins)
        if outbound?.json["exact"]?.bool == false || inbound?.json["exact"]?.bool == false {
            verdict.advice.append("some filters ask others, and are taken to let the request pass: see below")
        }
        if let lost = outbound?.json["state"]?["control_plane"]?["lost_ms_ago"]?.int {
            verdict.advice.append(
                "the caller's proxy is without control plane for \(Self.span(lost)): it goes on with what it has")
        }
        return verdict
    }

    // MARK: Refusals

    private func refused(_ answer: ProxyAnswer, isInbound: Bool) -> Verdict {
        let side =
            isInbound ? "the proxy of \(destination?.words ?? "the destination")" : "the proxy of \(source.words)"
        var verdict = cause(answer, isInbound: isInbound)
        let code = verdict.status.map(String.init) ?? "connection closed"
        let flags = verdict.flags.isEmpty ? "" : " \(verdict.flags)"
        var text = "\(code)\(flags): \(verdict.headline)"
        if verdict.headline.isEmpty { text = "\(code)\(flags) by \(side): \(answer.text("summary"))" }
        verdict.origins = verdict.origins.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
        let origins = verdict.origins.map(words)
        if !origins.isEmpty { text += " (\(origins.joined(separator: "; ")))" }
        verdict.headline = text
        if let lost = answer.json["state"]?["control_plane"]?["lost_ms_ago"]?.int {
            verdict.advice.append(
                "\(side) is without control plane for \(Self.span(lost)): changes since then are not in force there")
        }
        return verdict
    }

    /// The cause; the headline is the reason alone.
    private func cause(_ answer: ProxyAnswer, isInbound: Bool) -> Verdict {
        var verdict = Verdict(
            cause: .refused, headline: "", isAnswered: false, status: answer.status, flags: answer.flags)
        if answer.outcome == .answered {
            verdict.cause = .answeredByProxy
            verdict.origins = [answer.routeOrigin].compactMap { $0 }
            let location = answer.json["decision"]?["redirect"]?.string
            verdict.headline =
                (location.map { "a redirect: \($0)" } ?? "a direct response") + " of the route, no program is asked"
            return verdict
        }
        if let denied = policy(answer, &verdict) { return denied }
        if let found = transport(answer, isInbound: isInbound, &verdict) { return found }
        if answer.has("NC") { return cluster(answer, verdict) }
        if answer.has("UH") { return noHost(answer, verdict) }
        if answer.has("UO") { return overflow(answer, verdict) }
        if answer.has("NR") || answer.details == "route_not_found" { return noRoute(answer, verdict) }
        if answer.has("FI") {
            verdict.cause = .fault
            verdict.headline = "a fault that the route asks for"
            verdict.origins = [answer.routeOrigin].compactMap { $0 }
        }
        return verdict
    }

    private func policy(_ answer: ProxyAnswer, _ verdict: inout Verdict) -> Verdict? {
        if answer.details.hasPrefix("jwt_authn_access_denied") {
            verdict.cause = .tokenRefused
            let reason = answer.details.dropFirst("jwt_authn_access_denied".count).filter { $0 != "{" && $0 != "}" }
            verdict.headline =
                "the token is refused: " + String(reason.map { $0 == "_" ? " " : $0 })
            verdict.origins = tokenOrigins
            return verdict
        }
        guard answer.details.hasPrefix("rbac_access_denied") else { return nil }
        verdict.cause = .policyDenied
        let decisions = answer.json["decision"]?["policies"]?.array ?? []
        let denial = decisions.last { $0["allowed"]?.bool == false && $0["rules"]?.string != "shadow_rules" }
        if let origin = denial?["origin"].flatMap(Provenance.init(json:)) {
            verdict.headline = "\(origin.kind) \(origin.object) denies it"
            verdict.origins = [origin]
            return verdict
        }
        let considered = answer.steps.filter {
            $0.origin?.kind == "AuthorizationPolicy" && $0.text.contains("does not match")
        }
        verdict.headline = "no rule of an ALLOW policy lets it pass"
        verdict.origins = considered.compactMap(\.origin)
        verdict.advice = considered.map { "\($0.origin?.words ?? ""): \($0.text)" }
        if let identity = identity(of: answer) { verdict.advice.append("the caller is known as \(identity)") }
        return verdict
    }

    private var tokenOrigins: [Provenance] {
        guard let destination else { return [] }
        return objects("RequestAuthentication").filter { $0.namespace == destination.pod.namespace }.prefix(3).map {
            Provenance(
                kind: $0.kind, object: NamespacedName(namespace: $0.namespace, name: $0.name), field: "spec.jwtRules")
        }
    }

    private func identity(of answer: ProxyAnswer) -> String? {
        for step in answer.steps("tls") {
            guard let found = step.text.firstRange(of: "the client is ") else { continue }
            return step.text[found.upperBound...].split(separator: ",").first.map(String.init)
        }
        return nil
    }

    // MARK: Transport

    private func transport(_ answer: ProxyAnswer, isInbound: Bool, _ verdict: inout Verdict) -> Verdict? {
        let details = answer.details
        if isInbound, verdict.status == nil {
            // What the caller sees of a connection that ends.
            verdict.status = 503
            verdict.flags = outbound?.json["decision"]?["upstream_tls"]?.bool == true ? "UF" : "UC"
        }
        if details.contains("certificate refused") || details.contains("certificate is refused") {
            return certificate(details, isInbound: isInbound, verdict)
        }
        if details.contains("has not arrived") || details.contains("have not arrived") {
            verdict.cause = .certificateMissing
            verdict.headline = "no handshake: \(details)"
            return verdict
        }
        guard isInbound else {
            guard details == "filter_chain_not_found" else { return nil }
            verdict.cause = .noListener
            verdict.headline = "no filter chain of \(answer.text("listener")) takes the connection"
            return verdict
        }
        let speaksTLS = outbound?.json["decision"]?["upstream_tls"]?.bool == true
        let isMismatch =
            details == "filter_chain_not_found" || details.contains("plain text") || details.contains("speaks TLS")
            || details == "no client certificate"
        guard isMismatch else { return nil }
        verdict.cause = .mutualTLSMismatch
        let mode = answer.steps("filter_chain").compactMap(\.origin).first { $0.kind == "PeerAuthentication" }
        verdict.headline =
            speaksTLS
            ? "the caller speaks mutual TLS and \(destination?.words ?? "the destination") does not take it"
            : "\(destination?.words ?? "the destination") takes mutual TLS only, and the caller speaks plain text"
        verdict.origins = [mode, source.hasProxy ? plainTextOrigin : nil].compactMap { $0 }
        if !source.hasProxy {
            verdict.advice.append("\(source.words) has no proxy, which would speak mutual TLS for it")
        }
        return verdict
    }

    /// One side does not accept what the other shows.
    private func certificate(_ details: String, isInbound: Bool, _ refused: Verdict) -> Verdict {
        var verdict = refused
        verdict.cause = details.contains("expired") ? .certificateExpired : .certificateRefused
        let reason =
            details.firstRange(of: "refused: ").map { String(details[$0.upperBound...].prefix { $0 != "}" }) }
            ?? details
        let caller = outbound?.json["state"]?["upstream_tls"]
        let host = inbound?.json["state"]?["downstream_tls"]
        let shown = (isInbound ? caller : host)?["presents"]?.array?.first?["names"]?.array?.first?.string ?? "unknown"
        verdict.headline =
            isInbound
            ? "\(destination?.words ?? "the destination") refuses the caller's certificate, \(shown): \(reason)"
            : "the caller's proxy refuses the certificate of \(destination?.words ?? "the host"), \(shown): \(reason)"
        let accepted = ((isInbound ? host : caller)?["accepts"]?.array ?? []).compactMap(\.string)
        if !accepted.isEmpty { verdict.advice.append("names accepted: \(accepted.joined(separator: ", "))") }
        if !isInbound, let origin = plainTextOrigin { verdict.origins = [origin] }
        verdict.advice.append(
            "skein certs verify looks at all of them; skein certs recover makes new ones after expiry")
        return verdict
    }

    /// The DestinationRule that says how TLS is spoken with the service.
    private var plainTextOrigin: Provenance? {
        guard let name = outbound?.cluster?.host else { return nil }
        for rule in rules(for: name) {
            let key = NamespacedName(namespace: rule.namespace, name: rule.name)
            if rule.spec["trafficPolicy"]?["tls"] != nil {
                return Provenance(kind: rule.kind, object: key, field: "spec.trafficPolicy.tls")
            }
            for (index, subset) in (rule.spec["subsets"]?.array ?? []).enumerated()
            where subset["trafficPolicy"]?["tls"] != nil {
                return Provenance(kind: rule.kind, object: key, field: "spec.subsets[\(index)].trafficPolicy.tls")
            }
        }
        return nil
    }

    /// DestinationRules whose host names a service.
    func rules(for host: String) -> [KubernetesObject] {
        objects("DestinationRule").filter { rule in
            let name = rule.spec["host"]?.string ?? ""
            let full = name.contains(".") ? name : "\(name).\(rule.namespace).svc.cluster.local"
            return full == host || name == host || host.hasPrefix(name + ".")
        }
    }
}

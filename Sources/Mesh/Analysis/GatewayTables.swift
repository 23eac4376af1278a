import KubernetesAPI

/// What several Istio Gateways say of the same pods: a port with two meanings, one certificate for two of them.
///
/// Selectors that differ may choose the same pods. Of the pods of a selector the first few are looked at: those of one
/// Deployment have the same labels.
struct GatewayTables {
    /// How many pods of a selector are looked at.
    static let podsMax = 16

    private struct Door: Hashable {
        var pod: NamespacedName
        var port: Int
    }

    private struct Certificate: Hashable {
        var door: Door
        var name: String
    }

    private struct Claim {
        var key: NamespacedName
        var selector: [String: String]
        var field: String
        var family: Entrances.Family
    }

    private struct Told: Hashable {
        var key: NamespacedName
        var field: String
        var other: NamespacedName
    }

    private var found: [NamespacedName: [Diagnostic]] = [:]
    private var told: Set<Told> = []

    init(_ tables: AnalysisTables) {
        var doors: [Door: Claim] = [:]
        var hosts: [Door: [String: Claim]] = [:]
        var certificates: [Certificate: Claim] = [:]
        for entrance in tables.model.entrances {
            let selector = entrance.gateway.selector
            let pods = tables.pods(in: nil, with: selector).prefix(Self.podsMax)
            for (index, server) in entrance.gateway.servers.enumerated() {
                guard let port = server.port, let family = ServerTLSCheck.family(server) else { continue }
                let field = "spec.servers[\(index)]"
                var claim = Claim(key: entrance.key, selector: selector, field: "\(field).port", family: family)
                for pod in pods {
                    tables.count(1 + server.hosts.count)
                    let door = Door(pod: pod.key, port: port)
                    if let first = doors[door], first.family != family, first.key != claim.key {
                        tell(first, claim, .gatewayPortConflict) { other, isOlder in
                            "port \(port) speaks something else for the \(isOlder ? "older" : "younger") Gateway \(other)"
                        }
                        continue
                    }
                    doors[door] = doors[door] ?? claim
                    guard family == .tls else { continue }
                    for (position, host) in server.hosts.enumerated() {
                        claim.field = "\(field).hosts[\(position)]"
                        guard let first = hosts[door]?[host] else {
                            hosts[door, default: [:]][host] = claim
                            continue
                        }
                        tell(first, claim, .gatewayPortConflict) { other, isOlder in
                            "host \"\(host)\" of port \(port) is in the \(isOlder ? "older" : "younger") Gateway \(other), too"
                        }
                    }
                    guard case .terminate = ServerTLSCheck.mode(server) else { continue }
                    claim.field = "\(field).tls.credentialName"
                    for name in server.tls?.credentialNames ?? [] {
                        let place = Certificate(door: door, name: name)
                        guard let first = certificates[place] else {
                            certificates[place] = claim
                            continue
                        }
                        tell(first, claim, .certificateShared, isBoth: true) { other, _ in
                            "Gateway \(other) has this certificate for other hosts of port \(port): a client that keeps using its "
                                + "connection gets 404 for them"
                        }
                    }
                }
            }
        }
    }

    func diagnostics(_ gateway: NamespacedName) -> [Diagnostic] { found[gateway] ?? [] }

    /// Tells both of the other, once; of the same selector the younger one is told elsewhere.
    private mutating func tell(
        _ older: Claim, _ younger: Claim, _ code: DiagnosticCode, isBoth: Bool = false,
        _ message: (_ other: NamespacedName, _ isOlder: Bool) -> String
    ) {
        guard older.key != younger.key else { return }
        func note(_ claim: Claim, _ other: Claim, isOlder: Bool) {
            guard told.insert(Told(key: claim.key, field: claim.field, other: other.key)).inserted else { return }
            found[claim.key, default: []].append(
                Diagnostic(
                    code, kind: "Gateway", object: claim.key, field: claim.field, message: message(other.key, isOlder)))
        }
        note(older, younger, isOlder: false)
        if isBoth || older.selector != younger.selector { note(younger, older, isOlder: true) }
    }
}

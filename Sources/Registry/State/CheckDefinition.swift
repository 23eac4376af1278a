import Serialization

/// What a check is and how it is made.
public struct CheckDefinition: Sendable, Hashable {
    /// How it is found out whether all is well.
    public enum Kind: Sendable, Hashable {
        /// The program says so itself, at least this often (milliseconds).
        case ttl(Int64)
        /// A request that is answered 2xx; 429 is a warning.
        case http(HTTPProbe)
        /// A connection to HOST:PORT.
        case tcp(String)
        /// The health service of gRPC: HOST:PORT[/SERVICE].
        case grpc(String)
        /// A program on this machine: its exit status 0 is passing, 1 a warning.
        case script([String])
        /// Nobody makes it: whoever registered it writes it.
        case external
    }

    /// A request of a check.
    public struct HTTPProbe: Sendable, Hashable {
        /// Where to.
        public var url: String
        /// `GET`, if nothing else is said.
        public var method = "GET"
        /// Fields.
        public var header: [String: [String]] = [:]
        /// The body.
        public var body = ""
        /// Whether any certificate is good.
        public var skipsVerify = false
        /// Whether an answer that sends elsewhere is the result.
        public var followsRedirects = true
    }

    /// The states of a check.
    static let states = ["passing", "warning", "critical"]

    /// Its identifier; empty when it is derived.
    var id = ""
    var name = ""
    var notes = ""
    /// The instance it belongs to; empty: the node.
    var serviceID = ""
    /// The first state.
    var status = "critical"
    /// How.
    var kind: Kind = .external
    /// Milliseconds between two runs.
    var interval: Int64 = 0
    /// Milliseconds that one run may take.
    var timeout: Int64 = 0
    /// Milliseconds of being critical after which the instance is removed; nil: never.
    var deregisterAfter: Int64?
    var successesBeforePassing = 0
    var failuresBeforeWarning = 0
    var failuresBeforeCritical = 0
    var outputMax = 0

    /// The shortest interval: Consul's.
    static let intervalMin: Int64 = 1_000
    /// The shortest time after which an instance is removed: Consul's.
    static let deregisterMin: Int64 = 60_000

    /// A check that somebody else makes.
    init() {}

    /// Reads a body.
    init(_ fields: inout Fields, allowsScripts: Bool, ofService: Bool) throws(RegistryError) {
        let (first, second) = (try fields.text("CheckID"), try fields.text("ID"))
        id = first ?? second ?? ""
        name = try fields.text("Name") ?? ""
        notes = try fields.text("Notes") ?? ""
        serviceID = try fields.text("ServiceID") ?? ""
        if let status = try fields.text("Status"), !status.isEmpty {
            guard Self.states.contains(status) else {
                throw .bad("Status for checks must 'passing', 'warning', 'critical'")
            }
            self.status = status
        }
        if ofService, !serviceID.isEmpty { throw .bad("Check.ServiceID is not for checks inside of a service") }
        interval = try fields.duration("Interval") ?? 0
        timeout = try fields.duration("Timeout") ?? 0
        if let after = try fields.duration("DeregisterCriticalServiceAfter"), after > 0 {
            deregisterAfter = max(after, Self.deregisterMin)
        }
        successesBeforePassing = try fields.number("SuccessBeforePassing", in: 0...1000) ?? 0
        failuresBeforeCritical = try fields.number("FailuresBeforeCritical", in: 0...1000) ?? 0
        failuresBeforeWarning = try fields.number("FailuresBeforeWarning", in: 0...1000) ?? failuresBeforeCritical
        outputMax = try fields.number("OutputMaxSize", in: 0...4_096) ?? 0
        try readKind(&fields, allowsScripts)
        try fields.refuse(
            "DockerContainerID", "Shell", "AliasNode", "AliasService", "UDP", "H2PING", "H2PingUseTLS", "OSService",
            "GRPCUseTLS", "TCPUseTLS", "TLSServerName", "Token", "Namespace", "Partition", "Script")
        guard failuresBeforeWarning <= failuresBeforeCritical else {
            throw .bad("Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
        }
    }

    private mutating func readKind(_ fields: inout Fields, _ allowsScripts: Bool) throws(RegistryError) {
        var kinds: [Kind] = []
        if fields.has("TTL") {
            let time = try fields.duration("TTL") ?? 0
            guard time > 0 else { throw .bad("Invalid check: TTL must be > 0 for TTL checks") }
            kinds.append(.ttl(time))
        }
        let (method, body) = (try fields.text("Method") ?? "", try fields.text("Body") ?? "")
        let (skips, stays) = (try fields.flag("TLSSkipVerify") ?? false, try fields.flag("DisableRedirects") ?? false)
        var header: [String: [String]] = [:]
        if let json = fields.take("Header") {
            guard let object = json.object else {
                throw .bad("Request decode failed: Header must be an object of lists of strings")
            }
            for (name, values) in object {
                guard let texts = values.array?.compactMap(\.string), texts.count == values.array?.count else {
                    throw .bad("Request decode failed: Header must be an object of lists of strings")
                }
                header[name] = texts
            }
        }
        if let url = try fields.text("HTTP"), !url.isEmpty {
            var probe = HTTPProbe(url: url)
            probe.method = method.isEmpty ? "GET" : method.uppercased()
            probe.header = header
            probe.body = body
            probe.skipsVerify = skips
            probe.followsRedirects = !stays
            guard ProbeTarget(url: url) != nil else {
                throw .bad("Invalid check: HTTP \"\(url)\" is no URL of a server")
            }
            guard CheckRunner.methods[probe.method] != nil else {
                throw .bad("Invalid check: Method \(probe.method) is none of \(CheckRunner.methods.keys.sorted())")
            }
            kinds.append(.http(probe))
        } else if !method.isEmpty || !body.isEmpty || !header.isEmpty || skips || stays {
            throw .bad("Invalid check: Method, Header, Body, TLSSkipVerify and DisableRedirects are for HTTP checks")
        }
        if let place = try fields.text("TCP"), !place.isEmpty {
            guard ProbeTarget(place: place) != nil else {
                throw .bad("Invalid check: TCP \"\(place)\" is no HOST:PORT")
            }
            kinds.append(.tcp(place))
        }
        if let place = try fields.text("GRPC"), !place.isEmpty {
            guard let target = ProbeTarget(place: place), target.path.utf8.count < 128 else {
                throw .bad("Invalid check: GRPC \"\(place)\" is no HOST:PORT[/SERVICE]")
            }
            kinds.append(.grpc(place))
        }
        let (args, script) = (try fields.texts("Args"), try fields.texts("ScriptArgs"))
        if let words = args ?? script, !words.isEmpty {
            guard allowsScripts else {
                throw .bad(
                    "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
                        + "'enable_local_script_checks' to true (skein up --registry-scripts)")
            }
            guard words[0].hasPrefix("/") else {
                throw .bad("Invalid check: a script's program needs an absolute path")
            }
            kinds.append(.script(words))
        }
        guard kinds.count <= 1 else { throw .bad("Invalid check: a check has one kind: TTL, HTTP, TCP, GRPC or Args") }
        kind = kinds.first ?? .external
        switch kind {
        case .ttl, .external: break
        default:
            guard interval > 0 else {
                throw .bad("Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
            }
            interval = max(interval, Self.intervalMin)
        }
    }

    /// What Consul calls its kind.
    var type: String {
        switch kind {
        case .ttl: "ttl"
        case .http: "http"
        case .tcp: "tcp"
        case .grpc: "grpc"
        case .script: "script"
        case .external: ""
        }
    }

    /// Milliseconds that a run may take: what is said, else 10 s (30 s for scripts), as Consul has it.
    var patience: Int64 {
        if timeout > 0 { return timeout }
        if case .script = kind { return 30_000 }
        return 10_000
    }

    /// How it is made, as it is stored; nothing of it is shown, as there may be secrets in headers.
    var json: JSON {
        var json: JSON = [
            "interval": .integer(interval), "timeout": .integer(timeout),
            "successes": .integer(Int64(successesBeforePassing)),
            "warnings": .integer(Int64(failuresBeforeWarning)), "failures": .integer(Int64(failuresBeforeCritical)),
            "output": .integer(Int64(outputMax)),
        ]
        if let deregisterAfter { json["deregister"] = .integer(deregisterAfter) }
        switch kind {
        case .ttl(let time): json["ttl"] = .integer(time)
        case .tcp(let place): json["tcp"] = .string(place)
        case .grpc(let place): json["grpc"] = .string(place)
        case .script(let words): json["script"] = .array(words.map { .string($0) })
        case .external: break
        case .http(let probe):
            json["http"] = [
                "url": .string(probe.url), "method": .string(probe.method), "body": .string(probe.body),
                "header": .object(probe.header.mapValues { .array($0.map { .string($0) }) }),
                "insecure": .bool(probe.skipsVerify), "redirects": .bool(probe.followsRedirects),
            ]
        }
        return json
    }

    /// Reads what `json` wrote.
    init(stored: JSON) {
        func number(_ name: String) -> Int { stored[name]?.int ?? 0 }
        interval = Int64(number("interval"))
        timeout = Int64(number("timeout"))
        successesBeforePassing = number("successes")
        failuresBeforeWarning = number("warnings")
        failuresBeforeCritical = number("failures")
        outputMax = number("output")
        deregisterAfter = stored["deregister"]?.int.map { Int64($0) }
        if let time = stored["ttl"]?.int { kind = .ttl(Int64(time)) }
        if let place = stored["tcp"]?.string { kind = .tcp(place) }
        if let place = stored["grpc"]?.string { kind = .grpc(place) }
        if let words = stored["script"]?.array { kind = .script(words.compactMap(\.string)) }
        if let json = stored["http"] {
            var probe = HTTPProbe(url: json["url"]?.string ?? "")
            probe.method = json["method"]?.string ?? "GET"
            probe.body = json["body"]?.string ?? ""
            probe.header = (json["header"]?.object ?? [:]).mapValues { ($0.array ?? []).compactMap(\.string) }
            probe.skipsVerify = json["insecure"]?.bool ?? false
            probe.followsRedirects = json["redirects"]?.bool ?? true
            kind = .http(probe)
        }
    }
}

/// A server that a check asks.
struct ProbeTarget: Sendable, Hashable {
    var isSecure = false
    var host: String
    var port: UInt16
    /// The path of a URL, or the service of a gRPC check.
    var path: String

    /// Of `http://HOST[:PORT]/PATH` or `https://…`.
    init?(url: String) {
        var rest = url[...]
        if rest.hasPrefix("https://") {
            isSecure = true
        } else if !rest.hasPrefix("http://") {
            return nil
        }
        rest = rest.dropFirst(isSecure ? 8 : 7)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
        let tail = rest[end...].prefix { $0 != "#" }
        path = tail.hasPrefix("/") ? String(tail) : "/" + tail
        guard path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
        guard let (host, port) = Self.split(rest[..<end], standard: isSecure ? 443 : 80) else { return nil }
        self.host = host
        self.port = port
    }

    /// Of `HOST:PORT[/SERVICE]`.
    init?(place: String) {
        let parts = place.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts.count > 1 ? String(parts[1]) : ""
        guard let first = parts.first, let (host, port) = Self.split(first, standard: nil) else { return nil }
        self.host = host
        self.port = port
    }

    private static func split(_ text: Substring, standard: UInt16?) -> (String, UInt16)? {
        var host = text
        var port = standard
        if let colon = text.lastIndex(of: ":"), !text[colon...].contains("]") {
            host = text[..<colon]
            port = UInt16(text[text.index(after: colon)...])
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard let port, port > 0, !host.isEmpty, !host.contains("@"), host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { return nil }
        return (String(host), port)
    }
}

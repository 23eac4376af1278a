internal import Serialization

/// A probe of a container: what is asked, how often, and how many answers decide.
public struct Probe: Sendable, Hashable {
    /// What a probe decides.
    public enum Kind: String, Sendable, Hashable, CaseIterable, Codable {
        /// Whether the container has started; the others wait for it.
        case startup
        /// Whether it is to be restarted.
        case liveness
        /// Whether it gets traffic.
        case readiness

        var field: String { rawValue + "Probe" }
    }

    /// One question to a container.
    public enum Check: Sendable, Hashable {
        /// GET; 200...399 is good.
        case http(port: Int, path: String, host: String?, headers: [Header])
        /// A connection that comes about is good.
        case tcp(port: Int, host: String?)
        /// A command that ends with 0 is good.
        case exec([String])
        /// Only time (a preStop hook).
        case sleep(seconds: Int)
    }

    /// A header of an HTTP probe.
    public struct Header: Sendable, Hashable {
        /// Name.
        public var name: String
        /// Value.
        public var value: String
    }

    /// What is asked.
    public var check: Check
    /// Seconds after the start in which nothing is asked.
    public var initialDelay: Duration
    /// Time between two questions.
    public var period: Duration
    /// Time after which no answer is a bad one.
    public var timeout: Duration
    /// Good answers in a row that make it good.
    public var successThreshold: Int
    /// Bad answers in a row that make it bad.
    public var failureThreshold: Int
}

extension Probe {
    init(_ json: JSON, kind: Kind, ports: [String: Int], path: String) throws(WorkloadError) {
        check = try Check(json, ports: ports, path: path)
        func seconds(_ name: String, _ standard: Int) -> Duration { .seconds(max(0, json[name]?.int ?? standard)) }
        initialDelay = seconds("initialDelaySeconds", 0)
        period = max(.seconds(1), seconds("periodSeconds", 10))
        timeout = max(.seconds(1), seconds("timeoutSeconds", 1))
        successThreshold = kind == .readiness ? max(1, json["successThreshold"]?.int ?? 1) : 1
        failureThreshold = max(1, json["failureThreshold"]?.int ?? 3)
    }
}

extension Probe.Check {
    init(_ json: JSON, ports: [String: Int], path: String) throws(WorkloadError) {
        func port(_ action: JSON, _ name: String) throws(WorkloadError) -> Int {
            let value = action["port"] ?? .null
            let number = value.int ?? value.string.flatMap { Int($0) ?? ports[$0] }
            guard let number, (1...65_535).contains(number) else {
                throw .field("\(path).\(name).port", "is neither a port nor the name of one of the container's ports")
            }
            return number
        }
        if let action = json["httpGet"] {
            guard action["scheme"]?.string ?? "HTTP" == "HTTP" else {
                throw .field("\(path).httpGet.scheme", "HTTPS probes are not supported yet; use tcpSocket or exec")
            }
            let target = action["path"]?.string ?? "/"
            let headers = (action["httpHeaders"]?.array ?? []).map {
                Probe.Header(name: $0["name"]?.string ?? "", value: $0["value"]?.string ?? "")
            }
            guard (headers.flatMap { [$0.name, $0.value] } + [target]).allSatisfy(Self.isOneLine) else {
                throw .field("\(path).httpGet", "path and headers must not contain control characters")
            }
            self = .http(
                port: try port(action, "httpGet"), path: target.hasPrefix("/") ? target : "/" + target,
                host: action["host"]?.string, headers: headers)
        } else if let action = json["tcpSocket"] {
            self = .tcp(port: try port(action, "tcpSocket"), host: action["host"]?.string)
        } else if let action = json["exec"] {
            let command = (action["command"]?.array ?? []).compactMap(\.string)
            guard !command.isEmpty else { throw .field("\(path).exec.command", "is empty") }
            self = .exec(command)
        } else if json["grpc"] != nil {
            throw .field("\(path).grpc", "is not supported yet; use httpGet, tcpSocket or exec")
        } else {
            throw .field(path, "needs one of httpGet, tcpSocket, exec")
        }
    }

    private static func isOneLine(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }
}

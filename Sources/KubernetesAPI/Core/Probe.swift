public import Serialization

/// How the health of a container is found out.
public struct Probe: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// By a command inside.
    public var exec: ExecAction? { view("exec") }
    /// By a request.
    public var httpGet: HTTPGetAction? { view("httpGet") }
    /// By connecting.
    public var tcpSocket: TCPSocketAction? { view("tcpSocket") }
    /// By the gRPC health protocol.
    public var grpc: GRPCAction? { view("grpc") }
    /// Seconds after start.
    public var initialDelaySeconds: Int { int("initialDelaySeconds") ?? 0 }
    /// Seconds a try may take.
    public var timeoutSeconds: Int { int("timeoutSeconds") ?? 1 }
    /// Seconds between tries.
    public var periodSeconds: Int { int("periodSeconds") ?? 10 }
    /// Successes in a row that count.
    public var successThreshold: Int { int("successThreshold") ?? 1 }
    /// Failures in a row that count.
    public var failureThreshold: Int { int("failureThreshold") ?? 3 }
    /// Grace when this probe kills.
    public var terminationGracePeriodSeconds: Int? { int("terminationGracePeriodSeconds") }
}

/// A command inside the container.
public struct ExecAction: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Program and arguments; no shell.
    public var command: [String] { strings("command") }
}

/// A request to the pod.
public struct HTTPGetAction: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The path.
    public var path: String { json["path"]?.string ?? "/" }
    /// Number or name of a container port.
    public var port: IntOrString? { IntOrString(json: json["port"]) }
    /// Another host than the pod.
    public var host: String { string("host") }
    /// `HTTP` or `HTTPS`.
    public var scheme: String { json["scheme"]?.string ?? "HTTP" }
    /// Further headers.
    public var httpHeaders: [HTTPHeader] { views("httpHeaders") }
}

/// A header of a request.
public struct HTTPHeader: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its name.
    public var name: String { string("name") }
    /// Its value.
    public var value: String { string("value") }
}

/// A connection to the pod.
public struct TCPSocketAction: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Number or name of a container port.
    public var port: IntOrString? { IntOrString(json: json["port"]) }
    /// Another host than the pod.
    public var host: String { string("host") }
}

/// A call of the gRPC health service.
public struct GRPCAction: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Port number.
    public var port: Int { int("port") ?? 0 }
    /// Name of the service.
    public var service: String { string("service") }
}

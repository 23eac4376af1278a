internal import HTTP
public import Serialization

/// What somebody wants to do, for whoever decides whether he may.
public struct RegistryWish: Sendable, Hashable {
    /// `get`, `update` or `delete`.
    public var verb: String
    /// `registrations`, `keys`, `sessions` or `intentions`.
    public var resource: String
    /// The key, service or node; empty: all of them.
    public var name: String

    /// A wish.
    public init(_ verb: String, _ resource: String, _ name: String = "") {
        self.verb = verb
        self.resource = resource
        self.name = name
    }
}

/// A request without a transport.
public struct RegistryRequest {
    /// The method, in capitals.
    public var method: String
    /// The path behind `/v1/`, percent-encoded.
    public var path: String
    /// The query's names and values.
    public var query: [(name: String, value: String)]
    /// The body.
    public var body: [UInt8]
    /// Whether the one who asks may do that.
    public var may: (RegistryWish) -> Bool

    /// A request.
    public init(
        _ method: String, _ path: String, query: [(name: String, value: String)] = [], body: [UInt8] = [],
        may: @escaping (RegistryWish) -> Bool = { _ in true }
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self.may = may
    }

    /// The parts of the path.
    var parts: [String] {
        path.split(separator: "/", omittingEmptySubsequences: false)
            .map { PercentEncoding.decoded($0, plusIsSpace: false) }
    }

    func value(_ name: String) -> String? { query.first { $0.name == name }?.value }
    func values(_ name: String) -> [String] { query.filter { $0.name == name }.map(\.value) }
    func has(_ name: String) -> Bool { query.contains { $0.name == name } }

    /// A whole number of the query.
    func number(_ name: String) throws(RegistryError) -> Int64? {
        guard let text = value(name) else { return nil }
        guard let number = Int64(text), number >= 0 else {
            throw .bad("Invalid value for \(name): \"\(text)\" is no number from 0 to \(Int64.max)")
        }
        return number
    }

    /// A switch of the query: there or `true`, not there or `false`.
    func flag(_ name: String) throws(RegistryError) -> Bool {
        guard let text = value(name) else { return false }
        switch text.lowercased() {
        case "", "1", "t", "true": return true
        case "0", "f", "false": return false
        default: throw .bad("Invalid value for ?\(name)")
        }
    }

    /// Refuses who may not do that.
    func demand(_ verb: String, _ resource: String, _ name: String = "") throws(RegistryError) {
        guard may(RegistryWish(verb, resource, name)) else {
            throw RegistryError(
                403,
                "Permission denied: this token lacks permission '\(verb)' on \(resource).registry.skein.dev"
                    + (name.isEmpty ? "" : " \"\(name)\""))
        }
    }
}

/// What is answered.
public struct RegistryAnswer {
    /// What follows the head.
    public enum Body {
        /// JSON.
        case json(JSON)
        /// Bytes as they are.
        case bytes([UInt8])
        /// Text.
        case text(String)
    }

    /// The HTTP status.
    public var status: UInt16 = 200
    /// What follows the head.
    public var body: Body
    /// `X-Consul-Index`, for what can be waited for.
    public var index: Int64?
    /// What a change must touch to make another answer.
    var topic: Topic?

    init(_ json: JSON, status: UInt16 = 200) {
        body = .json(json)
        self.status = status
    }

    init(text: String, status: UInt16 = 200) {
        body = .text(text)
        self.status = status
    }

    /// The answer to a refused request.
    static func refusal(_ error: RegistryError) -> RegistryAnswer {
        RegistryAnswer(text: error.text, status: error.status)
    }
}

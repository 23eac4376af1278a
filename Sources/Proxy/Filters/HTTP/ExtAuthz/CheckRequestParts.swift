internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import TLS

/// The parts of a `CheckRequest` that HTTP and network filters have in common.
enum CheckRequestParts {
    /// - Parameter address: The peer that the connection comes from, whatever a request on it says of its client.
    static func source(
        _ connection: ConnectionInfo, address: IO.SocketAddress, service: String = "", certificate: Bool
    ) -> AttributeContext.Peer {
        var peer = AttributeContext.Peer()
        peer.address = EnvoyAPI.Address(address)
        peer.service = service
        if let facts = connection.tls?.peer {
            peer.principal = facts.uris.first ?? facts.dnsNames.first ?? facts.subject
            if certificate { peer.certificate = PEMText.urlEncoded(facts.chain.prefix(1)) }
        }
        return peer
    }

    static func destination(_ connection: ConnectionInfo, labels: [String: String]) -> AttributeContext.Peer {
        var peer = AttributeContext.Peer()
        peer.address = EnvoyAPI.Address(connection.localAddress)
        peer.labels = labels
        if let facts = connection.tls?.local {
            peer.principal = facts.uris.first ?? facts.dnsNames.first ?? facts.subject
        }
        return peer
    }

    /// The namespaces of metadata that are there.
    static func metadata(_ namespaces: [String], _ value: (String) -> JSON?) -> Metadata {
        var metadata = Metadata()
        for namespace in namespaces {
            if let found = value(namespace) { metadata.filterMetadata[namespace] = found }
        }
        return metadata
    }

    /// Labels of this node under a key of its metadata.
    static func labels(_ node: Node?, key: String) -> [String: String] {
        guard !key.isEmpty, case .object(let members)? = node?.metadata?[key] else { return [:] }
        return members.compactMapValues(\.string)
    }
}

/// What is sent of a request.
struct CheckedFields: Sendable {
    /// Nil is all.
    let allowed: FieldNames?
    let disallowed: FieldNames

    func contains(_ name: [UInt8]) -> Bool { (allowed?.contains(name) ?? true) && !disallowed.contains(name) }
}

/// A request as an authorization service sees it.
struct CheckedRequest {
    /// Names in lower case, pseudo headers among them; in their order.
    var fields: [(name: String, value: [UInt8])] = []

    init(_ request: borrowing RequestHead, fields rules: CheckedFields) {
        var fields: [(name: String, value: [UInt8])] = []
        func take(_ name: String, _ value: [UInt8], as wanted: String? = nil) {
            let isAllowed = rules.contains(Array(name.utf8)) || wanted.map { rules.contains(Array($0.utf8)) } ?? false
            if isAllowed, !value.isEmpty || !name.hasPrefix(":") { fields.append((name, value)) }
        }
        take(":authority", [UInt8](copying: request.authority), as: "host")
        take(":path", [UInt8](copying: request.path))
        take(":method", [UInt8](copying: request.methodName))
        take(":scheme", [UInt8](copying: request.scheme))
        for index in 0..<request.headers.count {
            take(request.headers.nameText(at: index), [UInt8](copying: request.headers.value(at: index)))
        }
        if case .length(let count) = request.body, !request.headers.contains(.contentLength) {
            take("content-length", Array("\(count)".utf8))
        }
        self.fields = fields
    }

    /// Values of one name joined by commas, as text.
    var table: [String: String] {
        var joined: [String: [UInt8]] = [:]
        for (name, value) in fields {
            if joined[name] == nil { joined[name] = value } else { joined[name]? += [0x2C] + value }
        }
        return joined.mapValues { String(decoding: $0, as: UTF8.self) }
    }

    /// The same as `HeaderMap`, every field by itself and byte for byte.
    var map: HeaderMap {
        var map = HeaderMap()
        map.headers = fields.map { name, value in
            var header = HeaderValue()
            header.key = name
            header.rawValue = value
            return header
        }
        return map
    }
}

extension HTTPStream {
    /// Dynamic metadata of the request, or else of its connection.
    func knownMetadata(_ namespace: String) -> JSON? {
        info.metadata[namespace] ?? connectionInfo.facts.metadata[namespace]
    }
}

internal import EnvoyAPI
internal import IO
internal import Upstream

/// The header that begins each connection under a `ProxyProtocolUpstreamTransport`, as configured.
struct ProxyProtocolUpstream: Sendable, Equatable {
    /// 1 or 2.
    let version: Int
    /// Which TLVs of the client's own header are passed on: nil is none, empty is all.
    let passedOn: Set<UInt8>?
    /// TLVs of the configuration; they win against the client's of the same type.
    let added: [ProxyHeader.TLV]

    init(version: Int, passedOn: Set<UInt8>? = nil, added: [ProxyHeader.TLV] = []) {
        self.version = version
        self.passedOn = passedOn
        self.added = added
    }

    init(compiling message: ProxyProtocolConfig?, at path: String) throws(ConfigurationError) {
        guard let message else {
            self.init(version: 1)
            return
        }
        try FieldCheck.check(message, reads: ["version", "pass_through_tlvs", "added_tlvs"], at: path)
        let version: Int
        switch message.version {
        case .v1: version = 1
        case .v2: version = 2
        case .unrecognized(let number):
            throw ConfigurationError(at: path + ".version", "\(number) is no version")
        }
        let passedOn = try message.passThroughTlvs.flatMap { (passed) throws(ConfigurationError) in
            try passed.types(at: path + ".pass_through_tlvs")
        }
        var added: [ProxyHeader.TLV] = []
        var types: Set<UInt8> = []
        for (index, entry) in message.addedTlvs.enumerated() {
            let here = "\(path).added_tlvs[\(index)]"
            try FieldCheck.check(entry, reads: ["type", "value"], at: here)
            guard let type = UInt8(exactly: entry.type) else {
                throw ConfigurationError(at: here + ".type", "\(entry.type) is not below 256")
            }
            guard !entry.value.isEmpty, entry.value.count <= ProxyHeaderWriter.valueBytesMax else {
                throw ConfigurationError(
                    at: here + ".value", "needs 1 to \(ProxyHeaderWriter.valueBytesMax) bytes")
            }
            guard types.insert(type).inserted else {
                throw ConfigurationError(at: here + ".type", "\(type) is there twice")
            }
            added.append(ProxyHeader.TLV(type: type, value: entry.value))
        }
        guard added.isEmpty || version == 2 else {
            throw ConfigurationError(at: path + ".added_tlvs", "version 1 has no TLVs")
        }
        self.init(version: version, passedOn: passedOn, added: added)
    }

    /// The header for connections on behalf of a client; nil when the addresses can stand in none.
    func header(for connection: ConnectionInfo) -> [UInt8]? {
        var header = ProxyHeader(
            version: version, source: connection.remoteAddress, destination: connection.localAddress)
        guard version == 2 else { return ProxyHeaderWriter.write(header) }
        header.tlvs = added
        if let passedOn, connection.hasFacts, let received = connection.facts.proxyProtocol {
            let own = Set(added.map(\.type))
            header.tlvs += received.tlvs.filter {
                !own.contains($0.type) && (passedOn.isEmpty || passedOn.contains($0.type))
            }
        }
        return ProxyHeaderWriter.write(header)
    }

    /// The header of a connection of our own (health checks, calls): version 1 knows the socket's addresses alone.
    func ownHeader(local: IO.SocketAddress?, remote: IO.SocketAddress) -> [UInt8] {
        if version == 2 { return ProxyHeaderWriter.local }
        return ProxyHeaderWriter.write(ProxyHeader(version: 1, source: local, destination: remote))
            ?? ProxyHeaderWriter.unknown
    }
}

extension ProxyProtocolPassThroughTLVs {
    /// The types that pass: nil is none, empty is all.
    func types(at path: String) throws(ConfigurationError) -> Set<UInt8>? {
        switch matchType {
        case .includeAll: return []
        case .include:
            var types: Set<UInt8> = []
            for (index, number) in tlvType.enumerated() {
                guard let type = UInt8(exactly: number) else {
                    throw ConfigurationError(at: "\(path).tlv_type[\(index)]", "\(number) is not below 256")
                }
                types.insert(type)
            }
            return types.isEmpty ? nil : types
        case .unrecognized(let number):
            throw ConfigurationError(at: path + ".match_type", "\(number) is no match type")
        }
    }
}

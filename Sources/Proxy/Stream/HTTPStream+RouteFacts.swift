internal import CEL
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// What few routes ask besides the head of the request.
extension HTTPStream: RouteFacts {
    var clientCertificate: (isPresented: Bool, isValidated: Bool)? {
        connectionInfo.tls.map { ($0.isMutual, $0.isVerified) }
    }

    func metadata(_ namespace: String) -> JSON? { info.metadata[namespace] }

    func filterState(_ key: String) -> String? { info.filterState[key] }

    func runtimeValue(_ key: String) -> JSON? { nil }

    func connectionFact(_ fact: ConnectionFact) -> String? {
        switch fact {
        case .destinationIP: connectionInfo.localAddress.address?.description
        case .destinationPort: connectionInfo.localAddress.port.map { "\($0)" }
        case .sourceIP: connectionInfo.remoteAddress.address?.description
        case .sourcePort: connectionInfo.remoteAddress.port.map { "\($0)" }
        case .directSourceIP: connectionInfo.directRemoteAddress.address?.description
        case .sourceType:
            connectionInfo.directRemoteAddress.address == connectionInfo.localAddress.address
                || connectionInfo.directRemoteAddress.address?.isLoopback == true ? "local" : nil
        case .serverName: connectionInfo.tls?.serverName
        case .transportProtocol: connectionInfo.tls == nil ? "raw_buffer" : "tls"
        case .applicationProtocols:
            connectionInfo.tls?.applicationProtocol.map { "'\($0)'" }
                ?? connectionInfo.applicationProtocol.map { "'\($0)'" }
        case .uriSAN: names { if case .uri(let name) = $0 { name } else { nil } }
        case .dnsSAN: names { if case .dns(let name) = $0 { name } else { nil } }
        case .subject: connectionInfo.tls?.peer?.subject
        }
    }

    func evaluate(_ condition: CELCondition) -> Result<CELValue, CELError> {
        value(of: condition, now: worker.loop.now)
    }

    private func names(_ text: (PeerFacts.Name) -> String?) -> String? {
        connectionInfo.tls?.peer.map { $0.names.compactMap(text).joined(separator: ",") }
    }
}

extension HTTPStream {
    /// Where connections for this request come from (original_src); nil is wherever the cluster says.
    var upstreamSource: UpstreamSource? { connectionInfo.hasFacts ? connectionInfo.facts.upstreamSource : nil }
}

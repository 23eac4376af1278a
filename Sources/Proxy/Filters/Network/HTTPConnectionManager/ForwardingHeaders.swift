internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Upstream

/// Who sent a request, and which of its fields may be believed: what each request gets before routing (P-1, P-5, ATK-17).
///
/// Envoy's `mutateRequestHeaders`: the client's address comes from the socket at the edge (`use_remote_address`), from `x-forwarded-for` behind it;
/// fields that steer a proxy are taken from internal clients only, and nobody is internal unless `internal_address_config` says so.
final class ForwardingHeaders: Sendable {
    let usesRemoteAddress: Bool
    let trustedHops: Int
    let skipsXFFAppend: Bool
    let appendsForwardedPort: Bool
    let preservesRequestID: Bool
    let generatesRequestID: Bool
    let internalRanges: [Prefix]
    /// IPv4 addresses are written as IPv6 ones (`::ffff:1.2.3.4`) in `x-envoy-external-address`.
    let mapsIPv4: Bool
    /// Each client's address is looked at.
    let goesByAddress: Bool
    /// The first that finds a client says who it is.
    let detections: [ClientAddressDetection]

    /// What was found out about the client.
    struct Client {
        /// Who it is; nil when only the socket knows.
        var address: IPAddress?
        /// Whether its `x-envoy-*` fields count.
        var isInternal = false
        /// The status that it is refused with: it does not say who it is.
        var refusal: UInt16?
    }

    init(_ message: HttpConnectionManager, at path: String) throws(ConfigurationError) {
        usesRemoteAddress = message.useRemoteAddress ?? false
        trustedHops = Int(message.xffNumTrustedHops)
        skipsXFFAppend = message.skipXffAppend
        appendsForwardedPort = message.appendXForwardedPort
        mapsIPv4 = message.representIpv4RemoteAddressAsIpv4MappedIpv6
        preservesRequestID = message.preserveExternalRequestId
        generatesRequestID = message.generateRequestId ?? true
        var ranges: [Prefix] = []
        if let config = message.internalAddressConfig {
            let place = path + ".internal_address_config"
            try FieldCheck.check(config, reads: ["cidr_ranges"], at: place)
            for (index, range) in config.cidrRanges.enumerated() {
                guard let address = IPAddress(range.addressPrefix),
                    let prefix = Prefix(address, length: Int(range.prefixLen ?? 0))
                else {
                    throw ConfigurationError(
                        at: "\(place).cidr_ranges[\(index)]",
                        "\(range.addressPrefix)/\(range.prefixLen ?? 0) is no address range")
                }
                ranges.append(prefix)
            }
        }
        internalRanges = ranges
        detections = try ClientAddressDetection.compile(message, at: path)
        goesByAddress = usesRemoteAddress || !ranges.isEmpty || !detections.isEmpty
    }

    /// Sets what a request gets whoever its client is: the usual sidecar is nobody's edge, and nobody is internal.
    func apply(to request: inout RequestHead, isTLS: Bool, localPort: UInt16?) {
        setProtocol(&request, isTLS: isTLS, localPort: localPort)
        request.headers.removeSteeringFields()
    }

    /// Sets what follows from who the client is; the answer is who that is.
    func apply(
        to request: inout RequestHead, of connection: borrowing ConnectionInfo, isTLS: Bool
    ) -> Client {
        let localPort = appendsForwardedPort ? connection.localAddress.port : nil
        let hadForwardedFor = request.headers.contains(.xForwardedFor)
        if hadForwardedFor { joinForwardedFor(&request.headers) }
        guard goesByAddress || hadForwardedFor else {
            apply(to: &request, isTLS: isTLS, localPort: localPort)
            return Client()
        }
        let peer = connection.directRemoteAddress.address
        var client = Client(address: peer)
        var isSingle = true
        if usesRemoteAddress {
            isSingle = !hadForwardedFor
            if trustedHops > 0, let (address, _) = ClientAddressDetection.member(trustedHops - 1, of: request.headers) {
                client.address = address
            }
            if !skipsXFFAppend, let peer { append(peer, &request.headers) }
            if trustedHops == 0 { request.headers.remove(.xForwardedProto) }
        } else if !detections.isEmpty {
            isSingle = false
            var appendsPeer = false
            search: for detection in detections {
                appendsPeer = detection.appendsPeer(peer)
                switch detection.find(in: request.headers, peer: peer) {
                case .nothing: continue
                case .refuse(let status):
                    client.refusal = status
                    return client
                case .client(let address, let single):
                    client.address = address
                    isSingle = single
                    break search
                }
            }
            if appendsPeer, let peer { append(peer, &request.headers) }
        } else if hadForwardedFor,
            let (address, single) = ClientAddressDetection.member(trustedHops, of: request.headers)
        {
            client.address = address
            isSingle = single
        }
        if isSingle, !internalRanges.isEmpty, let address = client.address?.canonical {
            client.isInternal = internalRanges.contains { $0.contains(address) }
        }
        let isEdge = usesRemoteAddress && !client.isInternal
        setProtocol(&request, isTLS: isTLS, localPort: localPort)
        if client.isInternal {
            request.headers.remove(.xEnvoyInternal)
            request.headers.append(.xEnvoyInternal, constant: "true")
        } else if isEdge {
            request.headers.removeEnvoyFields()
            if let address = client.address {
                try? request.headers.append(.xEnvoyExternalAddress, "\(address)")
            }
            if !preservesRequestID { request.headers.remove(.xRequestId) }
        } else {
            request.headers.removeSteeringFields()
        }
        return client
    }

    private func setProtocol(_ request: inout RequestHead, isTLS: Bool, localPort: UInt16?) {
        if let index = request.headers.index(of: .xForwardedProto) {
            // P-5: where the connection ended in front of us, the field says what it was.
            request.setScheme(request.headers.value(at: index, is: "https") ? "https" : "http")
        } else {
            request.headers.append(.xForwardedProto, constant: isTLS ? "https" : "http")
            request.setScheme(isTLS ? "https" : "http")
        }
        if appendsForwardedPort, !request.headers.contains(.xForwardedPort), let localPort {
            request.headers.append(.xForwardedPort, number: Int(localPort))
        }
    }

    /// Several lines are one list (RFC 9110 §5.3): who adds a line of his own would otherwise hide what others have added (ATK-17).
    private func joinForwardedFor(_ headers: inout HeaderTable) {
        guard let first = headers.index(of: .xForwardedFor), headers.index(of: .xForwardedFor, from: first + 1) != nil
        else { return }
        var joined: [UInt8] = []
        var index: Int? = first
        while let here = index {
            if !joined.isEmpty { joined.append(UInt8(ascii: ",")) }
            joined += [UInt8](copying: headers.value(at: here))
            index = headers.index(of: .xForwardedFor, from: here + 1)
        }
        headers.remove(.xForwardedFor)
        try? headers.set(.xForwardedFor, joined.span.bytes)
    }

    private func append(_ address: IPAddress, _ headers: inout HeaderTable) {
        if let old = headers[.xForwardedFor], !old.isEmpty {
            try? headers.set(.xForwardedFor, "\(old),\(address)")
        } else {
            try? headers.set(.xForwardedFor, "\(address)")
        }
    }

    private func text(_ address: IPAddress) -> String { mapsIPv4 && !address.isV6 ? "::ffff:\(address)" : "\(address)" }
}

extension HeaderTable {
    /// Removes every `x-envoy-*` field: at the edge they are a stranger's.
    mutating func removeEnvoyFields() {
        removeFields { $0.starts(with: "x-envoy-".utf8) }
    }

    /// Removes the `x-envoy-*` fields that steer a proxy; those that inform stay.
    mutating func removeSteeringFields() {
        guard hasName(beginningWith: "x-envoy-") else { return }
        removeFields { name in
            name.starts(with: "x-envoy-".utf8)
                && Self.steering.contains { name.dropFirst(8).elementsEqual($0) }
        }
    }

    /// What follows `x-envoy-`.
    private static let steering: [[UInt8]] = [
        "internal", "retry-on", "retry-grpc-on", "max-retries", "retriable-status-codes", "retriable-header-names",
        "upstream-rq-timeout-ms", "upstream-rq-per-try-timeout-ms", "upstream-rq-timeout-alt-response",
        "hedge-on-per-try-timeout", "upstream-alt-stat-name", "force-trace", "ip-tags", "expected-rq-timeout-ms",
    ].map { Array($0.utf8) }

    func nameHasUnderscore(at index: Int) -> Bool {
        name(at: index).withUnsafeBytes { $0.contains(UInt8(ascii: "_")) }
    }

    private mutating func removeFields(where isRemoved: (UnsafeRawBufferPointer) -> Bool) {
        var index = 0
        while index < count {
            // Most names are told apart by two bytes.
            let goes = name(at: index).withUnsafeBytes { bytes in
                bytes.count > 8 && bytes[0] == UInt8(ascii: "x") && bytes[7] == UInt8(ascii: "-") && isRemoved(bytes)
            }
            if goes { remove(at: index) } else { index += 1 }
        }
    }
}

internal import HTTP
internal import IO
internal import Lua
internal import Serialization
internal import TLS
internal import Upstream

// What scripts learn about stream, route and connection.
extension LuaRun {
    func facts(_ operation: LuaOperation, _ arguments: [LuaValue], _ stream: HTTPStream) -> LuaAnswer {
        let name = arguments.first?.string ?? ""
        switch operation {
        case .metadata:
            let all = stream.currentRoute?.metadata
            let own = all?[config.name] ?? all?["envoy.filters.http.lua"]
            return .values([LuaTools.value(own ?? .object([:]))])
        case .filterContext: return .values([LuaTools.value(filterContext ?? .object([:]))])
        case .info: return .values([info(name, stream)])
        case .getDynamic:
            if arguments.isEmpty { return .values([LuaTools.value(.object(stream.info.metadata))]) }
            return .values([stream.info.metadata[name].map { LuaTools.value($0) } ?? .none])
        case .setDynamic: return setDynamic(arguments, stream)
        case .filterState: return .values([stream.info.filterState[name].map { .string($0) } ?? .none])
        case .hasTLS: return .values([.bool(stream.connectionInfo.tls != nil)])
        case .tls: return .values([stream.connectionInfo.tls.map { secure(name, $0) } ?? .none])
        case .clearRoute:
            if isRequest { stream.clearRoute() }
            return .values([])
        default: return .failure("unknown operation")
        }
    }

    private func info(_ name: String, _ stream: HTTPStream) -> LuaValue {
        let connection = stream.connectionInfo
        switch name {
        case "protocol": return .string("\(stream.version.text)")
        case "routeName":
            _ = stream.currentRoute
            return .string(stream.info.routeName ?? "")
        case "virtualClusterName": return .string(stream.info.virtualCluster ?? "")
        case "downstreamLocalAddress", "downstreamDirectLocalAddress": return .string("\(connection.localAddress)")
        case "downstreamRemoteAddress": return .string("\(connection.remoteAddress)")
        case "downstreamDirectRemoteAddress": return .string("\(connection.directRemoteAddress)")
        case "requestedServerName": return .string(connection.requestedServerName ?? "")
        default: return .none
        }
    }

    private func setDynamic(_ arguments: [LuaValue], _ stream: HTTPStream) -> LuaAnswer {
        guard arguments.count >= 3, let namespace = arguments[0].string, let key = arguments[1].string,
            let text = arguments[2].bytes, let value = try? JSON.parse(text)
        else { return .failure("dynamicMetadata():set needs namespace, key and value") }
        var members = stream.info.metadata[namespace]?.object ?? [:]
        members[key] = value
        stream.info.metadata[namespace] = .object(members)
        return .values([])
    }

    private func secure(_ name: String, _ tls: TLSFacts) -> LuaValue {
        func text(_ command: String) -> LuaValue { .string(tls.value(of: command) ?? "") }
        func list(_ values: [String]?) -> LuaValue { .list((values ?? []).map { .string($0) }) }
        switch name {
        case "peerCertificatePresented": return .bool(tls.isMutual)
        case "peerCertificateValidated": return .bool(tls.isVerified)
        case "uriSanLocalCertificate": return list(tls.local?.uris)
        case "uriSanPeerCertificate": return list(tls.peer?.uris)
        case "dnsSansPeerCertificate": return list(tls.peer?.dnsNames)
        case "dnsSansLocalCertificate": return list(tls.local?.dnsNames)
        case "sha256PeerCertificateDigest": return text("PEER_FINGERPRINT_256")
        case "serialNumberPeerCertificate": return text("PEER_SERIAL")
        case "issuerPeerCertificate": return text("PEER_ISSUER")
        case "subjectPeerCertificate": return text("PEER_SUBJECT")
        case "subjectLocalCertificate": return text("LOCAL_SUBJECT")
        case "urlEncodedPemEncodedPeerCertificate": return text("PEER_CERT")
        case "sessionId": return .string(tls.sessionID)
        case "ciphersuiteString": return .string(tls.cipher)
        case "tlsVersion": return .string(tls.version)
        default: return .none
        }
    }
}

/// What scripts may do that has nothing to do with a stream.
enum LuaTools {
    static func call(_ operation: LuaOperation, _ arguments: [LuaValue]) -> LuaAnswer {
        switch operation {
        case .base64:
            var text: [UInt8] = []
            _ = Base64Groups.encode((arguments.first?.bytes ?? [])[...], isEnd: true, into: &text)
            return .values([.text(text)])
        case .unbase64:
            return .values([Base64Groups.decode((arguments.first?.bytes ?? [])[...]).map { .text($0) } ?? .none])
        case .timestamp:
            let now = WallClock.now
            let fine = arguments.first?.isTrue ?? false
            let seconds = Double(now.seconds) * (fine ? 1_000_000 : 1_000)
            let rest = Int64(now.nanoseconds) / (fine ? 1_000 : 1_000_000)
            return .values([.number(seconds + Double(rest))])
        case .isKey: return .values([.bool(key(arguments.first?.bytes ?? []) != nil)])
        default: return verify(arguments)
        }
    }

    /// A public key in DER.
    private static func key(_ der: [UInt8]) -> VerificationKey? {
        var text: [UInt8] = []
        _ = Base64Groups.encode(der[...], isEnd: true, into: &text)
        var pem = Array("-----BEGIN PUBLIC KEY-----\n".utf8)
        for start in stride(from: 0, to: text.count, by: 64) {
            pem += text[start..<min(start + 64, text.count)] + [UInt8(ascii: "\n")]
        }
        return try? VerificationKey(pem: pem + Array("-----END PUBLIC KEY-----\n".utf8))
    }

    private static func verify(_ arguments: [LuaValue]) -> LuaAnswer {
        guard arguments.count >= 4, let hash = arguments[0].string, let der = arguments[1].bytes,
            let signature = arguments[2].bytes, let text = arguments[3].bytes
        else { return .failure("verifySignature: wrong arguments") }
        guard let key = key(der) else { return .failure("invalid public key") }
        let algorithm: SignatureAlgorithm
        switch hash.lowercased() {
        case "sha256": algorithm = .rs256
        case "sha384": algorithm = .rs384
        case "sha512": algorithm = .rs512
        default: return .values([.bool(false), .string("\(hash) is not supported.")])
        }
        guard key.allows(algorithm) else { return .values([.bool(false), .string("only RSA keys are supported.")]) }
        if key.isValid(signature, for: text, algorithm) { return .values([.bool(true), .none]) }
        return .values([.bool(false), .string("Failed to verify digest. Error code: 0")])
    }

    /// A value of metadata.
    static func value(_ json: JSON) -> LuaValue {
        switch json {
        case .null: .none
        case .bool(let bool): .bool(bool)
        case .integer(let number): .number(Double(number))
        case .number(let number): .number(number)
        case .string(let text): .string(text)
        case .array(let elements): .list(elements.map { value($0) })
        case .object(let members):
            .table(members.sorted { $0.key < $1.key }.flatMap { [.string($0.key), value($0.value)] })
        }
    }
}

public import Serialization
import TLS

// How an authority is kept: one file with keys in it, which is its owner's alone to read (mode 0600).
extension Authority {
    /// The authority with its keys, to be kept where nobody else can read it.
    public var secretJSON: JSON {
        var json: JSON = [
            "version": 1, "reissue": .integer(Int64(reissue)), "intermediate": Self.json(intermediate),
            "roots": .array(
                roots.map { root in
                    var json: JSON = [
                        "certificate": Self.text(root.certificate.pem), "stage": .string(root.stage.rawValue),
                        "since": .integer(root.since), "lastLeafEnd": .integer(root.lastLeafEnd),
                    ]
                    if let key = root.key { json["key"] = Self.text(key.pem) }
                    if let time = root.announcement { json["announcement"] = .integer(time) }
                    return json
                }),
        ]
        if let nextIntermediate { json["nextIntermediate"] = Self.json(nextIntermediate) }
        return json
    }

    /// Reads what `secretJSON` wrote.
    public init(secretJSON json: JSON) throws(IdentityError) {
        guard json["version"]?.int == 1 else {
            throw IdentityError(.authority, "version: 1 is known, this is \(json["version"]?.int ?? 0)")
        }
        var roots: [Root] = []
        for (index, entry) in (json["roots"]?.array ?? []).enumerated() {
            guard let stage = entry["stage"]?.string.flatMap(Stage.init(rawValue:)) else {
                throw IdentityError(.authority, "roots[\(index)].stage: unknown")
            }
            roots.append(
                Root(
                    certificate: try Self.certificate(entry["certificate"], "roots[\(index)].certificate"),
                    key: try entry["key"].map { key throws(IdentityError) in
                        try Self.key(key, "roots[\(index)].key")
                    }, stage: stage, since: Int64(entry["since"]?.int ?? 0),
                    lastLeafEnd: Int64(entry["lastLeafEnd"]?.int ?? 0),
                    announcement: entry["announcement"]?.int.map { Int64(clamping: $0) }))
        }
        guard roots.count(where: { $0.stage == .signing }) == 1, roots.count(where: { $0.stage == .announced }) <= 1
        else { throw IdentityError(.authority, "roots: exactly one signs and at most one is announced") }
        self.init(
            roots: roots, intermediate: try Self.intermediate(json["intermediate"] ?? .null, "intermediate"),
            next: try json["nextIntermediate"].map { entry throws(IdentityError) in
                try Self.intermediate(entry, "nextIntermediate")
            }, reissue: json["reissue"]?.int ?? 0)
        guard roots.contains(where: { $0.id == intermediate.root }) else {
            throw IdentityError(.authority, "intermediate: leads to none of the roots")
        }
    }

    private static func text(_ bytes: [UInt8]) -> JSON { .string(String(decoding: bytes, as: UTF8.self)) }

    private static func json(_ intermediate: Intermediate) -> JSON {
        [
            "certificate": text(intermediate.certificate.pem), "key": text(intermediate.key.pem),
            "chain": text(intermediate.chain.flatMap(\.pem)), "root": .string(intermediate.root),
        ]
    }

    private static func intermediate(_ json: JSON, _ path: String) throws(IdentityError) -> Intermediate {
        let certificate = try certificate(json["certificate"], path + ".certificate")
        let key = try key(json["key"], path + ".key")
        guard certificate.matches(key) else {
            throw IdentityError(.authority, "\(path).key: belongs to another certificate")
        }
        var chain: [Certificate] = []
        if let text = json["chain"]?.string, !text.isEmpty {
            do throws(TLSError) { chain = try Certificate.all(pem: Array(text.utf8)) } catch {
                throw IdentityError(.authority, "\(path).chain: \(error)")
            }
        }
        return Intermediate(certificate: certificate, key: key, chain: chain, root: json["root"]?.string ?? "")
    }

    private static func certificate(_ json: JSON?, _ path: String) throws(IdentityError) -> Certificate {
        do throws(TLSError) { return try Certificate(pem: Array((json?.string ?? "").utf8)) } catch {
            throw IdentityError(.authority, "\(path): \(error)")
        }
    }

    private static func key(_ json: JSON?, _ path: String) throws(IdentityError) -> PrivateKey {
        do throws(TLSError) { return try PrivateKey(pem: Array((json?.string ?? "").utf8)) } catch {
            throw IdentityError(.authority, "\(path): \(error)")
        }
    }
}

internal import COpenSSL

/// The parts of a certificate's subject that Kubernetes uses: CN is the user, each O a group.
public struct DistinguishedName: Sendable, Hashable, CustomStringConvertible {
    /// CN; empty when there is none.
    public var commonName: String
    /// O, in order.
    public var organizations: [String]

    /// A name of these parts.
    public init(commonName: String = "", organizations: [String] = []) {
        self.commonName = commonName
        self.organizations = organizations
    }

    /// `O=a,CN=b`.
    public var description: String {
        (organizations.map { "O=" + $0 } + (commonName.isEmpty ? [] : ["CN=" + commonName])).joined(separator: ",")
    }

    func write(to name: OpaquePointer?) throws(TLSError) {
        for organization in organizations { try DistinguishedName.add("O", organization, to: name) }
        if !commonName.isEmpty { try DistinguishedName.add("CN", commonName, to: name) }
    }

    private static func add(_ field: String, _ value: String, to name: OpaquePointer?) throws(TLSError) {
        let bytes = Array(value.utf8)
        try checked(
            X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, bytes, Int32(clamping: bytes.count), -1, 0),
            "subject \(field)=\(value)")
    }

    /// Reads a name; refuses text with NUL or that is no UTF-8, which different readers would see differently (ATK-26).
    init(reading name: OpaquePointer?) throws(TLSError) {
        self.init()
        for nid in [NID_organizationName, NID_commonName] {
            var index = X509_NAME_get_index_by_NID(name, nid, -1)
            while index >= 0 {
                let value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index))
                var utf8: UnsafeMutablePointer<UInt8>?
                let count = ASN1_STRING_to_UTF8(&utf8, value)
                guard count >= 0, let utf8 else { throw TLSError.last("certificate subject") }
                defer { CRYPTO_free(utf8, "", 0) }
                let bytes = UnsafeBufferPointer(start: utf8, count: Int(count))
                guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
                    throw TLSError("certificate subject", "a name with NUL or invalid UTF-8")
                }
                if nid == NID_organizationName {
                    organizations.append(text)
                } else if commonName.isEmpty {
                    commonName = text
                } else {
                    throw TLSError("certificate subject", "more than one CN")
                }
                index = X509_NAME_get_index_by_NID(name, nid, index)
            }
        }
    }
}

/// One of the names a certificate is good for.
public enum SubjectAlternativeName: Sendable, Hashable, CustomStringConvertible {
    /// A host name, perhaps with a wildcard label.
    case dns(String)
    /// An address: 4 or 16 bytes.
    case ip([UInt8])
    /// A URI, for instance a SPIFFE id.
    case uri(String)

    /// `DNS:example.com`.
    public var description: String {
        switch self {
        case .dns(let name): "DNS:" + name
        case .ip(let bytes): "IP:" + bytes.map(String.init).joined(separator: ".")
        case .uri(let uri): "URI:" + uri
        }
    }

    /// The names of an OpenSSL list; kinds we have no use for are left out.
    static func read(_ names: OpaquePointer?) throws(TLSError) -> [SubjectAlternativeName] {
        guard let names else { return [] }
        var result: [SubjectAlternativeName] = []
        for index in 0..<max(0, copenssl_name_count(names)) {
            guard let name = copenssl_name_at(names, index) else { continue }
            switch name.pointee.type {
            case GEN_DNS: result.append(.dns(try text(name.pointee.d.dNSName)))
            case GEN_URI: result.append(.uri(try text(name.pointee.d.uniformResourceIdentifier)))
            case GEN_IPADD:
                let bytes = bytes(name.pointee.d.iPAddress)
                guard bytes.count == 4 || bytes.count == 16 else {
                    throw TLSError("subject alternative name", "an address of \(bytes.count) bytes")
                }
                result.append(.ip(bytes))
            default: continue
            }
        }
        return result
    }

    private static func bytes(_ string: UnsafePointer<ASN1_STRING>?) -> [UInt8] {
        guard let string, let start = ASN1_STRING_get0_data(string) else { return [] }
        return Array(UnsafeBufferPointer(start: start, count: Int(max(0, ASN1_STRING_length(string)))))
    }

    /// IA5 text; NUL and control characters are refused (ATK-26).
    private static func text(_ string: UnsafePointer<ASN1_STRING>?) throws(TLSError) -> String {
        let bytes = bytes(string)
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw TLSError("subject alternative name", "a character that is not printable ASCII")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// An OpenSSL list of names, which the caller frees with `copenssl_free_names`.
    static func makeList(_ names: [SubjectAlternativeName]) throws(TLSError) -> OpaquePointer {
        let list = try made(copenssl_new_names(), "subject alternative names")
        do throws(TLSError) {
            for name in names {
                let bytes: [UInt8]
                let kind: Int32
                switch name {
                case .dns(let text): (kind, bytes) = (GEN_DNS, Array(text.utf8))
                case .uri(let text): (kind, bytes) = (GEN_URI, Array(text.utf8))
                case .ip(let address): (kind, bytes) = (GEN_IPADD, address)
                }
                if kind != GEN_IPADD, !bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
                    throw TLSError("subject alternative name \(name)", "a character that is not printable ASCII")
                }
                let entry = try made(GENERAL_NAME_new(), "subject alternative names")
                let value = ASN1_STRING_type_new(kind == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING)
                ASN1_STRING_set(value, bytes, Int32(clamping: bytes.count))
                GENERAL_NAME_set0_value(entry, kind, value)
                if copenssl_push_name(list, entry) <= 0 {
                    GENERAL_NAME_free(entry)
                    throw TLSError.last("subject alternative names")
                }
            }
            return list
        } catch {
            copenssl_free_names(list)
            throw error
        }
    }
}

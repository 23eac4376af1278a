internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Upstream

/// One rule of `header_to_metadata`: where a value comes from, and where it goes.
struct HeaderToMetadataRule: Sendable {
    enum Source: Sendable {
        case header(HeaderName)
        case cookie([UInt8])
    }

    enum Form: Sendable { case string, number, protobuf }

    /// What is written.
    struct Target: Sendable {
        let namespace: String
        let key: String
        /// In place of what was found.
        let value: String?
        let rewrite: RegexRewrite?
        let form: Form
        let isBase64: Bool

        /// The value as metadata; nil when there is nothing to write.
        func json(_ found: [UInt8]) -> JSON? {
            var bytes = value.map { Array($0.utf8) } ?? found
            if value == nil, let rewrite { bytes = rewrite.apply(to: bytes) }
            guard !bytes.isEmpty, bytes.count <= Self.valueBytesMax else { return nil }
            if isBase64 {
                guard let decoded = Base64.decode(String(decoding: bytes, as: UTF8.self)) else { return nil }
                bytes = decoded
            }
            switch form {
            case .string: return .string(String(decoding: bytes, as: UTF8.self))
            case .number: return Double(String(decoding: bytes, as: UTF8.self)).map { .number($0) }
            case .protobuf: return (try? ProtobufValue(serialized: bytes))?.value
            }
        }

        /// Envoy's bound.
        private static let valueBytesMax = 8192
    }

    let source: Source
    let present: Target?
    let missing: Target?
    let removes: Bool

    init(compiling message: HeaderToMetadata.Rule, at path: String, defaultNamespace: String) throws(ConfigurationError)
    {
        switch (message.header.isEmpty, message.cookie.isEmpty) {
        case (false, true): source = .header(HeaderName(message.header))
        case (true, false): source = .cookie(Array(message.cookie.utf8))
        default: throw ConfigurationError(at: path, "set header or cookie, and not both")
        }
        if message.remove, case .cookie = source {
            throw ConfigurationError(at: path + ".remove", "a cookie cannot be removed")
        }
        removes = message.remove
        func target(_ message: HeaderToMetadata.KeyValuePair?, _ place: String, isMissing: Bool)
            throws(ConfigurationError) -> Target?
        {
            guard let message else { return nil }
            guard !message.key.isEmpty else { throw ConfigurationError(at: place + ".key", "is empty") }
            if isMissing && message.value.isEmpty {
                throw ConfigurationError(at: place + ".value", "is empty: there would be nothing to write")
            }
            if !message.value.isEmpty && message.regexValueRewrite != nil {
                throw ConfigurationError(at: place, "set value or regex_value_rewrite, not both")
            }
            let form: Form
            switch message.type {
            case .string: form = .string
            case .number: form = .number
            case .protobufValue: form = .protobuf
            case .unrecognized(let number): throw ConfigurationError(at: place + ".type", "\(number) is no type")
            }
            return Target(
                namespace: message.metadataNamespace.isEmpty ? defaultNamespace : message.metadataNamespace,
                key: message.key, value: message.value.isEmpty ? nil : message.value,
                rewrite: try message.regexValueRewrite.map { rewrite throws(ConfigurationError) in
                    try RegexRewrite(compiling: rewrite, at: place + ".regex_value_rewrite")
                }, form: form, isBase64: message.encode == .base64)
        }
        present = try target(message.onHeaderPresent, path + ".on_header_present", isMissing: false)
        missing = try target(message.onHeaderMissing, path + ".on_header_missing", isMissing: true)
        guard present != nil || missing != nil else {
            throw ConfigurationError(at: path, "set on_header_present or on_header_missing")
        }
    }

    /// Applies the rule to a field list.
    func apply(to headers: inout HeaderTable, value pseudo: (HeaderName) -> [UInt8]?, _ metadata: inout [String: JSON])
    {
        let found: [UInt8]?
        switch source {
        case .header(let name):
            found = name.isPseudo ? pseudo(name) : headers.joined(name)
        case .cookie(let name):
            found = Cookies.value(name, in: headers)
        }
        guard let target = found == nil ? missing : present, let value = target.json(found ?? []) else {
            if found != nil { remove(from: &headers) }
            return
        }
        var space = metadata[target.namespace] ?? .object([:])
        space[target.key] = value
        metadata[target.namespace] = space
        if found != nil { remove(from: &headers) }
    }

    private func remove(from headers: inout HeaderTable) {
        if removes, case .header(let name) = source { headers.remove(named: name.bytes.span.bytes) }
    }
}

/// A serialized `google.protobuf.Value`, for rules whose header holds one.
private struct ProtobufValue {
    let value: JSON

    init(serialized bytes: [UInt8]) throws(MessageError) {
        // The message with one field of the type, read from the bytes as its content.
        var framed: [UInt8] = [0x0A]
        var count = bytes.count
        repeat {
            framed.append(UInt8(count & 0x7F) | (count > 0x7F ? 0x80 : 0))
            count >>= 7
        } while count > 0
        // `KeyValuePair.value` is field 2.
        framed[0] = 0x12
        value = try EnvoyAPI.KeyValuePair(serialized: framed + bytes).value ?? .null
    }
}

extension HeaderTable {
    /// All values of a field, joined by commas; nil when there is none.
    func joined(_ name: HeaderName) -> [UInt8]? {
        var result: [UInt8]?
        var start = 0
        while let index = index(named: name.bytes.span.bytes, from: start) {
            let value = [UInt8](copying: value(at: index))
            result = result.map { $0 + [UInt8(ascii: ",")] + value } ?? value
            start = index + 1
        }
        return result
    }
}

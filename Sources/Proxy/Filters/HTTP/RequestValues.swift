internal import HTTP
internal import Upstream

// Copies of a request's values by configured names, for filters that few requests meet.
extension RequestHead {
    /// The first value of a field or pseudo header; nil when there is none.
    func value(of name: HeaderName) -> [UInt8]? {
        if name.isPseudo {
            let value: [UInt8]
            switch name.description {
            case ":path": value = pathBytes
            case ":method": value = methodBytes
            case ":authority": value = authorityBytes
            case ":scheme": value = [UInt8](copying: scheme)
            default: return nil
            }
            return value.isEmpty ? nil : value
        }
        if name.bytes == Self.host { return authorityBytes }
        return headers.index(named: name.bytes.span.bytes).map { [UInt8](copying: headers.value(at: $0)) }
    }

    private static let host = Array("host".utf8)

    /// The first value of a query parameter, as it stands in the path.
    func queryValue(_ name: [UInt8]) -> [UInt8]? {
        for parameter in queryBytes.split(separator: UInt8(ascii: "&")) {
            let parts = parameter.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            if let key = parts.first, key.elementsEqual(name) { return parts.count > 1 ? Array(parts[1]) : [] }
        }
        return nil
    }

    /// What follows the question mark, without a fragment.
    var queryBytes: [UInt8] {
        let path = pathBytes
        guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return [] }
        return Array(path[(mark + 1)...].prefix { $0 != UInt8(ascii: "#") })
    }
}

extension HeaderTable {
    /// The first value of a field, as bytes; nil when there is none.
    func value(of name: HeaderName) -> [UInt8]? {
        index(named: name.bytes.span.bytes).map { [UInt8](copying: value(at: $0)) }
    }
}

internal import HTTP

/// gRPC's view of a failure (P-3).
enum GRPCFailure {
    static func of(httpStatus: UInt16) -> Int {
        switch httpStatus {
        case 400: 13
        case 401: 16
        case 403: 7
        case 404: 12
        case 429, 502, 503, 504: 14
        default: 2
        }
    }

    /// `grpc-message` is percent-encoded.
    static func escape(_ bytes: [UInt8]) -> String {
        var text = ""
        for byte in bytes {
            if byte >= 0x20 && byte < 0x7F && byte != 0x25 {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                text += byte < 16 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return text
    }
}

extension HeaderTable {
    /// The status that ends a gRPC answer; nil when there is none, or none of gRPC's.
    var grpcStatus: UInt8? {
        guard let text = value(.grpcStatus) else { return nil }
        return text.withUnsafeBytes { bytes in
            guard (1...2).contains(bytes.count), bytes.allSatisfy({ $0 &- 0x30 < 10 }) else { return nil }
            return bytes.reduce(0 as UInt8) { $0 &* 10 &+ ($1 &- 0x30) }
        }
    }

    /// Whether the content type is gRPC's (`application/grpc`, also with `+proto` and the like).
    var isGRPC: Bool {
        guard let type = value(.contentType) else { return false }
        let prefix: StaticString = "application/grpc"
        let count = prefix.utf8CodeUnitCount
        guard type.byteCount >= count else { return false }
        return type.withUnsafeBytes { bytes in
            for index in 0..<count where bytes[index] != prefix.utf8Start[index] { return false }
            return bytes.count == count || bytes[count] == UInt8(ascii: "+") || bytes[count] == UInt8(ascii: ";")
        }
    }
}

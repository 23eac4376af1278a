internal import Serialization
internal import TLS

/// Certificates as text.
enum PEMText {
    /// One certificate.
    static func encode(_ der: [UInt8]) -> String {
        var text = "-----BEGIN CERTIFICATE-----\n"
        let digits = Array(Base64.encode(der).utf8)
        var start = 0
        while start < digits.count {
            let end = min(start + 64, digits.count)
            text += String(decoding: digits[start..<end], as: UTF8.self)
            text += "\n"
            start = end
        }
        return text + "-----END CERTIFICATE-----\n"
    }

    /// Certificates one behind the other, encoded as Envoy does for headers and logs.
    static func urlEncoded(_ chain: ArraySlice<[UInt8]>) -> String {
        var text = ""
        for byte in chain.map(encode).joined().utf8 {
            switch byte {
            case UInt8(ascii: "\n"): text += "%0A"
            case UInt8(ascii: " "): text += "%20"
            case UInt8(ascii: "+"): text += "%2B"
            case UInt8(ascii: "/"): text += "%2F"
            case UInt8(ascii: "="): text += "%3D"
            default: text.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        return text
    }
}

/// Bytes as digits.
enum Hexadecimal {
    private static let digits = Array("0123456789abcdef".utf8)

    /// Two digits for each byte, lower case.
    static func text(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

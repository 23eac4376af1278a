internal import IO

/// Writes PROXY protocol headers.
///
/// Pure; what it writes, `ProxyHeaderParser` reads.
enum ProxyHeaderWriter {
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    /// The length of what follows the fixed part has 16 bits.
    private static let restBytesMax = 65_535
    /// One TLV's value: addresses of IPv6 and the TLV's own head stand beside it.
    static let valueBytesMax = restBytesMax - 36 - 3

    /// Version 2, LOCAL: the sender speaks for itself.
    static let local: [UInt8] = signature + [0x20, 0x00, 0x00, 0x00]

    /// Version 1, without addresses.
    static let unknown = Array("PROXY UNKNOWN\r\n".utf8)

    /// The bytes of a header.
    ///
    /// Nil where addresses are no IP addresses, one of them is unspecified (Envoy refuses these too), or the TLVs are too long.
    static func write(_ header: ProxyHeader) -> [UInt8]? {
        guard case .ip(let source, let sourcePort)? = header.source,
            case .ip(let destination, let destinationPort)? = header.destination,
            !source.isUnspecified, !destination.isUnspecified
        else { return nil }
        let isV6 = source.isV6 || destination.isV6
        if header.version == 1 {
            let family = isV6 ? "TCP6" : "TCP4"
            return Array(
                "PROXY \(family) \(text(source, isV6)) \(text(destination, isV6)) \(sourcePort) \(destinationPort)\r\n"
                    .utf8)
        }
        var rest = bytes(source, isV6) + bytes(destination, isV6)
        for port in [sourcePort, destinationPort] {
            rest += [UInt8(truncatingIfNeeded: port >> 8), UInt8(truncatingIfNeeded: port)]
        }
        for tlv in header.tlvs {
            let count = tlv.value.count
            guard rest.count + 3 + count <= restBytesMax else { return nil }
            rest += [tlv.type, UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
            rest += tlv.value
        }
        return signature + [
            0x21, isV6 ? 0x21 : 0x11, UInt8(truncatingIfNeeded: rest.count >> 8), UInt8(truncatingIfNeeded: rest.count),
        ] + rest
    }

    /// An address in the family of both: IPv4 beside IPv6 is mapped.
    private static func bytes(_ address: IPAddress, _ isV6: Bool) -> [UInt8] {
        guard isV6, !address.isV6 else { return address.bytes }
        return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF] + address.bytes
    }

    private static func text(_ address: IPAddress, _ isV6: Bool) -> String {
        isV6 && !address.isV6 ? "::ffff:\(address)" : "\(address)"
    }
}

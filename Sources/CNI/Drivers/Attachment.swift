internal import IO

/// One container on one network, while a verb works on it.
struct Attachment {
    let request: CNIRequest
    let configuration: NetworkConfiguration
    /// The host's links.
    let host: LinkSocket
    /// Whether this process goes on after the verb.
    var isLasting = false

    var owner: AttachmentOwner { request.owner }

    /// What a link's alias and a rule's comment say, for people and for GC.
    var note: String { Attachment.note(network: configuration.name, owner: owner) }

    static func note(network: String, owner: AttachmentOwner) -> String {
        // A comment holds 120 bytes: 30 are for the network, 62 for the container, 15 for the interface.
        "\(notePrefix(network))\(shortened(owner.containerID, 62))/\(owner.interface)"
    }

    static func notePrefix(_ network: String) -> String { "skein-cni \(shortened(network, 30)) " }

    /// A name that is too long ends with a hash of the whole, so that no two are alike.
    private static func shortened(_ name: String, _ count: Int) -> String {
        guard name.utf8.count > count else { return name }
        let hash = AttachmentOwner(containerID: name, interface: "").key
        let digits = String(UInt64(truncatingIfNeeded: hash >> 64), radix: 16)
        return "\(name.prefix(count - 17))~\(String(repeating: "0", count: 16 - digits.count))\(digits)"
    }

    /// The hardware address of the container's interface: what was asked for, or one that follows from its address, so that an
    /// address that is given again is not behind a stranger's in its neighbours' memory.
    func hardware(_ addresses: [InterfaceAddress]) throws(CNIError) -> [UInt8] {
        if let text = configuration.runtime.hardware ?? request.arguments.hardware {
            guard let bytes = HardwareAddress.parse(text), bytes[0] & 1 == 0 else {
                throw CNIError(
                    .invalidConfiguration, "mac: '\(text.prefix(40))' is no hardware address of a single device")
            }
            return bytes
        }
        if let v4 = addresses.first(where: { !$0.address.isV6 }) { return [0x02, 0x73] + v4.address.bytes }
        let key = owner.key
        return [0x02, 0x73] + (0..<4).map { UInt8(truncatingIfNeeded: key >> UInt128(8 * $0)) }
    }
}

/// Text of hardware addresses.
enum HardwareAddress {
    /// Reads `02:00:0a:01:00:05`.
    static func parse(_ text: String) -> [UInt8]? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard part.utf8.count == 2, part.allSatisfy(\.isHexDigit), let byte = UInt8(part, radix: 16) else {
                return nil
            }
            bytes.append(byte)
        }
        return bytes
    }

    static func text(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}

/// Turns system errors into errors of the specification.
func reporting<Value>(_ body: () throws(SystemError) -> Value) throws(CNIError) -> Value {
    do throws(SystemError) { return try body() } catch { throw CNIError(.inputOutput, error.description) }
}

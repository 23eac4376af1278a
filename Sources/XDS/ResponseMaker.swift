/// A response to one or many streams: the bytes of a message.
public struct DiscoveryMessage: Sendable, CustomStringConvertible {
    /// The type of the resources in it.
    public var typeURL: String
    /// What the answer will refer to.
    public var nonce: String
    /// The encoded `DeltaDiscoveryResponse` or `DiscoveryResponse`.
    public var bytes: [UInt8]
    /// How many resources it carries.
    public var resources: Int
    /// How many names it removes.
    public var removed: Int

    /// Type, nonce and sizes, for the log.
    public var description: String {
        let kind = typeURL.split(separator: ".").last.map(String.init) ?? typeURL
        return "\(kind) nonce=\(nonce) +\(resources) -\(removed) \(bytes.count) bytes"
    }
}

/// Makes responses; equal ones are made once, and all streams send the same bytes.
///
/// Nonces are unique over all streams but for equal responses, and never equal twice in a row on one stream.
public struct ResponseMaker {
    /// Which of the two protocols.
    public enum Form: Sendable, Hashable {
        /// `DeltaDiscoveryResponse`: what changed.
        case delta
        /// `DiscoveryResponse`: everything of a type.
        case stateOfTheWorld
    }

    private struct Key: Hashable {
        var form: Form
        var typeURL: String
        var version: String
        var resources: [ObjectIdentifier]
        var removed: [String]
    }

    /// Responses that are kept at once; more are made anew.
    static let sharedMax = 256

    private var lastNonce = 0
    private let isSharing: Bool
    /// Names that many subscribers want alike.
    var names = SharedNames()
    private var made: [Key: (message: DiscoveryMessage, resources: [EncodedResource])] = [:]

    /// A maker whose first nonce is 1; with `isSharing` equal responses are made once.
    public init(isSharing: Bool = true) { self.isSharing = isSharing }

    /// Forgets what was shared; to be called when a new model is published.
    public mutating func reset() { made = [:] }

    mutating func message(
        _ form: Form, _ typeURL: String, version: String, _ resources: [EncodedResource], removed: [String],
        unlike nonce: String
    ) -> DiscoveryMessage {
        guard isSharing else { return encode(form, typeURL, version, resources, removed) }
        let key = Key(
            form: form, typeURL: typeURL, version: version, resources: resources.map(ObjectIdentifier.init),
            removed: removed)
        if let (message, _) = made[key], message.nonce != nonce { return message }
        let message = encode(form, typeURL, version, resources, removed)
        if made.count < Self.sharedMax { made[key] = (message, resources) }
        return message
    }

    /// A response with a nonce of its own, which whoever asks for it sends to many.
    mutating func fresh(
        _ form: Form, _ typeURL: String, version: String, _ resources: [EncodedResource]
    ) -> DiscoveryMessage {
        encode(form, typeURL, version, resources, [])
    }

    private mutating func encode(
        _ form: Form, _ typeURL: String, _ version: String, _ resources: [EncodedResource], _ removed: [String]
    ) -> DiscoveryMessage {
        lastNonce += 1
        let nonce = String(lastNonce)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(resources.reduce(128) { $0 + $1.fields.count + 6 })
        switch form {
        case .delta:
            if !version.isEmpty { bytes.appendField(1, version) }
            for resource in resources { bytes.appendField(2, resource.fields) }
            bytes.appendField(4, typeURL)
            bytes.appendField(5, nonce)
            for name in removed { bytes.appendField(6, name) }
        case .stateOfTheWorld:
            bytes.appendField(1, nonce)
            for resource in resources { bytes.append(contentsOf: resource.fields[resource.bodyOffset...]) }
            bytes.appendField(4, typeURL)
            bytes.appendField(5, nonce)
        }
        return DiscoveryMessage(
            typeURL: typeURL, nonce: nonce, bytes: bytes, resources: resources.count, removed: removed.count)
    }
}

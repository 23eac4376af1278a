import EnvoyAPI

/// A response that tells of changes in one type, with what is to be remembered until it is answered: made once for all streams that get it.
struct PreparedPush {
    var message: DiscoveryMessage
    /// That one, as an array that is shared too.
    var messages: [DiscoveryMessage]
    var entries: [InFlight.Entry]
}

/// The responses that were made of one difference between snapshots, by which of its names a subscriber wants.
///
/// Belongs to whoever publishes the difference.
final class PreparedPushes {
    /// Names of a difference that are told apart; of larger ones each stream makes its own response.
    static let namesMax = 64
    /// Responses that are kept; streams that want other choices of names make their own.
    private static let kept = 128

    private struct Key: Hashable {
        var typeURL: String
        var wanted: UInt64
    }

    private var made: [Key: PreparedPush?] = [:]
    /// Nearly always the same is asked for again.
    private var last: (key: Key, push: PreparedPush?)?

    /// The response for those who want these of the changed names; nil when it has to be made for each stream.
    ///
    /// All of them must be in both snapshots: what comes or goes has to wait for other types.
    func push(
        _ typeURL: String, _ changes: TypeChanges, _ wanted: UInt64, from old: Snapshot, to new: Snapshot,
        _ maker: inout ResponseMaker
    ) -> PreparedPush? {
        let key = Key(typeURL: typeURL, wanted: wanted)
        if let last, last.key == key { return last.push }
        let push: PreparedPush?
        if let known = made[key] {
            push = known
        } else {
            guard made.count < Self.kept else { return nil }
            push = Self.make(typeURL, changes.sole, wanted, from: old, to: new, &maker)
            made[key] = .some(push)
        }
        last = (key, push)
        return push
    }

    private static func make(
        _ typeURL: String, _ names: [String], _ wanted: UInt64, from old: Snapshot, to new: Snapshot,
        _ maker: inout ResponseMaker
    ) -> PreparedPush? {
        var (makes, entries): ([EncodedResource], [InFlight.Entry]) = ([], [])
        for (index, name) in names.enumerated() where wanted & (1 << UInt64(index)) != 0 {
            guard let before = old.resource(typeURL, name), let after = new.resource(typeURL, name),
                before.version != after.version, before.name == after.name
            else { return nil }
            makes.append(after)
            entries.append(InFlight.Entry(name: after.name, old: .resource(before), new: after))
        }
        // Sorted by name, as the changes are.
        let message = maker.fresh(.delta, typeURL, version: new.version, makes)
        return PreparedPush(message: message, messages: [message], entries: entries)
    }
}

/// A request of the delta protocol that says nothing but that a response was accepted: nearly all are of this kind.
///
/// Read from its bytes; nothing is made of them.
struct PlainAcknowledgement {
    let typeURL: UnsafeRawBufferPointer
    let nonce: UnsafeRawBufferPointer

    /// Nil when the request says anything else, or is none.
    init?(_ bytes: UnsafeRawBufferPointer) {
        var (typeURL, nonce): (UnsafeRawBufferPointer?, UnsafeRawBufferPointer?) = (nil, nil)
        var rest = bytes
        while !rest.isEmpty {
            // A delimited field whose tag and length have a byte each.
            guard rest.count >= 2, rest[1] < 0x80, rest.count - 2 >= Int(rest[1]) else { return nil }
            let value = UnsafeRawBufferPointer(rebasing: rest[2..<(2 + Int(rest[1]))])
            switch rest[0] {
            case 0x12 where typeURL == nil: typeURL = value
            case 0x32 where nonce == nil: nonce = value
            default: return nil
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[(2 + value.count)...])
        }
        guard let typeURL, let nonce, !nonce.isEmpty else { return nil }
        self.typeURL = typeURL
        self.nonce = nonce
    }
}

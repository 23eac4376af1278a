internal import IO
internal import Netlink

/// A table of family inet with its chains, sets and rules, which stand still; what comes and goes with containers are elements.
struct RuleTable: Sendable {
    struct Chain: Sendable {
        var name: String
        var type: String
        var hook: UInt32
        var priority: Int32
    }

    /// A set, or a map when it has a value.
    struct Elements: Sendable {
        /// A part of a key, with the number by which `nft` knows its type and its length in bytes.
        enum Part: Sendable {
            case v4, v6, transport, port, device
            /// The number of a tunnel, as it stands in its packets: 24 bits and eight of zero.
            case tunnel

            var type: UInt32 {
                switch self {
                case .v4: 7
                case .v6: 8
                case .transport: 12
                case .port: 13
                case .device: 41
                // `nft` has no type for it; it shows four bytes as an IPv4 address.
                case .tunnel: 7
                }
            }

            var length: Int {
                switch self {
                case .v4, .tunnel: 4
                case .v6, .device: 16
                case .transport: 1
                case .port: 2
                }
            }

            /// Parts begin at multiples of four bytes.
            var padded: Int { (length + 3) & ~3 }
        }

        var name: String
        var key: [Part]
        var value: [Part] = []
        /// Whether elements are ranges of each part.
        var hasRanges = false
        /// Where in the key (or, for maps, in the value) the container's address stands: bytes.
        var address: Range<Int>?

        static func type(_ parts: [Part]) -> UInt32 { parts.reduce(0) { $0 << 6 | $1.type } }
        static func length(_ parts: [Part]) -> Int {
            // A single part keeps its own length; parts of several are padded.
            parts.count == 1 ? parts[0].length : parts.reduce(0) { $0 + $1.padded }
        }
    }

    struct Rule: Sendable {
        var chain: String
        var steps: [Expression]

        init(_ chain: String, _ steps: [Expression]) {
            self.chain = chain
            self.steps = steps
        }
    }

    var name: String
    var purpose: String
    var chains: [Chain]
    var sets: [Elements]
    var rules: [Rule]

    func set(_ name: String) -> Elements? { sets.first { $0.name == name } }
}

/// One element of a set or map.
struct RuleElement: Hashable, Sendable {
    var set: String
    var key: [UInt8]
    /// The end of a range.
    var keyEnd: [UInt8]?
    var value: [UInt8] = []
    /// The object it comes from, for people.
    var note: String
    /// What is already there may stay: an element that belongs to no single container.
    var isShared = false
}

/// Encoding of nf_tables messages.
enum RuleMessages {
    private static let subsystem: UInt16 = 10 << 8
    private static let inet: UInt32 = 1

    static func message(_ type: UInt16, _ flags: UInt16) -> NetlinkMessage {
        var message = NetlinkMessage(type: subsystem | type, flags: flags)
        message.append(inet)
        return message
    }

    /// The messages that make a table; the first fails with EEXIST when there is one.
    static func make(_ table: RuleTable) -> [(NetlinkMessage, String)] {
        var result: [(NetlinkMessage, String)] = []
        var head = message(0, NetlinkChannel.make)
        head.attribute(1, table.name)
        head.attribute(6, note(table.purpose))
        result.append((head, "make table \(table.name)"))
        for chain in table.chains {
            var item = message(3, NetlinkChannel.make)
            item.attribute(1, table.name)
            item.attribute(3, chain.name)
            item.nested(4) { hook in
                hook.attribute(1, bigEndian: chain.hook)
                hook.attribute(2, bigEndian: chain.priority)
            }
            item.attribute(7, chain.type)
            result.append((item, "make chain \(chain.name)"))
        }
        for (number, set) in table.sets.enumerated() {
            var item = message(9, NetlinkChannel.make)
            item.attribute(1, table.name)
            item.attribute(2, set.name)
            let isMap = !set.value.isEmpty
            item.attribute(3, bigEndian: UInt32((isMap ? 8 : 0) | (set.hasRanges ? 4 | 128 : 0)))
            item.attribute(4, bigEndian: RuleTable.Elements.type(set.key))
            item.attribute(5, bigEndian: UInt32(RuleTable.Elements.length(set.key)))
            if isMap {
                item.attribute(6, bigEndian: RuleTable.Elements.type(set.value))
                item.attribute(7, bigEndian: UInt32(RuleTable.Elements.length(set.value)))
            }
            if set.hasRanges {
                item.nested(9) { description in
                    description.nested(2) { fields in
                        for part in set.key {
                            fields.nested(1) { $0.attribute(1, bigEndian: UInt32(part.length)) }
                        }
                    }
                }
            }
            item.attribute(10, bigEndian: UInt32(number + 1))
            // User data for `nft`: the key's bytes are in the machine's order (1), as names of devices are.
            if set.key.first?.type == 41 { item.attribute(13, [0, 4, 1, 0, 0, 0]) }
            result.append((item, "make set \(set.name)"))
        }
        for rule in table.rules {
            var item = message(6, 0x0c05)  // NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND
            item.attribute(1, table.name)
            item.attribute(2, rule.chain)
            item.nested(4) { list in
                for step in rule.steps { step.append(to: &list) }
            }
            result.append((item, "make a rule of chain \(rule.chain)"))
        }
        return result
    }

    /// The message that adds or takes away an element.
    static func element(_ element: RuleElement, of table: String, adds: Bool) -> (NetlinkMessage, String) {
        var item = message(
            adds ? 12 : 14, !adds ? NetlinkChannel.change : element.isShared ? 0x405 : NetlinkChannel.make)
        item.attribute(1, table)
        item.attribute(2, element.set)
        item.nested(3) { list in
            list.nested(1) { entry in
                entry.nested(1) { $0.attribute(1, element.key) }
                if let end = element.keyEnd { entry.nested(10) { $0.attribute(1, end) } }
                guard adds else { return }
                if !element.value.isEmpty { entry.nested(2) { $0.attribute(1, element.value) } }
                entry.attribute(6, note(element.note))
            }
        }
        return (item, "\(adds ? "add to" : "remove from") \(element.set) of \(table)")
    }

    /// Asks for the elements of a set.
    static func list(_ set: String, of table: String) -> NetlinkMessage {
        var item = message(13, NetlinkChannel.dump)
        item.attribute(1, table)
        item.attribute(2, set)
        return item
    }

    /// The elements in an answer.
    static func elements(_ reply: NetlinkReply, set: String) -> [RuleElement] {
        let attributes = reply.attributes(after: 4)
        var rest = attributes[3] ?? []
        var result: [RuleElement] = []
        // The list has many attributes of one type.
        while rest.count >= 4 {
            let length = Int(rest.number(0, as: UInt16.self))
            guard length >= 4, length <= rest.count else { break }
            let entry = NetlinkReply.attributes(rest.dropFirst(4).prefix(length - 4))
            rest = rest.dropFirst((length + 3) & ~3)
            func value(_ type: Int) -> [UInt8]? {
                entry[type].flatMap { NetlinkReply.attributes($0)[1] }.map { Array($0) }
            }
            guard let key = value(1) else { continue }
            let note = entry[6].map { $0.dropFirst(2).text } ?? ""
            result.append(RuleElement(set: set, key: key, keyEnd: value(10), value: value(2) ?? [], note: note))
        }
        return result
    }

    /// User data that `nft` shows as a comment: type 0, length, text with a closing zero.
    private static func note(_ text: String) -> [UInt8] {
        let safe = text.utf8.map { (0x20...0x7e).contains($0) && $0 != 0x22 ? $0 : UInt8(ascii: "?") }.prefix(120)
        return [0, UInt8(safe.count + 1)] + safe + [0]
    }
}

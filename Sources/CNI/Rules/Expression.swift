internal import IO
internal import Netlink

/// One step of a rule, as nf_tables runs it (<linux/netfilter/nf_tables.h>); registers are 32 bits wide, numbered from 8.
enum Expression: Sendable {
    case meta(Meta, register: UInt32)
    case payload(base: UInt32, offset: UInt32, length: UInt32, register: UInt32)
    case compare(register: UInt32, isEqual: Bool, [UInt8])
    case mask(register: UInt32, [UInt8])
    case lookup(set: String, register: UInt32, inverted: Bool)
    /// Finds the value of a map; without one the rule ends.
    case find(map: String, register: UInt32, into: UInt32)
    /// The type of the destination address: 2 is an address of this machine.
    case destinationType(register: UInt32)
    /// The device by which the source address would be reached, if it is the one the packet came by; else 0.
    case reverseDevice(register: UInt32)
    case connectionStatus(register: UInt32)
    case translateDestination(isV6: Bool, address: UInt32, port: UInt32)
    case masquerade
    case count
    case drop

    enum Meta: UInt32, Sendable {
        case inputName = 6
        case family = 15
        case transport = 16
        case inputGroup = 21
        case inputKind = 26
        case outputKind = 27
    }

    private static let base: UInt32 = 8

    /// Adds it to a rule's list.
    func append(to list: inout NetlinkMessage) {
        list.nested(1) { element in  // NFTA_LIST_ELEM
            element.attribute(1, name)  // NFTA_EXPR_NAME
            element.nested(2) { fill(&$0) }  // NFTA_EXPR_DATA
        }
    }

    private var name: String {
        switch self {
        case .meta: "meta"
        case .payload: "payload"
        case .compare: "cmp"
        case .mask: "bitwise"
        case .lookup, .find: "lookup"
        case .destinationType, .reverseDevice: "fib"
        case .connectionStatus: "ct"
        case .translateDestination: "nat"
        case .masquerade: "masq"
        case .count: "counter"
        case .drop: "immediate"
        }
    }

    private func fill(_ data: inout NetlinkMessage) {
        func number(_ type: Int, _ value: UInt32) { data.attribute(type, bigEndian: value) }
        func register(_ type: Int, _ value: UInt32) { number(type, value + Expression.base) }
        func value(_ type: Int, _ bytes: [UInt8]) { data.nested(type) { $0.attribute(1, bytes) } }
        switch self {
        case .meta(let key, let target):
            register(1, target)
            number(2, key.rawValue)
        case .payload(let base, let offset, let length, let target):
            register(1, target)
            number(2, base)
            number(3, offset)
            number(4, length)
        case .compare(let source, let isEqual, let bytes):
            register(1, source)
            number(2, isEqual ? 0 : 1)
            value(3, bytes)
        case .mask(let source, let bytes):
            register(1, source)
            register(2, source)
            number(3, UInt32(bytes.count))
            value(4, bytes)
            value(5, [UInt8](repeating: 0, count: bytes.count))
        case .lookup(let set, let source, let inverted):
            data.attribute(1, set)
            register(2, source)
            if inverted { number(5, 1) }
        case .find(let map, let source, let target):
            data.attribute(1, map)
            register(2, source)
            register(3, target)
        case .destinationType(let target):
            register(1, target)
            number(2, 3)
            number(3, 2)
        case .reverseDevice(let target):
            register(1, target)
            number(2, 1)
            number(3, 1 | 8)
        case .connectionStatus(let target):
            register(1, target)
            number(2, 2)
        case .translateDestination(let isV6, let address, let port):
            number(1, 1)
            number(2, isV6 ? 10 : 2)
            register(3, address)
            register(5, port)
        case .masquerade, .count: break
        case .drop:
            number(1, 0)  // the verdict's register
            data.nested(2) { $0.nested(2) { $0.attribute(1, bigEndian: 0 as UInt32) } }
        }
    }
}

extension [Expression] {
    /// Packets of one family go on.
    static func family(isV6: Bool) -> [Expression] {
        [.meta(.family, register: 0), .compare(register: 0, isEqual: true, [isV6 ? 10 : 2])]
    }

    /// Connections whose destination was translated go on.
    static let isTranslated: [Expression] = [
        .connectionStatus(register: 0),
        // IPS_DST_NAT, in the machine's byte order as the kernel keeps it.
        .mask(register: 0, Swift.withUnsafeBytes(of: UInt32(0x20)) { [UInt8]($0) }),
        .compare(register: 0, isEqual: false, [0, 0, 0, 0]),
    ]

    /// Loads the source address.
    static func source(isV6: Bool, _ register: UInt32) -> [Expression] {
        [.payload(base: 1, offset: isV6 ? 8 : 12, length: isV6 ? 16 : 4, register: register)]
    }

    /// Loads the destination address.
    static func destination(isV6: Bool, _ register: UInt32) -> [Expression] {
        [.payload(base: 1, offset: isV6 ? 24 : 16, length: isV6 ? 16 : 4, register: register)]
    }

    /// Loads source and destination side by side.
    static func pair(isV6: Bool) -> [Expression] {
        source(isV6: isV6, 0) + destination(isV6: isV6, isV6 ? 4 : 1)
    }
}

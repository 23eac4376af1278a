public import IO

/// The type of a record or question.
public struct RecordType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number that IANA gave it.
    public var rawValue: UInt16
    /// The type of that number.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// IPv4 address.
    public static let a = RecordType(rawValue: 1)
    /// Name server.
    public static let ns = RecordType(rawValue: 2)
    /// Other name.
    public static let cname = RecordType(rawValue: 5)
    /// Start of authority.
    public static let soa = RecordType(rawValue: 6)
    /// Name of an address.
    public static let ptr = RecordType(rawValue: 12)
    /// Texts.
    public static let txt = RecordType(rawValue: 16)
    /// IPv6 address.
    public static let aaaa = RecordType(rawValue: 28)
    /// Host and port of a service.
    public static let srv = RecordType(rawValue: 33)
    /// Extensions (EDNS).
    public static let opt = RecordType(rawValue: 41)
    /// Everything; in questions only.
    public static let any = RecordType(rawValue: 255)
    /// Transfers of a zone, whole or what has changed; in questions only.
    static let transfers: Set<RecordType> = [RecordType(rawValue: 252), RecordType(rawValue: 251)]

    /// The usual name, or `TYPE` and the number.
    public var description: String {
        switch self {
        case .a: "A"
        case .ns: "NS"
        case .cname: "CNAME"
        case .soa: "SOA"
        case .ptr: "PTR"
        case .txt: "TXT"
        case .aaaa: "AAAA"
        case .srv: "SRV"
        case .opt: "OPT"
        case .any: "ANY"
        default: "TYPE\(rawValue)"
        }
    }
}

/// What is asked.
public struct Question: Hashable, Sendable, CustomStringConvertible {
    /// The class of the internet, the only one in use.
    public static let internet: UInt16 = 1

    /// About which name.
    public var name: Name
    /// For which records.
    public var type: RecordType
    /// In which class.
    public var recordClass: UInt16

    /// A question about the internet.
    public init(name: Name, type: RecordType, recordClass: UInt16 = internet) {
        self.name = name
        self.type = type
        self.recordClass = recordClass
    }

    /// Name and type.
    public var description: String { "\(name) \(type)" }
}

/// One resource record.
public struct Record: Hashable, Sendable {
    /// What a record says.
    public enum Value: Hashable, Sendable {
        /// A: an IPv4 address, AAAA: an IPv6 address.
        case address(IPAddress)
        /// CNAME.
        case cname(Name)
        /// PTR.
        case ptr(Name)
        /// NS.
        case ns(Name)
        /// SRV.
        case srv(priority: UInt16, weight: UInt16, port: UInt16, target: Name)
        /// SOA; `minimum` bounds how long a negative answer is kept.
        case soa(
            server: Name, mailbox: Name, serial: UInt32, refresh: UInt32, retry: UInt32, expire: UInt32, minimum: UInt32
        )
        /// TXT.
        case txt([[UInt8]])
        /// OPT and everything else, as the bytes came.
        case other(RecordType, [UInt8])
    }

    /// Whose record it is.
    public var name: Name
    /// Its class; the size of datagrams in an OPT record.
    public var recordClass: UInt16
    /// For how many seconds it may be kept.
    public var ttl: UInt32
    /// What it says.
    public var value: Value

    /// A record of the internet.
    public init(name: Name, ttl: UInt32, value: Value, recordClass: UInt16 = Question.internet) {
        self.name = name
        self.ttl = ttl
        self.value = value
        self.recordClass = recordClass
    }

    /// Its type.
    public var type: RecordType {
        switch value {
        case .address(let address): address.isV6 ? .aaaa : .a
        case .cname: .cname
        case .ptr: .ptr
        case .ns: .ns
        case .srv: .srv
        case .soa: .soa
        case .txt: .txt
        case .other(let type, _): type
        }
    }
}

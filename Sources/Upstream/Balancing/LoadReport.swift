internal import Serialization

/// What a host says of its load, with a response (ORCA: `endpoint-load-metrics`) or on a stream for reports.
public struct LoadReport: Sendable, Hashable {
    /// Share of the processors in use; may be above 1.
    public var cpuUtilization: Double = 0
    /// Share of the memory in use.
    public var memoryUtilization: Double = 0
    /// Share of what the application can do that is in use.
    public var applicationUtilization: Double = 0
    /// Requests per second.
    public var requestsPerSecond: Double = 0
    /// Errors per second.
    public var errorsPerSecond: Double = 0
    /// Metrics with names: `named_metrics.x`, `utilization.x`, `request_cost.x`.
    public var named: [String: Double] = [:]

    /// Most named metrics that are kept.
    static let namedMax = 64

    /// No load.
    public init() {}

    /// A metric by its name, as settings write it.
    public func value(of name: String) -> Double? {
        switch name {
        case "cpu_utilization": cpuUtilization
        case "mem_utilization": memoryUtilization
        case "application_utilization": applicationUtilization
        case "rps_fractional": requestsPerSecond
        case "eps": errorsPerSecond
        default: named[name]
        }
    }

    private mutating func set(_ name: String, _ value: Double) {
        guard value.isFinite, value >= 0 else { return }
        switch name {
        case "cpu_utilization": cpuUtilization = value
        case "mem_utilization": memoryUtilization = value
        case "application_utilization": applicationUtilization = value
        case "rps_fractional", "rps": requestsPerSecond = value
        case "eps": errorsPerSecond = value
        default: if named.count < Self.namedMax { named[name] = value }
        }
    }

    /// Reads the value of `endpoint-load-metrics`: `TEXT a=1, b=2`, `JSON {…}` or `BIN base64`; nil when it is none of them.
    public init?(header bytes: borrowing Span<UInt8>) {
        self.init()
        let text = String(decoding: Bytes.copy(bytes), as: UTF8.self)
        if text.hasPrefix("TEXT ") {
            for part in text.dropFirst(5).split(separator: ",") {
                let pair = part.split(separator: "=", maxSplits: 1)
                guard pair.count == 2, let value = Double(String(pair[1].trimmed)) else { return nil }
                set(String(pair[0].trimmed), value)
            }
        } else if text.hasPrefix("JSON ") {
            guard let members = (try? JSON.parse(String(text.dropFirst(5))))?.object else { return nil }
            for (name, value) in members {
                if let number = value.double {
                    set(Self.snakeCase(name), number)
                } else if let inner = value.object {
                    for (key, number) in inner {
                        if let number = number.double { set("\(Self.snakeCase(name)).\(key)", number) }
                    }
                }
            }
        } else if text.hasPrefix("BIN ") {
            guard let report = LoadReport(base64: String(text.dropFirst(4))) else { return nil }
            self = report
        } else {
            return nil
        }
    }

    /// Reads the value of `endpoint-load-metrics-bin`.
    public init?(base64 text: String) {
        guard let bytes = Base64.decode(text) else { return nil }
        self.init(serialized: bytes)
    }

    /// Reads a serialized `xds.data.orca.v3.OrcaLoadReport`; nil when it is malformed.
    public init?(serialized bytes: [UInt8]) {
        var reader = ProtobufReader(bytes[...])
        while let (number, field) = reader.next() {
            switch (number, field) {
            case (1, .fixed64(let bits)): set("cpu_utilization", Double(bitPattern: bits))
            case (2, .fixed64(let bits)): set("mem_utilization", Double(bitPattern: bits))
            case (3, .varint(let count)): set("rps", Double(count))
            case (4, .bytes(let entry)): setEntry("request_cost", entry)
            case (5, .bytes(let entry)): setEntry("utilization", entry)
            case (6, .fixed64(let bits)): set("rps_fractional", Double(bitPattern: bits))
            case (7, .fixed64(let bits)): set("eps", Double(bitPattern: bits))
            case (8, .bytes(let entry)): setEntry("named_metrics", entry)
            case (9, .fixed64(let bits)): set("application_utilization", Double(bitPattern: bits))
            default: break
            }
        }
        if reader.isMalformed { return nil }
    }

    private mutating func setEntry(_ prefix: String, _ bytes: ArraySlice<UInt8>) {
        var reader = ProtobufReader(bytes)
        var key = ""
        var value = 0.0
        while let (number, field) = reader.next() {
            switch (number, field) {
            case (1, .bytes(let name)): key = String(decoding: name, as: UTF8.self)
            case (2, .fixed64(let bits)): value = Double(bitPattern: bits)
            default: break
            }
        }
        if !reader.isMalformed { set("\(prefix).\(key)", value) }
    }

    /// `cpuUtilization` → `cpu_utilization`.
    private static func snakeCase(_ name: String) -> String {
        var result = ""
        for character in name {
            if character.isUppercase { result += "_" }
            result += character.lowercased()
        }
        return result
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var result = drop { $0 == " " }
        while result.last == " " { result.removeLast() }
        return result
    }
}

/// Reads the fields of a serialized message one by one.
struct ProtobufReader {
    enum Field {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case bytes(ArraySlice<UInt8>)
    }

    private var bytes: ArraySlice<UInt8>
    private(set) var isMalformed = false

    init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    mutating func next() -> (Int, Field)? {
        guard !bytes.isEmpty, !isMalformed else { return nil }
        guard let tag = varint() else { return fail() }
        let number = Int(truncatingIfNeeded: tag >> 3)
        switch tag & 7 {
        case 0: return varint().map { (number, .varint($0)) } ?? fail()
        case 1: return little(8).map { (number, .fixed64($0)) } ?? fail()
        case 2:
            guard let length = varint(), length <= UInt64(bytes.count) else { return fail() }
            let part = bytes.prefix(Int(length))
            bytes = bytes.dropFirst(Int(length))
            return (number, .bytes(part))
        case 5: return little(4).map { (number, .fixed32(UInt32(truncatingIfNeeded: $0))) } ?? fail()
        default: return fail()
        }
    }

    private mutating func fail() -> (Int, Field)? {
        isMalformed = true
        return nil
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while let byte = bytes.popFirst(), shift < 64 {
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    private mutating func little(_ count: Int) -> UInt64? {
        guard bytes.count >= count else { return nil }
        var value: UInt64 = 0
        for (index, byte) in bytes.prefix(count).enumerated() { value |= UInt64(byte) << UInt64(8 * index) }
        bytes = bytes.dropFirst(count)
        return value
    }
}

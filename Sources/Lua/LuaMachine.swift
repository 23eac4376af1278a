internal import CLuaJIT

/// What scripts and their host hand each other.
public enum LuaValue: Sendable, Hashable {
    /// nil.
    case none
    /// true or false.
    case bool(Bool)
    /// A number.
    case number(Double)
    /// A string: any bytes.
    case text([UInt8])
    /// A table: keys and values in turn; only from host to script.
    case table([LuaValue])
    /// A table, function or other object of a script.
    case other

    /// A string.
    public static func string(_ text: String) -> LuaValue { .text(Array(text.utf8)) }

    /// A table with the keys 1, 2, 3….
    public static func list(_ values: [LuaValue]) -> LuaValue {
        var members: [LuaValue] = []
        for (index, value) in values.enumerated() { members += [.number(Double(index + 1)), value] }
        return .table(members)
    }

    /// The bytes of a string.
    public var bytes: [UInt8]? { if case .text(let bytes) = self { bytes } else { nil } }
    /// A string as text.
    public var string: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
    /// A number.
    public var number: Double? { if case .number(let number) = self { number } else { nil } }
    /// Whether Lua takes it for true.
    public var isTrue: Bool {
        switch self {
        case .none, .bool(false): false
        default: true
        }
    }
}

/// What a host answers a script.
public enum LuaAnswer: Sendable {
    /// Results.
    case values([LuaValue])
    /// An error in the script.
    case failure(String)
}

/// Whoever a script asks for something.
public protocol LuaHost: AnyObject {
    /// Answers an operation; it must not run the same coroutine.
    func call(_ operation: Int, _ arguments: [LuaValue]) -> LuaAnswer
}

/// A script that failed.
public struct LuaError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Lua's message.
    public let description: String

    /// An error with this message.
    public init(_ description: String) { self.description = description }
}

/// A Lua state of one loop: bounded in memory, its scripts bounded in instructions, without files, processes and modules.
public final class LuaMachine {
    fileprivate let machine: OpaquePointer
    fileprivate let results = LuaResults()
    fileprivate let instructionsMax: UInt64

    /// Opens a machine; nil without memory.
    public init?(memoryMax: Int, instructionsMax: UInt64) {
        guard let machine = cluajit_open(memoryMax, LuaMachine.host) else { return nil }
        self.machine = machine
        self.instructionsMax = instructionsMax
    }

    deinit { cluajit_close(machine) }

    /// What the C side calls: finds the host of the present run.
    private static let host: cluajit_host = { context, operation, arguments, count, results in
        guard let context, let results else { return }
        let run = Unmanaged<LuaContext>.fromOpaque(context).takeUnretainedValue()
        var values: [LuaValue] = []
        values.reserveCapacity(count)
        for index in 0..<count {
            guard let argument = arguments?[index] else { break }
            switch Int(argument.type) {
            case cluajit_nil: values.append(.none)
            case cluajit_boolean: values.append(.bool(argument.number != 0))
            case cluajit_number: values.append(.number(argument.number))
            case cluajit_string:
                values.append(.text([UInt8](UnsafeRawBufferPointer(start: argument.bytes, count: argument.count))))
            default: values.append(.other)
            }
        }
        run.results.fill(run.host.call(Int(operation), values), results)
    }

    fileprivate var failure: LuaError {
        var count = 0
        let bytes = UnsafeRawBufferPointer(start: cluajit_error(machine, &count), count: count)
        return LuaError(String(decoding: bytes, as: UTF8.self))
    }

    /// Runs a text of Lua, which gets the way to its host as `...`.
    public func load(_ code: [UInt8], name: String, host: any LuaHost) throws(LuaError) {
        let context = LuaContext(host, results)
        let status = code.withUnsafeBytes { bytes in
            withExtendedLifetime(context) {
                cluajit_load(
                    machine, bytes.bindMemory(to: CChar.self).baseAddress, bytes.count, name,
                    Unmanaged.passUnretained(context).toOpaque(), instructionsMax)
            }
        }
        if Int(status) != cluajit_finished { throw failure }
    }

    /// Whether there is a global function of a name.
    public func hasFunction(_ name: String) -> Bool { cluajit_has_function(machine, name) != 0 }

    /// Bytes in use.
    public var memory: Int { cluajit_memory(machine) }
}

/// Who answers during one run.
private final class LuaContext {
    let host: any LuaHost
    let results: LuaResults

    init(_ host: any LuaHost, _ results: LuaResults) {
        self.host = host
        self.results = results
    }
}

/// A coroutine.
public final class LuaThread {
    /// How far a run came.
    public enum Outcome: Sendable, Hashable {
        /// To the end.
        case finished
        /// It waits.
        case yielded
        /// An error.
        case failed(LuaError)
    }

    private let machine: LuaMachine
    private let reference: Int32

    /// A coroutine that will call the global function `starter` with the global function `name`.
    public init(_ machine: LuaMachine, starter: String, function name: String) throws(LuaError) {
        self.machine = machine
        reference = cluajit_begin(machine.machine, starter, name)
        guard reference != 0 else { throw machine.failure }
    }

    deinit { if reference != 0 { cluajit_release(machine.machine, reference) } }

    /// Runs it until it yields, ends or fails.
    public func resume(_ host: any LuaHost) -> Outcome {
        let context = LuaContext(host, machine.results)
        let status = withExtendedLifetime(context) {
            cluajit_resume(
                machine.machine, reference, Unmanaged.passUnretained(context).toOpaque(), machine.instructionsMax)
        }
        switch Int(status) {
        case cluajit_finished: return .finished
        case cluajit_yielded: return .yielded
        default: return .failed(machine.failure)
        }
    }
}

/// Results on their way into Lua: in memory that stays where it is until the next ones.
private final class LuaResults {
    private var cells: UnsafeMutablePointer<cluajit_value>?
    private var bytes: UnsafeMutablePointer<CChar>?

    deinit { clear() }

    private func clear() {
        cells?.deallocate()
        bytes?.deallocate()
        cells = nil
        bytes = nil
    }

    func fill(_ answer: LuaAnswer, _ results: UnsafeMutablePointer<cluajit_results>) {
        clear()
        var flat: [(type: Int, number: Double, offset: Int, count: Int)] = []
        var text: [UInt8] = []
        switch answer {
        case .failure(let error): text = Array(error.utf8)
        case .values(let values): for value in values { Self.flatten(value, &flat, &text) }
        }
        let bytes = UnsafeMutablePointer<CChar>.allocate(capacity: max(1, text.count))
        for (index, byte) in text.enumerated() { bytes[index] = CChar(bitPattern: byte) }
        self.bytes = bytes
        if case .failure = answer {
            results.pointee.error = UnsafePointer(bytes)
            results.pointee.error_count = text.count
            return
        }
        let cells = UnsafeMutablePointer<cluajit_value>.allocate(capacity: max(1, flat.count))
        for (index, cell) in flat.enumerated() {
            (cells + index).initialize(
                to: cluajit_value(
                    type: Int32(cell.type), number: cell.number, bytes: UnsafePointer(bytes + cell.offset),
                    count: cell.count))
        }
        self.cells = cells
        results.pointee.values = UnsafePointer(cells)
        results.pointee.count = flat.count
    }

    private static func flatten(
        _ value: LuaValue, _ flat: inout [(type: Int, number: Double, offset: Int, count: Int)],
        _ text: inout [UInt8]
    ) {
        switch value {
        case .none, .other: flat.append((cluajit_nil, 0, 0, 0))
        case .bool(let bool): flat.append((cluajit_boolean, bool ? 1 : 0, 0, 0))
        case .number(let number): flat.append((cluajit_number, number, 0, 0))
        case .text(let bytes):
            flat.append((cluajit_string, 0, text.count, bytes.count))
            text += bytes
        case .table(let members):
            flat.append((cluajit_table, 0, 0, 0))
            for member in members { flatten(member, &flat, &text) }
            flat.append((cluajit_end, 0, 0, 0))
        }
    }
}

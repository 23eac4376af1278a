internal import Lua
internal import Synchronization
internal import Telemetry
internal import Upstream

/// A script, and its machine on each loop.
final class LuaProgram: Sendable {
    /// One loop's machine, opened when it is first needed.
    ///
    /// `@unchecked Sendable`: touched by the loop with its index alone.
    private final class Slot: @unchecked Sendable {
        var machine: LuaMachine?
        var hasFailed = false
    }

    private let code: [UInt8]
    private let slots: [Slot]
    let hooksRequests: Bool
    let hooksResponses: Bool

    static let log = Logger("lua")

    /// Compiles and runs the script's outermost part once, to see that it can be.
    init(_ code: [UInt8], at path: String, workers: Int) throws(ConfigurationError) {
        self.code = code
        slots = (0..<max(workers, 1)).map { _ in Slot() }
        do throws(LuaError) {
            let machine = try Self.open(code)
            hooksRequests = machine.hasFunction("envoy_on_request")
            hooksResponses = machine.hasFunction("envoy_on_response")
        } catch {
            throw ConfigurationError(at: path, "script load error: \(error)")
        }
    }

    private static func open(_ code: [UInt8]) throws(LuaError) -> LuaMachine {
        guard
            let machine = LuaMachine(
                memoryMax: LuaLimits.machineBytes, instructionsMax: LuaLimits.instructions)
        else { throw LuaError("no memory") }
        let host = LuaLoading()
        try machine.load(Array(LuaPrelude.text.utf8), name: "=prelude", host: host)
        try machine.load(code, name: "=script", host: host)
        return machine
    }

    /// The machine of a loop; nil where it cannot be opened.
    func machine(_ row: Int) -> LuaMachine? {
        guard slots.indices.contains(row) else { return nil }
        let slot = slots[row]
        if let machine = slot.machine { return machine }
        guard !slot.hasFailed else { return nil }
        do throws(LuaError) {
            let machine = try Self.open(code)
            slot.machine = machine
            return machine
        } catch {
            slot.hasFailed = true
            Self.log.error("script load error: \(error)")
            return nil
        }
    }
}

/// Answers while a script is loaded: there is no request yet.
private final class LuaLoading: LuaHost {
    func call(_ operation: Int, _ arguments: [LuaValue]) -> LuaAnswer {
        if operation == LuaOperation.log.rawValue {
            LuaProgram.log.info(arguments.last?.string ?? "")
            return .values([])
        }
        return .failure("there is no request yet")
    }
}

/// Bounds of scripts.
enum LuaLimits {
    /// Memory of one script on one loop.
    static let machineBytes = 33_554_432
    /// Instructions from one wait to the next: some 20 ms.
    static let instructions: UInt64 = 1_000_000
    /// Calls that a script makes without waiting for them, in one run.
    static let asynchronousCalls = 16
    /// Scripts that one filter or route names.
    static let sources = 256
}

public import Serialization
internal import Synchronization

/// The runtime of one proxy: layers of keys and values that change without new configuration.
///
/// The mutex is taken when something is compiled or a layer changes; the data path reads `RuntimeEntry` alone.
public final class Runtime: Sendable {
    /// A layer: later ones win.
    public struct Layer: Sendable, Hashable {
        /// What `/runtime` calls it.
        public var name: String
        /// Its keys.
        public var values: [String: RuntimeValue]

        /// A layer.
        public init(name: String, values: [String: RuntimeValue] = [:]) {
            self.name = name
            self.values = values
        }
    }

    private struct State {
        var layers: [Layer] = []
        var entries: [String: RuntimeEntry] = [:]

        func value(_ key: String) -> RuntimeValue? { layers.last { $0.values[key] != nil }?.values[key] }
    }

    private let state = Mutex(State())

    /// The runtime to which what is being compiled belongs.
    @TaskLocal public static var compiling = Runtime()

    /// No layer.
    public init() {}

    /// Compiles something whose runtime keys are those of this runtime.
    public func compiling<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        let result = Runtime.$compiling.withValue(self) {
            do throws(Failure) {
                return Swift.Result<Result, Failure>.success(try body())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// The value of a key, now and later.
    public func entry(_ key: String) -> RuntimeEntry {
        state.withLock { state in
            if let known = state.entries[key] { return known }
            let entry = RuntimeEntry(key)
            entry.set(state.value(key))
            state.entries[key] = entry
            return entry
        }
    }

    /// Replaces all layers.
    public func set(_ layers: [Layer]) {
        state.withLock { state in
            state.layers = layers
            for (key, entry) in state.entries { entry.set(state.value(key)) }
        }
    }

    /// Changes keys of one layer; nil takes a key away.
    public func modify(layer name: String, _ changes: [String: RuntimeValue?]) {
        state.withLock { state in
            guard let index = state.layers.firstIndex(where: { $0.name == name }) else { return }
            for (key, value) in changes {
                state.layers[index].values[key] = value
                state.entries[key]?.set(state.value(key))
            }
        }
    }

    /// The layers now.
    public var layers: [Layer] { state.withLock(\.layers) }
}

extension RuntimeValue {
    /// The keys of a layer that is written as a tree: names are joined by dots.
    public static func flatten(_ json: JSON) -> [String: RuntimeValue] {
        var values: [String: RuntimeValue] = [:]
        collect(json, "", &values)
        return values
    }

    private static func collect(_ json: JSON, _ key: String, _ values: inout [String: RuntimeValue]) {
        switch json {
        case .object(let members):
            if let fraction = fraction(members) {
                values[key] = RuntimeValue(fraction: fraction, text: "\(fraction.numerator)/\(fraction.denominator)")
                return
            }
            for (name, value) in members { collect(value, key.isEmpty ? name : key + "." + name, &values) }
        case .integer(let number): values[key] = RuntimeValue(number: Double(number), text: String(number))
        case .number(let number):
            let whole = Int64(exactly: number)
            values[key] = RuntimeValue(number: number, text: whole.map(String.init) ?? "\(number)")
        case .bool(let flag): values[key] = RuntimeValue(flag: flag)
        case .string(let text): values[key] = RuntimeValue(text: text)
        case .null, .array: break
        }
    }

    /// A `FractionalPercent` in a layer.
    private static func fraction(_ members: [String: JSON]) -> Fraction? {
        guard members.keys.allSatisfy({ $0 == "numerator" || $0 == "denominator" }) else { return nil }
        let numerator: UInt32
        switch members["numerator"] {
        case .integer(let value): numerator = UInt32(clamping: value)
        case .number(let value): numerator = UInt32(exactly: value) ?? 0
        default: return nil
        }
        switch members["denominator"] {
        case nil, .string("HUNDRED"): return Fraction(numerator: numerator, denominator: 100)
        case .string("TEN_THOUSAND"): return Fraction(numerator: numerator, denominator: 10_000)
        case .string("MILLION"): return Fraction(numerator: numerator, denominator: 1_000_000)
        default: return nil
        }
    }
}

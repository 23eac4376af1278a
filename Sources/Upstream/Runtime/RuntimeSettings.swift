public import EnvoyAPI

/// A number that a runtime key may override: a compiled `RuntimeUInt32`.
public struct RuntimeNumber: Sendable, Hashable {
    /// Without the key.
    public var standard: UInt64
    let entry: RuntimeEntry?

    /// A compiled message.
    public init(_ message: RuntimeUInt32) {
        standard = UInt64(message.defaultValue)
        entry = message.runtimeKey.isEmpty ? nil : Runtime.compiling.entry(message.runtimeKey)
    }

    /// Now.
    public var value: UInt64 { entry?.integer ?? standard }
}

/// A number with a fraction that a runtime key may override: a compiled `RuntimeDouble` or `RuntimePercent`.
public struct RuntimeReal: Sendable, Hashable {
    /// Without the key.
    public var standard: Double
    let entry: RuntimeEntry?

    /// A compiled message.
    public init(_ message: RuntimeDouble) {
        standard = message.defaultValue
        entry = message.runtimeKey.isEmpty ? nil : Runtime.compiling.entry(message.runtimeKey)
    }

    /// A compiled message; the value is a percentage.
    public init(_ message: RuntimePercent) {
        standard = message.defaultValue?.value ?? 0
        entry = message.runtimeKey.isEmpty ? nil : Runtime.compiling.entry(message.runtimeKey)
    }

    /// Now.
    public var value: Double { entry?.double ?? standard }
}

/// A switch that a runtime key may override: a compiled `RuntimeFeatureFlag`.
public struct RuntimeSwitch: Sendable, Hashable {
    /// Without the key.
    public var standard: Bool
    let entry: RuntimeEntry?

    /// A compiled message; absent is on, as the filters that have one say.
    public init(_ message: RuntimeFeatureFlag?, standard: Bool = true) {
        self.standard = message?.defaultValue ?? standard
        let key = message?.runtimeKey ?? ""
        entry = key.isEmpty ? nil : Runtime.compiling.entry(key)
    }

    /// Now.
    public var value: Bool { entry?.isEnabled ?? standard }
}

extension Fraction {
    /// Compiles a share that a runtime key may override, found at a field path; nil where there is none.
    public init?(compiling message: RuntimeFractionalPercent?, at path: String) throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }

    /// Compiles a share found at a field path.
    public init(compiling message: FractionalPercent, at path: String) throws(ConfigurationError) {
        try self.init(compiling: message, FieldPath(path))
    }
}

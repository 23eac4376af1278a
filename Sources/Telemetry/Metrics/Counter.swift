import Synchronization

/// A number that only grows, written from any thread.
public final class Counter: Sendable {
    private let cell = Atomic<UInt64>(0)

    /// Makes a counter at zero.
    public init() {}

    /// Adds an amount.
    public func add(_ amount: UInt64 = 1) { cell.wrappingAdd(amount, ordering: .relaxed) }

    /// What has been counted so far.
    public var value: UInt64 { cell.load(ordering: .relaxed) }
}

/// A number that goes up and down, written from any thread.
public final class Gauge: Sendable {
    private let cell = Atomic<Int64>(0)

    /// Makes a gauge at zero.
    public init() {}

    /// Sets the value.
    public func set(_ value: Int64) { cell.store(value, ordering: .relaxed) }

    /// Adds an amount, which may be negative.
    public func add(_ amount: Int64) { cell.wrappingAdd(amount, ordering: .relaxed) }

    /// The present value.
    public var value: Int64 { cell.load(ordering: .relaxed) }
}

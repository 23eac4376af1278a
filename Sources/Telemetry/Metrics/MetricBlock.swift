import Synchronization

/// A group of counter cells with one row per event loop.
///
/// Each loop writes its own row with a relaxed load and store (one writer per cell, so no locked instruction), and a
/// reader sums the rows. Rows start on their own cache line: two loops that count never share one.
public final class MetricBlock: Sendable {
    /// How many cells a row holds.
    public let count: Int
    private let rows: Int
    private let stride: Int
    /// Freed in `deinit`; the cells are atomics, hence shared without a lock.
    private nonisolated(unsafe) let cells: UnsafeMutablePointer<Atomic<UInt64>>

    private static let cellsPerCacheLine = 8

    /// Makes a block of `count` cells for `rows` loops, all zero.
    public init(count: Int, rows: Int) {
        self.count = count
        self.rows = max(rows, 1)
        let lines = (count + Self.cellsPerCacheLine - 1) / Self.cellsPerCacheLine
        stride = lines * Self.cellsPerCacheLine
        let raw = UnsafeMutableRawPointer.allocate(byteCount: max(stride * self.rows, 1) * 8, alignment: 64)
        cells = raw.bindMemory(to: Atomic<UInt64>.self, capacity: stride * self.rows)
        for index in 0..<(stride * self.rows) { (cells + index).initialize(to: Atomic(0)) }
    }

    deinit {
        cells.deinitialize(count: stride * rows)
        UnsafeMutableRawPointer(cells).deallocate()
    }

    /// Adds to a cell of a loop's row; only that loop may call it.
    @inlinable
    public func add(_ cell: Int, _ amount: UInt64 = 1, row: Int) {
        store(cell, load(cell, row: row) &+ amount, row: row)
    }

    /// Subtracts from a cell of a loop's row; only that loop may call it.
    ///
    /// A single row may wrap below zero when something began on one loop ends on another; the sum is right.
    @inlinable
    public func subtract(_ cell: Int, _ amount: UInt64 = 1, row: Int) {
        store(cell, load(cell, row: row) &- amount, row: row)
    }

    /// The sum of a cell over all loops.
    public func value(_ cell: Int) -> UInt64 {
        var sum: UInt64 = 0
        for row in 0..<rows { sum &+= load(cell, row: row) }
        return sum
    }

    @usableFromInline
    func load(_ cell: Int, row: Int) -> UInt64 {
        precondition(cell >= 0 && cell < count && row >= 0 && row < rows, "a metric cell outside its block")
        return cells[row * stride + cell].load(ordering: .relaxed)
    }

    @usableFromInline
    func store(_ cell: Int, _ value: UInt64, row: Int) {
        cells[row * stride + cell].store(value, ordering: .relaxed)
    }
}

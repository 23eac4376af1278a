import Synchronization

/// A group of counter cells with one row per event loop; a row exists from its first write on.
///
/// Each loop writes its own row with a relaxed load and store (one writer per cell, so no locked instruction), and a
/// reader sums the rows. Rows start on their own cache line: two loops that count never share one. A block that nobody
/// counts in costs its object alone, which is what makes 10,000 unused clusters affordable.
public final class MetricBlock: Sendable {
    /// How many cells a row holds.
    public let count: Int
    /// How many rows there may be.
    public let rows: Int
    /// The address of each row, 0 while the row does not exist.
    ///
    /// Freed in `deinit`; written once by the row's loop, with release order.
    private nonisolated(unsafe) let table: UnsafeMutablePointer<Atomic<UInt>>
    /// What `reset` found in the cells: reading subtracts it, so that the loops' rows have one writer each.
    private let base = Mutex<[UInt64]>([])

    private static let lineBytes = 64

    /// Makes a block of `count` cells for `rows` loops, all zero.
    public init(count: Int, rows: Int) {
        self.count = max(count, 1)
        self.rows = max(rows, 1)
        table = .allocate(capacity: self.rows)
        for row in 0..<self.rows { (table + row).initialize(to: Atomic(0)) }
    }

    deinit {
        for row in 0..<rows { Self.pointer(table[row].load(ordering: .acquiring))?.deallocate() }
        table.deinitialize(count: rows)
        table.deallocate()
    }

    /// Adds to a cell of a loop's row; only that loop may call it.
    @inline(__always)
    public func add(_ cell: Int, _ amount: UInt64 = 1, row: Int) {
        let cells = cells(row)
        precondition(cell >= 0 && cell < count, "a metric cell outside its block")
        cells[cell].store(cells[cell].load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    /// A loop's row, for who adds to it often; it comes into being.
    public func row(_ row: Int) -> MetricRow { MetricRow(cells: cells(row), count: count) }

    /// Subtracts from a cell of a loop's row; only that loop may call it.
    ///
    /// A single row may wrap below zero when something began on one loop ends on another; the sum is right.
    public func subtract(_ cell: Int, _ amount: UInt64 = 1, row: Int) { add(cell, 0 &- amount, row: row) }

    /// Sets a cell of a loop's row; only that loop may call it.
    public func set(_ cell: Int, _ value: UInt64, row: Int) {
        let cells = cells(row)
        precondition(cell >= 0 && cell < count, "a metric cell outside its block")
        cells[cell].store(value, ordering: .relaxed)
    }

    /// The sum of a cell over all loops.
    public func value(_ cell: Int) -> UInt64 {
        var sum: UInt64 = 0
        for row in 0..<rows { sum &+= value(cell, row: row) }
        return sum &- base.withLock { $0.isEmpty ? 0 : $0[cell] }
    }

    /// What one loop counted.
    public func value(_ cell: Int, row: Int) -> UInt64 {
        precondition(cell >= 0 && cell < count && row >= 0 && row < rows, "a metric cell outside its block")
        guard let cells = Self.pointer(table[row].load(ordering: .acquiring)) else { return 0 }
        return cells[cell].load(ordering: .relaxed)
    }

    /// Whether any loop has counted here.
    public var isUsed: Bool { (0..<rows).contains { table[$0].load(ordering: .relaxed) != 0 } }

    /// Lets some cells read as zero from now on (`/reset_counters`).
    public func reset(_ isReset: (Int) -> Bool) {
        guard isUsed else { return }
        var sums = [UInt64](repeating: 0, count: count)
        for cell in 0..<count where isReset(cell) {
            for row in 0..<rows { sums[cell] &+= value(cell, row: row) }
        }
        base.withLock { $0 = sums }
    }

    @inline(__always)
    private func cells(_ row: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        precondition(row >= 0 && row < rows, "a metric row outside its block")
        return Self.pointer(table[row].load(ordering: .relaxed)) ?? makeRow(row)
    }

    private static func pointer(_ address: UInt) -> UnsafeMutablePointer<Atomic<UInt64>>? {
        UnsafeMutablePointer(bitPattern: address)
    }

    @inline(never)
    private func makeRow(_ row: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        let bytes = (count * 8 + Self.lineBytes - 1) / Self.lineBytes * Self.lineBytes
        let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: Self.lineBytes)
        let cells = raw.bindMemory(to: Atomic<UInt64>.self, capacity: count)
        for index in 0..<count { (cells + index).initialize(to: Atomic(0)) }
        table[row].store(UInt(bitPattern: cells), ordering: .releasing)
        return cells
    }
}

/// One loop's row of a `MetricBlock`, to be added to without looking it up again.
///
/// Good as long as the block: who holds a row holds its block. Only the row's loop may use it.
public struct MetricRow {
    fileprivate let cells: UnsafeMutablePointer<Atomic<UInt64>>
    fileprivate let count: Int

    /// Adds to a cell.
    @inline(__always)
    public func add(_ cell: Int, _ amount: UInt64 = 1) {
        precondition(cell >= 0 && cell < count, "a metric cell outside its block")
        cells[cell].store(cells[cell].load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }
}

/// The samples of one series at one distance in time, oldest first: sealed blocks in pages, and a few that are not sealed.
///
/// A block holds samples without a gap between them. Pages hold several blocks, so that a series costs few allocations.
struct SampleColumn<Head: SampleBlock>: Sendable {
    /// Samples of a block at most.
    static var blockSamples: Int { 120 }
    /// Bytes from which a page is left alone and another one begun.
    static var pageBytes: Int { 1024 }
    /// Samples of a page at most: it is forgotten whole.
    static var pageSamples: Int64 { 720 }

    private struct Page: Sendable {
        var bytes: [UInt8]
        /// The ticks of its samples.
        var first: Int64
        var last: Int64
    }

    private var pages: [Page] = []
    private var head = Head()
    private var headStart: Int64 = 0

    /// Bytes in memory, about.
    private(set) var bytes = 0
    /// The tick of the newest sample; nil without any.
    private(set) var last: Int64?

    /// The tick of the oldest sample; nil without any.
    var first: Int64? { pages.first?.first ?? (head.count > 0 ? headStart : nil) }

    /// Adds a sample; one that is not newer than the last is refused.
    ///
    /// - Returns: a block that is now sealed, to be written down.
    mutating func append(_ sample: Head.Sample, at tick: Int64) -> [UInt8]? {
        if let last, tick <= last { return nil }
        var sealed: [UInt8]?
        if head.count >= Self.blockSamples || head.count > 0 && tick != headStart + Int64(head.count) {
            sealed = seal()
        }
        if head.count == 0 { headStart = tick }
        head.append(sample)
        last = tick
        return sealed
    }

    /// Seals what is not; nil when there is nothing.
    mutating func seal() -> [UInt8]? {
        guard head.count > 0 else { return nil }
        let block = unsealed ?? []
        add(block, from: headStart, to: headStart + Int64(head.count) - 1)
        head = Head()
        return block
    }

    /// What is not sealed, as a block.
    var unsealed: [UInt8]? {
        guard head.count > 0 else { return nil }
        var block: [UInt8] = []
        VariableLength.append(UInt64(max(0, headStart)), to: &block)
        VariableLength.append(UInt64(head.count), to: &block)
        head.encode(to: &block)
        return block
    }

    private mutating func add(_ block: [UInt8], from first: Int64, to last: Int64) {
        bytes += block.count
        if let page = pages.indices.last, pages[page].bytes.count + block.count <= Self.pageBytes,
            last - pages[page].first < Self.pageSamples
        {
            pages[page].bytes += block
            pages[page].last = last
        } else {
            bytes += 56  // The page's own words, and those of its array.
            pages.append(Page(bytes: block, first: first, last: last))
        }
        self.last = max(self.last ?? last, last)
    }

    /// Takes a block that was written down before; whether it was one, and newer than what is there.
    mutating func load(_ block: [UInt8]) -> Bool {
        var rest = block[...]
        guard let (first, content) = Self.block(&rest), rest.isEmpty, content.count > 0,
            last.map({ first > $0 }) ?? true
        else { return false }
        _ = seal()
        add(block, from: first, to: first + Int64(content.count) - 1)
        return true
    }

    private static func block(_ bytes: inout ArraySlice<UInt8>) -> (first: Int64, content: Head)? {
        guard let start = VariableLength.read(&bytes), let first = Int64(exactly: start), first < 1 << 40,
            let count = VariableLength.read(&bytes), count <= UInt64(blockSamples),
            let content = Head(decoding: &bytes, count: Int(count))
        else { return nil }
        return (first, content)
    }

    /// Calls `body` with each block that has samples from tick `from` to tick `to`.
    func visit(from: Int64, to: Int64, _ body: (_ first: Int64, _ block: Head) -> Void) {
        for page in pages where page.last >= from && page.first <= to {
            var rest = page.bytes[...]
            while !rest.isEmpty, let (first, block) = Self.block(&rest) {
                if first <= to, first + Int64(block.count) > from { body(first, block) }
            }
        }
        if head.count > 0, headStart <= to, headStart + Int64(head.count) > from { body(headStart, head) }
    }

    /// Forgets pages whose samples are all older than a tick.
    mutating func forget(before tick: Int64) {
        while let page = pages.first, page.last < tick {
            bytes -= page.bytes.count + 56
            pages.removeFirst()
        }
    }

    /// Forgets the oldest page; whether there was one.
    mutating func forgetOldest() -> Bool {
        guard let page = pages.first else { return false }
        bytes -= page.bytes.count + 56
        pages.removeFirst()
        return true
    }
}

/// Samples one after the other.
protocol SampleBlock: Sendable {
    associatedtype Sample
    init()
    /// The samples of bytes that `encode` wrote; nil when they are none.
    init?(decoding bytes: inout ArraySlice<UInt8>, count: Int)
    var count: Int { get }
    mutating func append(_ sample: Sample)
    func encode(to bytes: inout [UInt8])
}

/// Plain numbers.
struct ScalarBlock: SampleBlock {
    private(set) var values: [Double] = []

    init() {}

    var count: Int { values.count }
    mutating func append(_ sample: Double) { values.append(sample) }

    /// Numbers times one of these are whole: counts, milliseconds with three digits, seconds with six.
    private static let scales: [Double] = [1, 1e3, 1e6]
    private static let wholeMax = 9e15

    func encode(to bytes: inout [UInt8]) {
        for (mode, scale) in Self.scales.enumerated() {
            let whole = values.map { ($0 * scale).rounded() }
            guard zip(whole, values).allSatisfy({ abs($0) < Self.wholeMax && $0 / scale == $1 }) else { continue }
            bytes.append(UInt8(mode))
            let numbers = whole.map { Int64($0) }
            VariableLength.append(VariableLength.zigzag(numbers.first ?? 0), to: &bytes)
            ColumnCodec.encode(zip(numbers.dropFirst(), numbers).map { $0 &- $1 }, to: &bytes)
            return
        }
        bytes.append(UInt8(Self.scales.count))
        for value in values {
            let pattern = value.bitPattern
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: pattern >> shift))
            }
        }
    }

    init?(decoding bytes: inout ArraySlice<UInt8>, count: Int) {
        guard count > 0, let mode = bytes.popFirst() else { return nil }
        if Int(mode) == Self.scales.count {
            for _ in 0..<count {
                guard bytes.count >= 8 else { return nil }
                var pattern: UInt64 = 0
                for (shift, byte) in bytes.prefix(8).enumerated() { pattern |= UInt64(byte) << UInt64(8 * shift) }
                values.append(Double(bitPattern: pattern))
                bytes = bytes.dropFirst(8)
            }
            return
        }
        guard Self.scales.indices.contains(Int(mode)), let first = VariableLength.read(&bytes),
            let steps = ColumnCodec.decode(count - 1, &bytes)
        else { return nil }
        let scale = Self.scales[Int(mode)]
        var value = VariableLength.unzigzag(first)
        values = [Double(value) / scale]
        for step in steps {
            value = value &+ step
            values.append(Double(value) / scale)
        }
    }
}

/// What was added to a distribution at each step.
struct SketchBlock: SampleBlock {
    /// One step's increments.
    struct Step: Sendable, Hashable {
        var counts: [(index: Int16, count: UInt64)] = []
        /// Thousandths of the values' unit.
        var sum: Int64 = 0

        static func == (left: Step, right: Step) -> Bool {
            left.sum == right.sum && left.counts.elementsEqual(right.counts, by: ==)
        }
        func hash(into hasher: inout Hasher) { hasher.combine(sum) }
    }

    private(set) var steps: [Step] = []

    init() {}

    var count: Int { steps.count }
    mutating func append(_ sample: Step) { steps.append(sample) }

    func encode(to bytes: inout [UInt8]) {
        ColumnCodec.encode(steps.map(\.sum), to: &bytes)
        var columns: [Int16: [Int64]] = [:]
        for (place, step) in steps.enumerated() {
            for (index, count) in step.counts {
                columns[index, default: Array(repeating: 0, count: steps.count)][place] += Int64(clamping: count)
            }
        }
        VariableLength.append(UInt64(columns.count), to: &bytes)
        for (index, column) in columns.sorted(by: { $0.key < $1.key }) {
            VariableLength.append(VariableLength.zigzag(Int64(index)), to: &bytes)
            ColumnCodec.encode(column, to: &bytes)
        }
    }

    init?(decoding bytes: inout ArraySlice<UInt8>, count: Int) {
        guard count > 0, let sums = ColumnCodec.decode(count, &bytes), let columns = VariableLength.read(&bytes),
            columns <= 65_536
        else { return nil }
        steps = sums.map { Step(sum: $0) }
        for _ in 0..<columns {
            guard let zigzag = VariableLength.read(&bytes),
                let index = Int16(exactly: VariableLength.unzigzag(zigzag)),
                let column = ColumnCodec.decode(count, &bytes)
            else { return nil }
            for (place, value) in column.enumerated() where value > 0 {
                steps[place].counts.append((index, UInt64(value)))
            }
        }
    }
}

/// Bytes on their way through the proxy: appended at the end, consumed from the start, contiguous.
///
/// Loop-owned. Holds a block of the pool while it is not empty, or an allocation of its own when it had to grow beyond
/// one; the bound is its user's (`limits.bufferBytes`), who stops reading when it is reached.
final class ByteBuffer {
    private let pool: BlockPool
    private var base: UnsafeMutableRawPointer?
    private var start = 0
    private var end = 0
    /// Narrow: an idle connection is little more than its buffers' objects.
    private var heldCapacity: UInt32 = 0
    private var capacity: Int {
        get { Int(heldCapacity) }
        set { heldCapacity = UInt32(clamping: newValue) }
    }
    /// Whether it begins with a large block: its user has seen that a small one does not do.
    var prefersLarge = false

    init(pool: BlockPool) { self.pool = pool }

    deinit { release() }

    var count: Int { end &- start }
    var isEmpty: Bool { start == end }

    /// The bytes not consumed yet; valid until the next mutating call.
    var bytes: UnsafeRawBufferPointer {
        guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: base + start, count: end - start)
    }

    /// The bytes not consumed yet, writable in place (normalisation lowers the case of header names).
    var mutableBytes: UnsafeMutableRawBufferPointer {
        guard let base else { return UnsafeMutableRawBufferPointer(start: nil, count: 0) }
        return UnsafeMutableRawBufferPointer(start: base + start, count: end - start)
    }

    /// Room behind the bytes for at least `minimum` more.
    func room(_ minimum: Int) -> UnsafeMutableRawBufferPointer {
        if base == nil, minimum <= BlockPool.blockSize, !prefersLarge {
            base = pool.take()
            capacity = BlockPool.blockSize
        } else if capacity &- end < minimum {
            makeRoom(minimum)
        }
        guard let base else { preconditionFailure("a buffer without memory after making room") }
        return UnsafeMutableRawBufferPointer(start: base + end, count: capacity &- end)
    }

    /// Declares `count` bytes of `room` written.
    func commit(_ count: Int) {
        precondition(count >= 0 && count <= capacity &- end, "more bytes committed than there was room for")
        end &+= count
        if start == end { release() }
    }

    /// Drops `count` bytes from the start.
    func consume(_ count: Int) {
        precondition(count >= 0 && count <= end &- start, "more bytes consumed than there are")
        start &+= count
        if start == end { release() }
    }

    func append(_ source: UnsafeRawBufferPointer) {
        guard !source.isEmpty else { return }
        room(source.count).copyMemory(from: source)
        end += source.count
    }

    func append(_ source: [UInt8]) {
        source.withUnsafeBytes { append($0) }
    }

    func append(_ byte: UInt8) {
        room(1)[0] = byte
        end += 1
    }

    func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    func append(text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends a number in decimal.
    func append(decimal number: Int) {
        if number < 10 && number >= 0 { return append(UInt8(48 + number)) }
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { digits in
            var rest = number.magnitude
            var position = digits.count
            while rest > 0 && position > 0 {
                position -= 1
                digits[position] = UInt8(48 + rest % 10)
                rest /= 10
            }
            if number < 0 { append(UInt8(ascii: "-")) }
            append(UnsafeRawBufferPointer(rebasing: digits[position...]))
        }
    }

    /// Appends a number in hexadecimal (chunk sizes).
    func append(hexadecimal number: Int) {
        if number == 0 { return append(UInt8(ascii: "0")) }
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 1) { digits in
            var rest = number.magnitude
            var position = digits.count
            while rest > 0 && position > 0 {
                position -= 1
                let digit = UInt8(truncatingIfNeeded: rest & 15)
                digits[position] = digit < 10 ? 48 + digit : 87 + digit
                rest >>= 4
            }
            append(UnsafeRawBufferPointer(rebasing: digits[position...]))
        }
    }

    func removeAll() {
        start = end
        release()
    }

    private func makeRoom(_ minimum: Int) {
        let held = end - start
        if let base, capacity - held >= minimum, start > 0 {
            // Moving what is left is cheaper than a larger block, and the room is there.
            base.copyMemory(from: base + start, byteCount: held)
            start = 0
            end = held
            return
        }
        let needed = held + minimum
        let fresh: UnsafeMutableRawPointer
        let freshCapacity: Int
        if needed <= BlockPool.blockSize, !prefersLarge {
            fresh = pool.take()
            freshCapacity = BlockPool.blockSize
        } else if needed <= BlockPool.largeBlockSize {
            fresh = pool.takeLarge()
            freshCapacity = BlockPool.largeBlockSize
        } else {
            freshCapacity = max(needed, min(capacity * 2, needed + (1 << 20)))
            fresh = UnsafeMutableRawPointer.allocate(byteCount: freshCapacity, alignment: 8)
        }
        if let base { fresh.copyMemory(from: base + start, byteCount: held) }
        freeMemory()
        base = fresh
        capacity = freshCapacity
        start = 0
        end = held
    }

    private func release() {
        freeMemory()
        base = nil
        capacity = 0
        start = 0
        end = 0
    }

    private func freeMemory() {
        guard let base else { return }
        switch capacity {
        case BlockPool.blockSize: pool.give(base)
        case BlockPool.largeBlockSize: pool.giveLarge(base)
        default: base.deallocate()
        }
    }
}

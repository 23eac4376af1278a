/// A loop's free list of equal memory blocks.
///
/// Loop-owned. A connection holds a block only while there is something in it, so ten thousand idle connections hold
/// none.
final class BlockPool {
    /// Large enough for a head and a small body in one read, small enough that a slow reader costs little.
    static let blockSize = 16_384

    /// Blocks kept for reuse; beyond it they go back to the allocator.
    private static let keptMax = 64

    private var free: [UnsafeMutableRawPointer] = []

    deinit {
        for block in free { block.deallocate() }
    }

    func take() -> UnsafeMutableRawPointer {
        if let block = free.popLast() { return block }
        return UnsafeMutableRawPointer.allocate(byteCount: Self.blockSize, alignment: 16)
    }

    func give(_ block: UnsafeMutableRawPointer) {
        if free.count < Self.keptMax {
            free.append(block)
        } else {
            block.deallocate()
        }
    }
}

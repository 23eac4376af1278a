/// A loop's free lists of memory blocks, of two sizes.
///
/// Loop-owned. A connection holds a block only while there is something in it, so ten thousand idle connections hold
/// none.
final class BlockPool {
    /// Large enough for a head and a small body in one read, small enough that a slow reader costs little.
    static let blockSize = 16_384
    /// For connections that keep sending more than a block at once: a quarter of the calls.
    ///
    /// A frame more than `Limits.bufferBytes`: HTTP/2 stops at the first frame beyond that, and growing then would copy everything.
    static let largeBlockSize = Limits.bufferBytes + 16_384 + 512

    /// Blocks kept for reuse; beyond it they go back to the allocator.
    private static let keptMax = 64
    private static let largeKeptMax = 32

    /// The first of the free blocks, each of which begins with the address of the next.
    private var free: UnsafeMutableRawPointer?
    private var freeCount = 0
    private var largeFree: [UnsafeMutableRawPointer] = []

    deinit {
        while let block = free {
            free = block.load(as: UnsafeMutableRawPointer?.self)
            block.deallocate()
        }
        for block in largeFree { block.deallocate() }
    }

    func takeLarge() -> UnsafeMutableRawPointer {
        if let block = largeFree.popLast() { return block }
        return UnsafeMutableRawPointer.allocate(byteCount: Self.largeBlockSize, alignment: 8)
    }

    func giveLarge(_ block: UnsafeMutableRawPointer) {
        if largeFree.count < Self.largeKeptMax {
            largeFree.append(block)
        } else {
            block.deallocate()
        }
    }

    func take() -> UnsafeMutableRawPointer {
        guard let block = free else {
            return UnsafeMutableRawPointer.allocate(byteCount: Self.blockSize, alignment: 16)
        }
        free = block.load(as: UnsafeMutableRawPointer?.self)
        freeCount &-= 1
        return block
    }

    func give(_ block: UnsafeMutableRawPointer) {
        guard freeCount < Self.keptMax else { return block.deallocate() }
        block.storeBytes(of: free, as: UnsafeMutableRawPointer?.self)
        free = block
        freeCount &+= 1
    }
}

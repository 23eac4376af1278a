internal import CNGHTTP2
internal import Glibc

/// What the sessions of one loop allocate from: free lists by size for nghttp2, blocks for heads and queues for bodies on their way.
///
/// A request makes it allocate and free about ten small pieces, a thousand requests at once far more than the C library keeps at hand
/// for a thread. Each piece begins with its class, so that it finds back.
public final class HTTP2Memory {
    /// Pieces are multiples of this; the first of them holds the class and, while it is free, the next one.
    private static let step = 64
    private static let headBytes = 16
    /// Larger pieces come from the C library.
    private static let classes = 17
    /// Bytes of pieces kept of one class, so that a thousand streams of each side find theirs; a burst's memory goes back beyond it.
    private static let keptBytesMax = 768 * 1024
    /// Queues kept for bodies.
    private static let queuesKept = 256

    /// The free pieces of a class: each holds the next one behind its class.
    private struct List {
        var first: UnsafeMutableRawPointer?
        var count = 0
    }

    /// What connections of the control path frame into, one after the other.
    let output = HTTP2ArrayOutput()

    /// Of the size of a frame each session has one piece, of which little but the beginning is ever used: those have pages of their own, so
    /// that the rest is no memory.
    private static let frameBytes = 20 * 1024
    private static let framesAtOnce = 16
    /// The class that stands for them.
    private static let frameClass = HTTP2Memory.classes
    private var frames: [UnsafeMutableRawPointer] = []
    private var regions: [UnsafeMutableRawPointer] = []

    /// Memory of heads, last in, first out, so that it is in the processor's cache.
    let blocks = HTTP2Blocks()
    @exclusivity(unchecked) private var queues: [[UInt8]] = []

    private let lists = UnsafeMutablePointer<List>.allocate(capacity: HTTP2Memory.classes)

    /// Memory without a piece.
    public init() { lists.initialize(repeating: List(), count: Self.classes) }

    deinit {
        for index in 0..<Self.classes {
            while let piece = take(index) { Glibc.free(piece) }
        }
        lists.deallocate()
        for region in regions { munmap(region, Self.frameBytes * Self.framesAtOnce) }
    }

    /// A piece of the size of a frame; nil when there is no memory.
    private func takeFrame() -> UnsafeMutableRawPointer? {
        if let frame = frames.popLast() { return frame }
        let bytes = Self.frameBytes * Self.framesAtOnce
        let region = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let region, region != UnsafeMutableRawPointer(bitPattern: -1) else { return nil }
        regions.append(region)
        for index in (1..<Self.framesAtOnce).reversed() { frames.append(region + index * Self.frameBytes) }
        return region
    }

    /// Memory for a body that begins to wait; none where there is no used one.
    func takeQueue() -> [UInt8] { queues.popLast() ?? [] }

    /// Takes the memory of a body that has left, unless it is larger than `most`.
    func give(queue: consuming [UInt8], most: Int) {
        guard queue.capacity <= most, queues.count < Self.queuesKept else { return }
        queue.removeAll(keepingCapacity: true)
        queues.append(queue)
    }

    @inline(__always)
    private func take(_ index: Int) -> UnsafeMutableRawPointer? {
        guard let piece = lists[index].first else { return nil }
        lists[index].first = piece.load(fromByteOffset: 8, as: UnsafeMutableRawPointer?.self)
        lists[index].count &-= 1
        return piece
    }

    /// The functions for nghttp2; whoever uses them keeps the memory alive.
    var functions: nghttp2_mem {
        nghttp2_mem(
            mem_user_data: Unmanaged.passUnretained(self).toOpaque(),
            malloc: { size, user in HTTP2Memory.with(user) { $0.allocate(size) } },
            free: { piece, user in
                _ = HTTP2Memory.with(user) { memory in
                    memory.release(piece)
                    return nil
                }
            },
            calloc: { count, size, user in
                let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
                guard !overflow, let piece = HTTP2Memory.with(user, { $0.allocate(bytes) }) else { return nil }
                memset(piece, 0, bytes)
                return piece
            },
            realloc: { piece, size, user in HTTP2Memory.with(user) { $0.reallocate(piece, size) } })
    }

    /// Nobody retains the memory for a call: whoever calls nghttp2 keeps it alive.
    @inline(__always)
    private static func with(
        _ user: UnsafeMutableRawPointer?, _ body: (HTTP2Memory) -> UnsafeMutableRawPointer?
    ) -> UnsafeMutableRawPointer? {
        guard let user else { return nil }
        return Unmanaged<HTTP2Memory>.fromOpaque(user)._withUnsafeGuaranteedRef(body)
    }

    private func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
        // What is negative is very large here.
        let wanted = UInt(bitPattern: size)
        let index: Int
        if wanted < UInt(Self.classes * Self.step - Self.headBytes - Self.step) {
            index = Int(bitPattern: (wanted &+ UInt(Self.headBytes + Self.step - 1)) / UInt(Self.step))
            if let piece = take(index) { return piece + Self.headBytes }
        } else {
            guard wanted <= UInt(Int.max - Self.headBytes) else { return nil }
            index = Self.classes
            if size > Self.frameBytes / 2, size + Self.headBytes <= Self.frameBytes, let frame = takeFrame() {
                frame.storeBytes(of: Self.frameClass, as: Int.self)
                return frame + Self.headBytes
            }
        }
        guard let piece = malloc(index < Self.classes ? index * Self.step : size + Self.headBytes) else { return nil }
        // The class, and for what has none the size.
        piece.storeBytes(of: index < Self.classes ? index : -size, as: Int.self)
        return piece + Self.headBytes
    }

    private func release(_ pointer: UnsafeMutableRawPointer?) {
        guard let pointer else { return }
        let piece = pointer - Self.headBytes
        let index = piece.load(as: Int.self)
        if index > 0, index < Self.classes, lists[index].count &* index &* Self.step < Self.keptBytesMax {
            piece.storeBytes(of: lists[index].first, toByteOffset: 8, as: UnsafeMutableRawPointer?.self)
            lists[index].first = piece
            lists[index].count &+= 1
        } else if index == Self.frameClass {
            frames.append(piece)
        } else {
            Glibc.free(piece)
        }
    }

    private func reallocate(_ pointer: UnsafeMutableRawPointer?, _ size: Int) -> UnsafeMutableRawPointer? {
        guard let pointer else { return allocate(size) }
        let index = (pointer - Self.headBytes).load(as: Int.self)
        let room =
            index == Self.frameClass
            ? Self.frameBytes - Self.headBytes : index > 0 ? index * Self.step - Self.headBytes : -index
        if size <= room { return pointer }
        guard let fresh = allocate(size) else { return nil }
        fresh.copyMemory(from: pointer, byteCount: room)
        release(pointer)
        return fresh
    }
}

internal import CNGHTTP2
internal import Glibc

/// What nghttp2 allocates from: free lists by size, for the sessions of one loop.
///
/// A request makes it allocate and free about ten small pieces, a thousand requests at once far more than the C library keeps at hand
/// for a thread. Each piece begins with its class, so that it finds back.
public final class HTTP2Memory {
    /// Pieces are multiples of this; the first of them holds the class and, while it is free, the next one.
    private static let step = 64
    private static let headBytes = 16
    /// Larger pieces come from the C library.
    private static let classes = 17
    /// Pieces kept of one class; a burst's memory goes back beyond it.
    private static let keptMax = 1024

    /// The free pieces of a class: each holds the next one behind its class.
    private struct List {
        var first: UnsafeMutableRawPointer?
        var count = 0
    }

    private let lists = UnsafeMutablePointer<List>.allocate(capacity: HTTP2Memory.classes)

    /// Memory without a piece.
    public init() { lists.initialize(repeating: List(), count: Self.classes) }

    deinit {
        for index in 0..<Self.classes {
            while let piece = take(index) { Glibc.free(piece) }
        }
        lists.deallocate()
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
        let (needed, overflow) = size.addingReportingOverflow(Self.headBytes + Self.step - 1)
        guard size >= 0, !overflow else { return nil }
        let index = needed / Self.step
        if index < Self.classes, let piece = take(index) { return piece + Self.headBytes }
        guard let piece = malloc(index < Self.classes ? index * Self.step : size + Self.headBytes) else { return nil }
        // The class, and for what has none the size.
        piece.storeBytes(of: index < Self.classes ? index : -size, as: Int.self)
        return piece + Self.headBytes
    }

    private func release(_ pointer: UnsafeMutableRawPointer?) {
        guard let pointer else { return }
        let piece = pointer - Self.headBytes
        let index = piece.load(as: Int.self)
        if index > 0, index < Self.classes, lists[index].count < Self.keptMax {
            piece.storeBytes(of: lists[index].first, toByteOffset: 8, as: UnsafeMutableRawPointer?.self)
            lists[index].first = piece
            lists[index].count &+= 1
        } else {
            Glibc.free(piece)
        }
    }

    private func reallocate(_ pointer: UnsafeMutableRawPointer?, _ size: Int) -> UnsafeMutableRawPointer? {
        guard let pointer else { return allocate(size) }
        let index = (pointer - Self.headBytes).load(as: Int.self)
        let room = index > 0 ? index * Self.step - Self.headBytes : -index
        if size <= room { return pointer }
        guard let fresh = allocate(size) else { return nil }
        fresh.copyMemory(from: pointer, byteCount: room)
        release(pointer)
        return fresh
    }
}

internal import CNGHTTP2
internal import Glibc

/// What nghttp2 allocates from: free lists by size, for the sessions of one loop.
///
/// A request makes it allocate and free about ten small pieces, a thousand requests at once far more than the C library keeps at hand
/// for a thread. Each piece begins with its class, so that it finds back.
public final class HTTP2Memory {
    /// Pieces are multiples of this; the first of them holds the class.
    private static let step = 64
    private static let headBytes = 16
    /// Larger pieces come from the C library.
    private static let classes = 17
    /// Pieces kept of one class; a burst's memory goes back beyond it.
    private static let keptMax = 1024

    private var free: [[UnsafeMutableRawPointer]] = Array(repeating: [], count: HTTP2Memory.classes)

    /// Memory without a piece.
    public init() {}

    deinit {
        for pieces in free { for piece in pieces { Glibc.free(piece) } }
    }

    /// The functions for nghttp2; whoever uses them keeps the memory alive.
    var functions: nghttp2_mem {
        nghttp2_mem(
            mem_user_data: Unmanaged.passUnretained(self).toOpaque(),
            malloc: { size, user in HTTP2Memory.of(user)?.allocate(size) },
            free: { piece, user in HTTP2Memory.of(user)?.release(piece) },
            calloc: { count, size, user in
                let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
                guard !overflow, let piece = HTTP2Memory.of(user)?.allocate(bytes) else { return nil }
                memset(piece, 0, bytes)
                return piece
            },
            realloc: { piece, size, user in HTTP2Memory.of(user)?.reallocate(piece, size) })
    }

    @inline(__always)
    private static func of(_ user: UnsafeMutableRawPointer?) -> HTTP2Memory? {
        user.map { Unmanaged<HTTP2Memory>.fromOpaque($0)._withUnsafeGuaranteedRef { $0 } }
    }

    private func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
        let (needed, overflow) = size.addingReportingOverflow(Self.headBytes + Self.step - 1)
        guard size >= 0, !overflow else { return nil }
        let index = needed / Self.step
        if index < Self.classes, let piece = free[index].popLast() { return piece + Self.headBytes }
        guard let piece = malloc(index < Self.classes ? index * Self.step : size + Self.headBytes) else { return nil }
        // The class, and for what has none the size.
        piece.storeBytes(of: index < Self.classes ? index : -size, as: Int.self)
        return piece + Self.headBytes
    }

    private func release(_ pointer: UnsafeMutableRawPointer?) {
        guard let pointer else { return }
        let piece = pointer - Self.headBytes
        let index = piece.load(as: Int.self)
        if index > 0, index < Self.classes, free[index].count < Self.keptMax {
            free[index].append(piece)
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

internal import CNGHTTP2

/// A list of fields for nghttp2, used again for each head.
///
/// Memory of its own rather than an array, which would be asked at each field who else holds it. Its owner frees it.
struct HTTP2FieldList {
    private var memory: UnsafeMutablePointer<nghttp2_nv>
    private var capacity: Int
    private(set) var count = 0

    /// A head of gRPC fits without growing; a connection with larger ones has room for them from the first on.
    init() {
        capacity = 8
        memory = .allocate(capacity: capacity)
    }

    func free() { memory.deallocate() }

    /// The fields, `count` of them.
    var first: UnsafePointer<nghttp2_nv> { UnsafePointer(memory) }

    /// Adds a field whose bytes stay where they are until nghttp2 has taken the list; one without a name is left out.
    @inline(__always)
    mutating func append(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, flags: UInt8) {
        guard let start = name.assumingMemoryBound(to: UInt8.self).baseAddress else { return }
        if count == capacity { grow() }
        (memory + count).initialize(
            to: nghttp2_nv(
                name: UnsafeMutablePointer(mutating: start),
                value: UnsafeMutablePointer(
                    mutating: value.assumingMemoryBound(to: UInt8.self).baseAddress ?? start),
                namelen: name.count, valuelen: value.count, flags: flags))
        count &+= 1
    }

    mutating func removeAll() { count = 0 }

    @inline(never)
    private mutating func grow() {
        let fresh = UnsafeMutablePointer<nghttp2_nv>.allocate(capacity: capacity * 2)
        fresh.moveInitialize(from: memory, count: count)
        memory.deallocate()
        memory = fresh
        capacity *= 2
    }
}

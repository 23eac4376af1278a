import Glibc
import Testing

@testable import IO

@Suite("Memory that was needed for a moment")
struct HeapTests {
    /// Whether the system gave this block to the allocator alone: glibc's mark in the word before it.
    private func isMapped(_ bytes: Int) -> Bool {
        guard let block = malloc(bytes) else { return false }
        defer { free(block) }
        return (block - 8).load(as: UInt.self) & 2 != 0
    }

    /// Whether the allocator is a sanitizer's, which has no such bound.
    private var isSanitized: Bool { dlsym(nil, "__tsan_init") != nil || dlsym(nil, "__asan_init") != nil }

    @Test("large blocks go back to the system when they are freed, also after larger ones were")
    func large() {
        #expect(!Environment.returnLargeBlocks(from: 0) && !Environment.returnLargeBlocks(from: 1 << 30))
        if isSanitized { return }
        #expect(Environment.returnLargeBlocks(from: 1 << 20))
        // Without the bound, the first free makes the allocator keep the second in the heap. Smaller blocks say less: other tests of this
        // process may have left room for them there.
        for _ in 0..<3 { #expect(isMapped(30 << 20)) }
        #expect(!isMapped(100_000))
    }
}
